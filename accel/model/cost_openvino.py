"""The cost of an OpenVINO model, operator by operator: multiply-accumulates, bytes of weights and of activations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from accel.model.cost import Cost, LayerCost
from accel.model.costs import summed
from accel.model.count_openvino import fix_shapes
from accel.model.layer_class import MULTIPLIES, layer_class

_PASSIVE = {"Constant", "Parameter", "Result"}
_VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "ShapeOf", "FakeQuantize"}
_PARTLY = {"Gather", "Slice", "StridedSlice", "GatherElements", "GatherND"}


def cost_openvino(path: Path, example: Mapping[str, npt.NDArray[Any]] | None) -> Cost | None:
    """Count an IR at batch 1 (or its one size); None where its shapes can't be fixed.

    example: real inputs, whose lengths stand in for axes without a fixed size.
    """
    import openvino

    model = openvino.Core().read_model(str(path))
    if not fix_shapes(model, example):
        return None
    constant: dict[str, int] = {}
    layers: list[LayerCost] = []
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        if _is_constant(op, constant):
            constant[op.get_friendly_name()] = _stored(op, constant)
        elif kind not in _PASSIVE | _VIEWS:
            layer = _layer(op, kind, constant)
            if layer is None:
                return None
            layers.append(layer)
    items = int(model.inputs[0].get_shape()[0]) if model.inputs and len(model.inputs[0].get_shape()) else 1
    return summed(layers, [layer.weight_bytes > 0 for layer in layers], "openvino", items)


def _is_constant(op: Any, constant: Mapping[str, int]) -> bool:
    if op.get_type_name() == "Constant":
        return True
    sources = [op.input_value(i).get_node().get_friendly_name() for i in range(op.get_input_size())]
    return bool(sources) and all(name in constant for name in sources)


def _stored(op: Any, constant: Mapping[str, int]) -> int:
    """Bytes in which a constant is stored, through steps that a runtime folds away (the largest of what they read)."""
    if op.get_type_name() == "ShapeOf":
        return 8
    if op.get_type_name() != "Constant":
        return max(constant[op.input_value(i).get_node().get_friendly_name()] for i in range(op.get_input_size()))
    return _bytes(op.output(0))


def _bytes(port: Any) -> int:
    """Bytes of a tensor; what is quantized for its only readers, or was just quantized, counts 8 bits."""
    node = port.get_node()
    readers = [target.get_node().get_type_name() for target in port.get_target_inputs()]
    bits = int(port.get_element_type().bitwidth)
    eight: bool = node.get_type_name() == "FakeQuantize" or set(readers) == {"FakeQuantize"}
    return math.ceil(math.prod(_shape(port)) * (min(8, bits) if eight else bits) / 8)


def _layer(op: Any, kind: str, constant: Mapping[str, int]) -> LayerCost | None:
    macs = 0
    if layer_class(kind) in MULTIPLIES:
        counted = _macs(op, kind)
        if counted is None:
            return None
        macs = counted
    written = sum(_bytes(op.output(i)) for i in range(op.get_output_size()))
    sources = {
        (p.get_node().get_friendly_name(), p.get_index()): p for p in map(op.input_value, range(op.get_input_size()))
    }
    weights = sum(constant[name] for name, _ in sources if name in constant)
    read = sum(_bytes(port) for (name, _), port in sources.items() if name not in constant)
    if kind in _PARTLY:
        weights, read = min(weights, written), min(read, written)
    return LayerCost(
        name=op.get_friendly_name(), type=kind, macs=macs, weight_bytes=weights, activation_bytes=written + read
    )


def _macs(op: Any, kind: str) -> int | None:
    """Multiply-accumulates of the whole batch; None for an operator that isn't known."""
    out = math.prod(_shape(op.output(0)))
    shapes = [_shape(op.input_value(i)) for i in range(op.get_input_size())]
    if kind in ("Convolution", "GroupConvolution"):
        return out * math.prod(shapes[1][1 if kind == "Convolution" else 2 :])
    if kind in ("ConvolutionBackpropData", "GroupConvolutionBackpropData"):
        return math.prod(shapes[0]) * math.prod(shapes[1][1 if kind == "ConvolutionBackpropData" else 2 :])
    if kind == "MatMul":
        flipped = bool(op.get_attributes().get("transpose_a")) and len(shapes[0]) > 1
        return out * shapes[0][-2 if flipped else -1]
    if kind == "ScaledDotProductAttention":
        query, key, value = shapes[:3]
        return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    if kind in ("LSTMSequence", "GRUSequence", "RNNSequence"):
        matrices = [s for s in shapes[1:] if len(s) == 3][-2:]  # the weights of the input and of the state
        return math.prod(shapes[0][:2]) * sum(math.prod(m) for m in matrices)
    return None


def _shape(port: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in port.get_shape())
