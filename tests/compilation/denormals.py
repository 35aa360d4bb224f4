"""A model that shows whether denormal numbers are flushed: 1e-40, below float32's smallest normal 1.18e-38, times a
factor of ones that comes in as a second input, so that no optimisation knows the answer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from accel.model import Signature, Tensor
from tests.small_models import FileModel

_SHAPE = ("batch", 64)


def times_one(folder: Path) -> tuple[FileModel, dict[str, np.ndarray]]:
    """The model and 2 items; the answer is 1e-40, or 0 where denormals are flushed."""
    x, one, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, list(_SHAPE)) for n in ("x", "one", "y"))
    graph = helper.make_graph([helper.make_node("Mul", ["x", "one"], ["y"])], "g", [x, one], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "mul.onnx")
    signature = Signature(
        inputs=tuple(Tensor(n, "float32", _SHAPE) for n in ("x", "one")),
        outputs=(Tensor("y", "float32", _SHAPE),),
        batch="any",
    )
    given = {"x": np.full((2, 64), 1e-40, np.float32), "one": np.ones((2, 64), np.float32)}
    return FileModel(signature, {"onnx": folder / "mul.onnx"}), given
