"""Small networks that the plug-in tests share, built by hand, and a model that needs no loader."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accel.measurement.machine import Machine
from accel.model import Facts, Signature, Tensor

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16")


def machine(
    flags: tuple[str, ...] = FLAGS, packages: tuple[str, ...] = ("onnxruntime", "openvino", "torch")
) -> Machine:
    return Machine(
        cpu="test",
        cores=2,
        logical_cpus=2,
        flags=flags,
        memory_bytes=8 << 30,
        quota_cores=None,
        kernel="test",
        hypervisor=None,
        python="3.11",
        packages=dict.fromkeys(packages, "1"),
    )


def facts(kind: str = "convolutional", *, quantized: bool = False, **operators: int) -> Facts:
    return Facts(
        kind=kind,  # type: ignore[arg-type]
        parameters=10,
        weight_bytes=40,
        operators=operators or {"Conv": 2, "Gemm": 1},
        macs_per_item=100,
        depthwise_share=0.0,
        quantized=quantized,
        forms=("onnx",),
    )


class FileModel:
    """Forms given as files; what a Model promises to plug-ins, and nothing else."""

    def __init__(
        self, signature: Signature, forms: dict[str, Any], *, precision: str = "float32", notes: tuple[str, ...] = ()
    ) -> None:
        self.signature = signature
        self.precision = precision
        self.notes = notes
        self.facts = facts()
        self.example: dict[str, np.ndarray] | None = None
        self.calibrated: Any = None
        self._forms = forms

    def as_form(self, form: str) -> Any:
        if form == "openvino" and form not in self._forms:
            import openvino as ov

            path = Path(tempfile.mkdtemp()) / "model.xml"
            ov.save_model(ov.Core().read_model(str(self._forms["onnx"])), str(path), compress_to_fp16=False)
            self._forms[form] = path
        return self._forms[form]

    def scratch(self) -> Path:
        return Path(tempfile.mkdtemp())

    def derive(
        self,
        form: str,
        value: Any,
        *,
        precision: str | None = None,
        notes: tuple[str, ...] = (),
        facts: Facts | None = None,
        calibrated: Any = None,
    ) -> FileModel:
        notes = (*self.notes, *notes)
        made = FileModel(self.signature, {form: value}, precision=precision or self.precision, notes=notes)
        made.facts = facts or self.facts
        made.example = self.example
        made.calibrated = calibrated or self.calibrated
        return made


def _weights(rng: np.random.Generator, name: str, *shape: int) -> onnx.TensorProto:
    scale = 1.0 / np.sqrt(np.prod(shape[1:]))
    return numpy_helper.from_array((rng.normal(size=shape) * scale).astype(np.float32), name)


def save(path: Path, nodes: list[Any], weights: list[Any], shape: list[Any], out: list[Any], opset: int) -> Path:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7 if opset < 13 else 8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def cnn(folder: Path, *, opset: int = 17, batch: int | str = "batch", name: str = "cnn.onnx") -> FileModel:
    """x: [batch, 3, 16, 16] -> two convolutions, average, one dense layer -> y: [batch, 5]."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1], name="conv1"),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1], strides=[2, 2], name="conv2"),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="dense"),
    ]
    weights = [
        _weights(rng, "w1", 16, 3, 3, 3),
        _weights(rng, "w2", 16, 16, 3, 3),
        _weights(rng, "w3", 16, 5),
        _weights(rng, "b3", 5, 1),
    ]
    weights[3] = numpy_helper.from_array(rng.normal(size=5).astype(np.float32), "b3")
    path = save(folder / name, nodes, weights, [batch, 3, 16, 16], [batch, 5], opset)
    signature = Signature(
        inputs=(Tensor("x", "float32", (batch, 3, 16, 16)),),
        outputs=(Tensor("y", "float32", (batch, 5)),),
        batch="any" if isinstance(batch, str) else batch,
    )
    return FileModel(signature, {"onnx": path})


def mlp(folder: Path, *, opset: int = 17) -> FileModel:
    """x: [batch, 8] -> MatMul, Relu, MatMul -> y: [batch, 4]."""
    rng = np.random.default_rng(2)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m"], name="first"),
        helper.make_node("Relu", ["m"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], name="second"),
    ]
    weights = [_weights(rng, "w1", 8, 16), _weights(rng, "w2", 16, 4)]
    path = save(folder / "mlp.onnx", nodes, weights, ["batch", 8], ["batch", 4], opset)
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", 8)),), outputs=(Tensor("y", "float32", ("batch", 4)),), batch="any"
    )
    return FileModel(signature, {"onnx": path})


def transformer(folder: Path) -> FileModel:
    """x: [batch, length, 64] -> one attention layer, then 64 -> 128 -> 64 with a residual -> y; no biases."""
    rng = np.random.default_rng(4)
    shapes = {"wq": (64, 64), "wk": (64, 64), "wv": (64, 64), "wo": (64, 64), "up": (64, 128), "down": (128, 64)}
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"], name="query"),
        helper.make_node("MatMul", ["x", "wk"], ["k"], name="key"),
        helper.make_node("MatMul", ["x", "wv"], ["v"], name="value"),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1], name="turn"),
        helper.make_node("MatMul", ["q", "kt"], ["s"], name="scores"),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1, name="softmax"),
        helper.make_node("MatMul", ["p", "v"], ["c"], name="context"),
        helper.make_node("MatMul", ["c", "wo"], ["o"], name="output"),
        helper.make_node("Add", ["x", "o"], ["h"], name="residual"),
        helper.make_node("MatMul", ["h", "up"], ["u"], name="widen"),
        helper.make_node("Relu", ["u"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "down"], ["y"], name="narrow"),
    ]
    weights = [
        numpy_helper.from_array((rng.normal(size=s) / np.sqrt(s[0])).astype(np.float32), n) for n, s in shapes.items()
    ]
    axes: list[Any] = ["batch", "length", 64]
    path = save(folder / "transformer.onnx", nodes, weights, axes, axes, 17)
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", "length", 64)),),
        outputs=(Tensor("y", "float32", ("batch", "length", 64)),),
        batch="any",
    )
    model = FileModel(signature, {"onnx": path})
    model.facts = facts("transformer", MatMul=8, Softmax=1, Add=1)
    return model


def items(signature: Signature, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """n seeded items for every input."""
    rng = np.random.default_rng(seed)
    return {
        t.name: rng.normal(size=(n, *(a if isinstance(a, int) else 5 for a in t.shape[1:]))).astype(t.dtype)
        for t in signature.inputs
    }
