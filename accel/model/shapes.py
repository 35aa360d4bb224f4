"""Shapes and element sizes of tensors: inferred at batch 1, or seen in one run where inference doesn't get through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accel.model.types import Signature, Tensor
from accel.samples.synthetic import example_length

Shape = tuple[int, ...]


class Laid(NamedTuple):
    """How a tensor lies in memory: its shape, and the bits of one element."""

    shape: Shape
    bits: int


_SMALL = 4096
_LARGEST_RUN_BYTES = 1_500_000_000
_KNOWN: dict[tuple[object, ...], dict[str, Laid]] = {}
"""Of the last graph, which is looked at twice in the same child: for its facts and for its cost."""


def shapes_of(
    path: Path,
    model: Any,
    signature: Signature,
    example: Mapping[str, npt.NDArray[Any]] | None,
    wanted: list[Any],
) -> dict[str, Shape]:
    """name -> shape for weights and as many activations as can be found.

    model: the graph without external data. wanted: the nodes whose first two inputs and first output matter.
    """
    needed = [n for node in wanted for n in (*node.input[:2], node.output[0])]
    return {name: laid.shape for name, laid in laid_out(path, model, signature, example, needed).items()}


def laid_out(
    path: Path,
    model: Any,
    signature: Signature,
    example: Mapping[str, npt.NDArray[Any]] | None,
    wanted: list[str],
) -> dict[str, Laid]:
    """name -> shape and element size; a run of the model is made only if one of the tensors `wanted` isn't inferred."""
    sizes = {t.name: sizes_of(t, signature, example) for t in signature.inputs}
    key = (str(path), path.stat().st_mtime_ns, tuple(sorted(sizes.items())))
    if key in _KNOWN and all(name in _KNOWN[key] for name in wanted if name):
        return dict(_KNOWN[key])
    found = {t.name: Laid(tuple(t.dims), _bits(t.data_type)) for t in model.graph.initializer}
    found |= {t.name: Laid(sizes[t.name], 8 * np.dtype(t.dtype).itemsize) for t in signature.inputs}
    found |= _inferred(model, sizes)
    missing = sorted({name for name in wanted if name and name not in found})
    if missing and path.stat().st_size < _LARGEST_RUN_BYTES:
        found |= _seen(path, signature, sizes, missing)
    _KNOWN.clear()
    _KNOWN[key] = dict(found)
    return found


def sizes_of(tensor: Tensor, signature: Signature, example: Mapping[str, npt.NDArray[Any]] | None) -> Shape:
    """A full shape for an input at batch 1: the example's lengths, else those of synthetic inputs."""
    known = (example or {}).get(tensor.name)
    lead = 1 if signature.batch == "any" else signature.batch
    rest = [
        size if isinstance(size, int) else int(known.shape[axis]) if known is not None else example_length(tensor, axis)
        for axis, size in enumerate(tensor.shape)
    ]
    return (lead, *rest[1:])


def _inferred(model: Any, sizes: Mapping[str, Shape]) -> dict[str, Laid]:
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
    values = (*done.graph.value_info, *done.graph.output)
    return {v.name: Laid(s, _bits(v.type.tensor_type.elem_type)) for v in values if (s := _full(v)) is not None}


def _bits(kind: int) -> int:
    """Bits of an element of an ONNX data type; text and unknown ones count as 8."""
    from onnx import helper

    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    except KeyError:
        return 8
    return 4 if dtype.name in ("int4", "uint4", "float4_e2m1fn") else 8 * dtype.itemsize


def _full(value: Any) -> Shape | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(int(d.dim_value) for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def _seen(path: Path, signature: Signature, sizes: Mapping[str, Shape], names: list[str]) -> dict[str, Laid]:
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
    arrays = ((name, np.asarray(value)) for name, value in zip(names, values, strict=True))
    return {name: Laid(array.shape, 8 * array.dtype.itemsize) for name, array in arrays}
