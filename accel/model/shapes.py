"""Shapes of the tensors that multiply: inferred at batch 1, or seen in one run where inference doesn't get through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.model.types import Signature, Tensor
from accel.samples.synthetic import example_length

Shape = tuple[int, ...]
_SMALL = 4096
_LARGEST_RUN_BYTES = 1_500_000_000


def shapes_of(
    path: Path,
    model: Any,
    signature: Signature,
    example: Mapping[str, npt.NDArray[Any]] | None,
    wanted: list[Any],
) -> dict[str, Shape]:
    """name -> shape for weights and as many activations as can be found.

    model: the graph without external data. wanted: the nodes whose inputs and outputs matter.
    """
    sizes = {t.name: sizes_of(t, signature, example) for t in signature.inputs}
    shapes: dict[str, Shape] = {t.name: tuple(t.dims) for t in model.graph.initializer}
    shapes |= _inferred(model, sizes)
    missing = sorted({n for node in wanted for n in (*node.input[:2], node.output[0]) if n and n not in shapes})
    if missing and path.stat().st_size < _LARGEST_RUN_BYTES:
        shapes |= _seen(path, signature, sizes, missing)
    return shapes


def sizes_of(tensor: Tensor, signature: Signature, example: Mapping[str, npt.NDArray[Any]] | None) -> Shape:
    """A full shape for an input at batch 1: the example's lengths, else those of synthetic inputs."""
    known = (example or {}).get(tensor.name)
    lead = 1 if signature.batch == "any" else signature.batch
    rest = [
        size if isinstance(size, int) else int(known.shape[axis]) if known is not None else example_length(tensor, axis)
        for axis, size in enumerate(tensor.shape)
    ]
    return (lead, *rest[1:])


def _inferred(model: Any, sizes: Mapping[str, Shape]) -> dict[str, Shape]:
    """By onnx's own inference on a copy without the bulk of the weights, inputs fixed to `sizes`."""
    import onnx

    light = onnx.ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        if np.prod(tensor.dims, dtype=np.int64) > _SMALL or tensor.data_location == 1:
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "external_data"):
                tensor.ClearField(field)
            tensor.ClearField("data_location")
    del light.graph.value_info[:]
    for value in light.graph.input:
        for axis, size in enumerate(sizes.get(value.name, ())):
            value.type.tensor_type.shape.dim[axis].dim_value = size
    for value in light.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        done = onnx.shape_inference.infer_shapes(light, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError):
        return {}
    return {v.name: s for v in (*done.graph.value_info, *done.graph.output) if (s := _full(v)) is not None}


def _full(value: Any) -> Shape | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(int(d.dim_value) for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def _seen(path: Path, signature: Signature, sizes: Mapping[str, Shape], names: list[str]) -> dict[str, Shape]:
    """By one run of ONNX Runtime on ones, with the tensors in question as outputs. {} where that fails."""
    import onnx
    import onnxruntime as ort

    model = onnx.load(str(path))
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    feed = {t.name: np.ones(sizes[t.name], t.dtype) for t in signature.inputs}
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values = session.run(names, feed)
    except Exception:  # the runtime has no common error; without shapes MACs stay unknown, which is said
        return {}
    return {name: tuple(np.shape(value)) for name, value in zip(names, values, strict=True)}
