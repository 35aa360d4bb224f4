"""Counts of an ONNX graph: operators, multiply-accumulates at batch 1, weights, attention, embeddings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.model.facts import Counts
from accel.model.onnx_file import read_graph
from accel.model.shapes import shapes_of
from accel.model.types import Signature

CONVS = {"Conv", "FusedConv", "ConvInteger", "QLinearConv", "NhwcFusedConv", "ConvTranspose", "NhwcConv"}
MATMULS = {"MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "QLinearMatMul", "QGemm", "MatMulNBits",
           "MatMulIntegerToFloat", "DynamicQuantizeMatMul"}  # fmt: skip
TREES = {"TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble"}
_IN_ATTRIBUTES = TREES | {"LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor"}
"""Operators of ai.onnx.ml, which keep what was learned in attributes."""
ATTENTION = {"Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention", "PackedAttention"}
_QUANTIZED_WORDS = ("Quantize", "Integer", "QLinear", "MatMulNBits", "QGemm", "QAttention", "MatMulBnb4")
_THROUGH = {"Cast", "Dropout", "Identity", "QuantizeLinear", "DequantizeLinear", "Reshape", "Transpose", "Where",
            "IsNaN", "Squeeze", "Unsqueeze", "Add", "Flatten", "Expand"}  # fmt: skip
_WEIGHT_AT = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}


def count_onnx(path: Path, signature: Signature, example: Mapping[str, npt.NDArray[Any]] | None) -> Counts:
    """Count a graph. example: real inputs, whose lengths stand in for axes without a fixed size."""
    model = read_graph(path)
    nodes = list(_nodes(model.graph))
    shapes = shapes_of(path, model, signature, example, [n for n in nodes if n.op_type in CONVS | MATMULS])
    counts = Counts(operators=dict(Counter(n.op_type for n in nodes)))
    counts.parameters, counts.weight_bytes = _weights(model.graph)
    counts.quantized = any(word in kind for kind in counts.operators for word in _QUANTIZED_WORDS)
    for node in nodes:
        if node.op_type in CONVS:
            _add_conv(counts, node, shapes)
        elif node.op_type in MATMULS:
            counts.matmuls += 1
            counts.matmul_macs = _plus(counts.matmul_macs, _matmul_macs(node, shapes))
    counts.trees = bool(TREES & set(counts.operators))
    _add_attributes(counts, [n for n in nodes if n.op_type in _IN_ATTRIBUTES])
    counts.attention = bool(ATTENTION & set(counts.operators)) or _attends(nodes)
    counts.vocabulary = _vocabulary(model.graph, nodes)
    return counts


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _nodes(inner)


def _weights(graph: Any) -> tuple[int, int]:
    """Elements and bytes of all weights; one-element and shape tensors aren't weights."""
    from onnx import helper

    constants = [a.t for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"]
    parameters = size = 0
    for tensor in [*graph.initializer, *constants]:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        count = math.prod(tensor.dims)
        if count > 1 and dtype.name not in ("int64", "bool") and dtype.kind not in "OUS":
            parameters += count
            size += int(count * (0.5 if dtype.name in ("int4", "uint4", "float4_e2m1fn") else dtype.itemsize))
    return parameters, size


def _add_attributes(counts: Counts, nodes: list[Any]) -> None:
    """What stands in attributes: thresholds and leaf values, coefficients, support vectors; MACs are unknown."""
    from onnx import helper

    values = {"nodes_values", "class_weights", "target_weights", "nodes_splits", "leaf_weights"}
    values |= {"coefficients", "intercepts", "support_vectors"}
    numbers = size = 0
    for attribute in (a for n in nodes for a in n.attribute):
        wide = attribute.t if attribute.t.dims else None
        count = math.prod(wide.dims) if wide is not None else len(attribute.floats) + len(attribute.ints)
        bytes_each = np.dtype(helper.tensor_dtype_to_np_dtype(wide.data_type)).itemsize if wide is not None else 4
        numbers += count if attribute.name.removesuffix("_as_tensor") in values else 0
        size += count * (8 if attribute.ints else bytes_each)
    counts.parameters, counts.weight_bytes = _plus(counts.parameters, numbers), _plus(counts.weight_bytes, size)
    if nodes:
        counts.conv_macs = counts.matmul_macs = None


def _plus(total: int | None, more: int | None) -> int | None:
    return None if total is None or more is None else total + more


def _add_conv(counts: Counts, node: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    weight = shapes.get(node.input[_WEIGHT_AT.get(node.op_type, 1)])
    counts.convs += 1
    if weight is None:
        counts.conv_macs = None
        return
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    if math.prod(weight[2:]) > 1:
        counts.wide_convs += 1
        counts.depthwise += group > 1 and weight[1] == 1
    moved = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
    size = shapes.get(moved)
    counts.conv_macs = _plus(counts.conv_macs, None if size is None else math.prod(size) * math.prod(weight[1:]))


def _matmul_macs(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    first, out = shapes.get(node.input[0]), shapes.get(node.output[0])
    if first is None or out is None or not first:
        return None
    flipped = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(out) * (first[-2] if flipped and len(first) > 1 else first[-1])


def _attends(nodes: list[Any]) -> bool:
    """True if the result of a Softmax reaches a matrix product through operators that only pass it on."""
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return any(_reaches(node, readers, 6) for node in nodes if node.op_type == "Softmax")


def _reaches(node: Any, readers: Mapping[str, list[Any]], hops: int) -> bool:
    for reader in (r for name in node.output for r in readers.get(name, [])):
        if reader.op_type in MATMULS | {"Einsum"} and reader.op_type not in ("Gemm", "QGemm"):
            return True
        if hops and reader.op_type in _THROUGH and _reaches(reader, readers, hops - 1):
            return True
    return False


def _vocabulary(graph: Any, nodes: list[Any]) -> dict[str, int]:
    """Rows of the smallest table each graph input is looked up in."""
    tables = {t.name: t.dims[0] for t in graph.initializer if len(t.dims) == 2}
    makers = {name: node for node in nodes for name in node.output}
    inputs = {v.name for v in graph.input}
    found: dict[str, int] = {}
    for node in nodes:
        if node.op_type != "Gather":
            continue
        table, name = _origin(node.input[0], makers), _origin(node.input[1], makers)
        if table in tables and name in inputs:
            found[name] = min(int(tables[table]), found.get(name, int(tables[table])))
    return found


def _origin(name: str, makers: Mapping[str, Any]) -> str:
    """Where a value comes from, through operators that only pass it on."""
    for _ in range(6):
        node = makers.get(name)
        if node is None or node.op_type not in _THROUGH or node.op_type == "Add":
            return name
        name = node.input[0]
    return name
