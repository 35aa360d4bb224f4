"""Counts of an OpenVINO model: operators, multiply-accumulates at batch 1, weights, attention."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from accel.model.facts import Counts
from accel.model.shapes import sizes_of
from accel.model.signature import from_openvino

_PASSIVE = {"Constant", "Parameter", "Result"}
_SMALL_TYPES = ("i8", "u8", "i4", "u4", "nf4")


def count_openvino(path: Path, example: Mapping[str, npt.NDArray[Any]] | None) -> Counts:
    """Count the operators of an IR. example: real inputs, whose lengths stand in for axes without a fixed size."""
    import openvino

    model = openvino.Core().read_model(str(path))
    shaped = fix_shapes(model, example)
    ops = model.get_ordered_ops()
    kinds = Counter(op.get_type_name() for op in ops)
    counts = Counts(operators={k: n for k, n in kinds.items() if k not in _PASSIVE})
    counts.parameters, counts.weight_bytes = _weights(ops)
    small = any(op.get_type_name() == "Constant" and op.get_element_type().get_type_name() in _SMALL_TYPES
                and math.prod(op.get_output_shape(0)) > 1024 for op in ops)  # fmt: skip
    counts.quantized = small or "FakeQuantize" in kinds
    for op in ops:
        _add(counts, op, shaped)
    counts.attention = "ScaledDotProductAttention" in kinds or any(
        op.get_type_name() == "Softmax" and _reaches(op, 5) for op in ops
    )
    return counts


def fix_shapes(model: Any, example: Mapping[str, npt.NDArray[Any]] | None) -> bool:
    """Give every input a full shape at batch 1; False if the model refuses, then MACs stay unknown."""
    signature = from_openvino(model)
    ports = zip(model.inputs, signature.inputs, strict=True)
    wanted = {port: list(sizes_of(tensor, signature, example)) for port, tensor in ports}
    try:
        model.reshape(wanted)
    except RuntimeError:
        return False
    return True


def _weights(ops: list[Any]) -> tuple[int, int]:
    parameters = size = 0
    for op in ops:
        kind = op.get_element_type() if op.get_type_name() == "Constant" else None
        if kind is None or kind.get_type_name() in ("i64", "boolean", "string"):
            continue
        count = math.prod(op.get_output_shape(0))
        if count > 1:
            parameters += count
            size += count * kind.bitwidth // 8
    return parameters, size


def _add(counts: Counts, op: Any, shaped: bool) -> None:
    kind = op.get_type_name()
    if kind in ("Convolution", "GroupConvolution"):
        counts.convs += 1
        weight = list(op.input(1).get_partial_shape().get_shape())
        per_output = weight[1:] if kind == "Convolution" else weight[2:]
        if math.prod(per_output[1:]) > 1:
            counts.wide_convs += 1
            counts.depthwise += kind == "GroupConvolution" and per_output[0] == 1
        counts.conv_macs = _plus(counts.conv_macs, op, math.prod(per_output), shaped)
    elif kind == "MatMul":
        counts.matmuls += 1
        first = op.input(0).get_partial_shape()
        flipped = bool(op.get_attributes().get("transpose_a"))
        depth = first[-2 if flipped and len(first) > 1 else -1]
        counts.matmul_macs = _plus(counts.matmul_macs, op, depth.get_length() if depth.is_static else 0, shaped)


def _plus(total: int | None, op: Any, each: int, shaped: bool) -> int | None:
    out = op.output(0).get_partial_shape()
    if total is None or not shaped or out.is_dynamic or each == 0:
        return None
    return total + int(each) * int(math.prod(out.get_shape()))


def _reaches(op: Any, hops: int) -> bool:
    for port in op.output(0).get_target_inputs():
        reader = port.get_node()
        if reader.get_type_name() == "MatMul":
            return True
        through = reader.get_type_name() in ("Convert", "Reshape", "Transpose", "FakeQuantize", "Squeeze", "Unsqueeze")
        if hops and through and _reaches(reader, hops - 1):
            return True
    return False
