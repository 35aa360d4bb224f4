"""TensorRT through torch-tensorrt, with stand-ins for the package and the card; the export is torch's own."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from accel.compilation import tensorrt
from accel.compilation._artefact import Artefact
from accel.compilation.tensorrt import TensorRt
from accel.errors import VariantError

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


class Input:
    """`torch_tensorrt.Input`."""

    def __init__(self, *, min_shape: Any, opt_shape: Any, max_shape: Any, dtype: Any) -> None:
        self.min_shape, self.opt_shape, self.max_shape, self.dtype = min_shape, opt_shape, max_shape, dtype


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What was asked of `torch_tensorrt`; what it compiles is the exported program itself."""
    torch = pytest.importorskip("torch")
    from accel.compilation import _tensorrt_torch
    from tests.compilation.cuda_stand_in import Torch

    said = SimpleNamespace(options=None, inputs=None)

    def compiled(program: Any, *, arg_inputs: Any, **options: Any) -> Any:
        said.inputs, said.options = arg_inputs, options
        return program

    def save(program: Any, path: str, *, arg_inputs: Any) -> None:
        torch.export.save(program, path)

    stand_in = SimpleNamespace(
        Input=Input, dynamo=SimpleNamespace(compile=compiled), save=save, load=lambda path: torch.export.load(path)
    )
    monkeypatch.setitem(sys.modules, "torch_tensorrt", stand_in)
    monkeypatch.setattr(tensorrt, "way", lambda: "torch")
    card = Torch()
    monkeypatch.setattr(_tensorrt_torch, "load_torch", lambda: card)
    return said


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("bf16", 0.05)])
def test_the_module_is_exported_with_the_profile_and_opens_again(
    precision: Any, limit: float, package: Any, tmp_path: Any
) -> None:
    import torch

    from tests.small_networks import torch_cnn

    model, given, expected = torch_cnn()
    backend = TensorRt(precision=precision, batch=(1, 2, 4))
    backend.build(model, tmp_path)
    assert Artefact.load(tmp_path).file == "tensorrt.pt2"
    (only,) = package.inputs
    assert (only.min_shape[0], only.opt_shape[0], only.max_shape[0]) == (1, 2, 4)
    assert only.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert package.options["disable_tf32"] == (precision == "float32")
    engine = backend.open(tmp_path)
    assert engine.sizes == (1, 2, 3, 4)
    found = engine.run({"x": given["x"][:3]})["output"]
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected["output"][:3]) / np.linalg.norm(found) < limit
    assert engine.effective.provider == "torch-tensorrt, cuda"
    assert engine.effective.detail["profile"] == "batch 1 to 4, usually 2"
    longer = TensorRt(precision=precision, batch=(1, 2, 4), length=(1, 2, 3)).open(tmp_path)
    assert longer.effective.detail["profile"].endswith("length 1 to 3, usually 2")
    with pytest.raises(VariantError, match=r"no run\.py"):
        backend.script(tmp_path)
    engine.close()
