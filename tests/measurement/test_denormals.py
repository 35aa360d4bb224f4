"""Numbers below the smallest normal one: counted bit by bit, and made zero by every runtime alike."""

from __future__ import annotations

import platform
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import plugins
from accel.measurement import denormals
from accel.measurement.opening import open_engines
from accel.model import Signature, Tensor
from accel.plugins import Named
from tests.compilation.denormals import times_one
from tests.small_models import FileModel

CAN_SET = pytest.mark.skipif(
    platform.system() != "Linux" or platform.libc_ver()[0] != "glibc", reason="set through the GNU C library"
)


def tiny(count: int) -> npt.NDArray[np.float32]:
    """1e-40, made from its bits: where they count as zero, a conversion would give zero."""
    return np.full(count, 71_362, np.uint32).view(np.float32)


def products_are_zero() -> bool:
    return bool((tiny(64) * np.float32(1e30) == 0).all())


@CAN_SET
def test_it_is_set_for_a_while_and_for_threads_started_meanwhile() -> None:
    assert not products_are_zero()
    with denormals.flushed() as now:
        assert now
        assert denormals.flushes()
        assert products_are_zero()
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(products_are_zero()))
        thread.start()
        thread.join()
        assert seen == [True]
        with denormals.flushed(on=False):
            assert not products_are_zero()
        assert products_are_zero()
    assert not products_are_zero()
    assert not denormals.flushes()


def test_where_it_cannot_be_set_it_says_what_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert denormals.flush() is False


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), max_size=40))
def test_counted_as_by_comparison(values: list[float]) -> None:
    x = np.array(values, np.float32)
    least = np.finfo(np.float32).smallest_normal
    expected = sum(1 for v in values if v != 0 and abs(v) < least)
    found = denormals.share({"x": x})
    assert found == ({"x": expected / len(values)} if expected else {})


def test_doubles_have_another_least_number_and_other_kinds_have_none() -> None:
    x = np.array([1e-40, 1e-310, 0.0, 1.0])
    arrays = {"x": x, "half": np.array([1e-7], np.float16), "n": np.array([3]), "empty": np.zeros(0, np.float32)}
    assert denormals.share(arrays) == {"x": 0.25}


def test_many_are_counted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denormals, "_AT_ONCE", 3)
    x = np.array([[1.0, 1e-40], [1e-40, 2.0], [1e-41, 0.0]], np.float32)
    assert denormals.share({"x": x[:, ::-1]}) == {"x": 0.5}


# --- every runtime alike, in the process that measures --------------------------------------------------------------


def torch_model() -> tuple[FileModel, dict[str, npt.NDArray[np.float32]]]:
    """Times one, as a matrix product."""
    torch = pytest.importorskip("torch")
    from accel.model.torch_form import TorchForm

    layer = torch.nn.Linear(64, 64, bias=False)
    torch.nn.init.eye_(layer.weight)
    inputs, outputs = (Tensor("input", "float32", ("batch", 64)),), (Tensor("output", "float32", ("batch", 64)),)
    form = TorchForm.from_names(layer.eval(), ["input"])
    signature = Signature(inputs=inputs, outputs=outputs, batch="any")
    return FileModel(signature, {"torch": form}), {"input": tiny(128).reshape(2, 64)}


@CAN_SET
@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "eager"])
def test_every_runtime_makes_them_zero_unless_they_are_to_be_kept(name: str, tmp_path: Path) -> None:
    """In every thread: the one that opened, one that was started later, and the runtime's own."""
    model, given = torch_model() if name == "eager" else times_one(tmp_path)
    backend = plugins.make("compilation", Named(name, {"threads": 2}))
    pytest.importorskip(backend.runtime)
    folder = tmp_path / "artefact"
    folder.mkdir()
    backend.build(model, folder)
    for smallest, expected in (("zero", 0.0), ("kept", 1e-40)):
        with denormals.flushed(on=False):
            (engine,), opened = open_engines(backend, folder, [()], lambda text: None, smallest)  # type: ignore[arg-type]
            told = opened.effective.detail["denormals"]
            assert told == {"zero": "become zero", "kept": "kept"}[smallest]
            found: list[Any] = []
            thread = threading.Thread(target=_run_into, args=(found, engine, given))
            thread.start()
            thread.join()
            _run_into(found, engine, given)
            engine.close()
        assert len(found) == 2
        for y in found:
            np.testing.assert_allclose(y.astype(np.float64), expected, rtol=1e-4)


def _run_into(found: list[Any], engine: Any, given: dict[str, npt.NDArray[np.float32]]) -> None:
    found.extend(engine.run(given).values())
