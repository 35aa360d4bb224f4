"""Tiny networks whose quantization is planted to fail, samples for them, and a judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import helper, numpy_helper

from accel.model import Signature, Tensor
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Quality
from accel.samples import Samples
from tests.small_models import FileModel, facts, save

WIDTH = 8
ALL = ["Add", "MatMul", "Mul", "Relu"]
SIGNATURE = Signature(
    inputs=(Tensor("x", "float32", ("batch", WIDTH)),), outputs=(Tensor("y", "float32", ("batch", WIDTH)),), batch="any"
)


def _weight(rng, name):
    return numpy_helper.from_array((rng.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32), name)


def outlier(folder: Path, *, huge: float = 1e4) -> FileModel:
    """x -> MatMul -> Relu -> Add(+huge) -> Add(-huge) -> MatMul -> y: what lies between the Adds ruins any 8-bit scale.

    Neither Add alone frees it: the other one keeps it in 8 bits.
    """
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Add", ["b", "up"], ["c"], name="raise"),
        helper.make_node("Add", ["c", "down"], ["d"], name="lower"),
        helper.make_node("MatMul", ["d", "w2"], ["e"], name="second"),
        helper.make_node("Mul", ["e", "half"], ["y"], name="scale"),
    ]
    column = np.zeros(WIDTH, np.float32)
    column[0] = huge
    weights = [
        _weight(rng, "w1"),
        _weight(rng, "w2"),
        numpy_helper.from_array(column, "up"),
        numpy_helper.from_array(-column, "down"),
        numpy_helper.from_array(np.full(WIDTH, 0.5, np.float32), "half"),
    ]
    model = FileModel(
        SIGNATURE, {"onnx": save(folder / "outlier.onnx", nodes, weights, ["batch", WIDTH], ["batch", WIDTH], 17)}
    )
    model.facts = facts("other", MatMul=2, Add=2, Relu=1, Mul=1)
    return model


def samples(n: int = 60) -> Samples:
    """A third each to calibrate, to validate and to evaluate."""
    x = np.random.default_rng(4).normal(size=(n, WIDTH)).astype(np.float32)
    parts = np.arange(n, dtype=np.int64).reshape(3, -1)
    return Samples(inputs={"x": x}, calibration=parts[0], validation=parts[1], evaluation=parts[2], sha256="")


def variant(**fields) -> Variant:
    return Variant(
        name="quantize_static+onnxruntime",
        compression=(Named("quantize_static", fields),),
        backend=Named("onnxruntime", {"threads": 1}),
    )


class Judge:
    """Passes outputs within `limit` (relative L2) of `expected`, and counts how often it is asked."""

    def __init__(self, expected, limit: float = 0.12) -> None:
        self.expected, self.limit, self.asked = np.asarray(expected), limit, 0

    def __call__(self, rows) -> Quality:
        self.asked += 1
        found = np.stack(rows["y"])
        error = float(np.linalg.norm(found - self.expected) / np.linalg.norm(self.expected))
        good = error <= self.limit
        return Quality(
            outcome="passes" if good else "fails",
            rule="relative L2",
            value=1 - error,
            drop=error,
            sqnr_db=-20 * float(np.log10(max(error, 1e-9))),
            reason="" if good else f"error {error:.2f}",
        )


def expected(model: FileModel, given: Samples) -> np.ndarray:
    """The float model's answers to the validation part."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(model.as_form("onnx")), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": given.inputs["x"][given.validation]})[0]
