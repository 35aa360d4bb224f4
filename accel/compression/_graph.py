"""Brings an ONNX graph into the shape that ONNX Runtime's quantizers can take, and says what they did to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from accel.compilation._onnx import ACROSS, DYNAMIC, graphs, read
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.model import Facts, Model

OPSET = 17
PER_CHANNEL_OPSET = 13
LARGEST_FILE = 2_000_000_000


def load_prepared(path: Path) -> Any:
    """The whole model, weights included, without the shapes an exporter noted and at opset 13 or later.

    Noted shapes contradict the quantized graph ("Inferred shape and existing shape differ"); per-channel
    DequantizeLinear exists from opset 13 on. Raises VariantError if the graph can't be converted.
    """
    import onnx
    from onnx import version_converter

    proto = onnx.load(path)
    for graph in graphs(proto.graph):
        del graph.value_info[:]
        flatten_biases(graph)
    if opset(proto) < PER_CHANNEL_OPSET:
        try:
            proto = version_converter.convert_version(proto, OPSET)
        except Exception as error:
            raise VariantError(
                f"The graph's opset {opset(proto)} can't be converted to {OPSET}, which quantizing needs: {error}.",
                "Export the model again with opset 17.",
            ) from error
    return proto


def flatten_biases(graph: Any) -> None:
    """Give each Gemm a bias of one axis: with a row of shape (1, n), as some exporters write it, the per-channel
    quantizer compares arrays as if they were numbers and stops with "The truth value of an array with more than one
    element is ambiguous".
    """
    from onnx import numpy_helper

    weights = {w.name: w for w in graph.initializer}
    for index, node in enumerate(graph.node):
        if node.op_type != "Gemm" or len(node.input) < 3 or not {*node.input[1:3]} <= set(weights):
            continue
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        width = weights[node.input[1]].dims[0 if transposed else 1]
        bias = numpy_helper.to_array(weights[node.input[2]])
        if bias.ndim != 1 and bias.size in (1, width):
            name = f"{node.input[2]}__flat_{index}"
            flat = np.broadcast_to(bias.reshape(-1), (width,)).copy()
            graph.initializer.append(numpy_helper.from_array(flat, name))
            old, node.input[2] = node.input[2], name
            if not any(old in n.input for n in graph.node):
                graph.initializer.remove(weights[old])


def name_nodes(proto: Any) -> None:
    """Give every node a name of its own, so that each can be named to stay in float."""
    taken: set[str] = set()
    for graph in graphs(proto.graph):
        for index, node in enumerate(graph.node):
            if not node.name or node.name in taken:
                node.name = next(n for n in _spare(f"{node.op_type}_{index}") if n not in taken)
            taken.add(node.name)


def _spare(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{i}" for i in count(1))


def opset(proto: Any) -> int:
    """The version of the standard operator set a model uses."""
    return max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=0)


def save(proto: Any, path: Path) -> Path:
    """Write a model; weights go beside it where one file can't hold them."""
    import onnx

    onnx.save(proto, path, save_as_external_data=is_large(proto), location=path.name + ".data")
    return path


def is_large(proto: Any) -> bool:
    """True if the weights don't fit into one protobuf file."""
    return sum(len(w.raw_data) for g in graphs(proto.graph) for w in g.initializer) > LARGEST_FILE


def quantized_operators(path: Path) -> Counter[str]:
    """How many operators of each type compute on 8-bit numbers in a quantized file.

    In QDQ form those whose every data input (the first two) comes out of a DequantizeLinear.
    """
    proto = read(path)
    counted: Counter[str] = Counter()
    for graph in graphs(proto.graph):
        dequantized = {o for node in graph.node if node.op_type == "DequantizeLinear" for o in node.output}
        for node in graph.node:
            dynamic = node.op_type in DYNAMIC and node.op_type != "DynamicQuantizeLinear"
            if dynamic or (node.op_type in ACROSS and set(node.input[:2]) <= dequantized):
                counted[node.op_type] += 1
    return counted


def heavy_operators(proto: Any) -> Counter[str]:
    """How many convolutions and matrix products a graph has, by type."""
    return Counter(n.op_type for g in graphs(proto.graph) for n in g.node if n.op_type in ACROSS)


def quantized_facts(model: Model) -> Facts:
    """The facts of a model after quantizing: the same, but never to be quantized again."""
    return msgspec.structs.replace(model.facts, quantized=True)


def listed(counted: Counter[str], none: str = "nothing") -> str:
    """`Conv 22, Gemm 1`, the most frequent first.

    >>> listed(Counter({"Gemm": 1, "Conv": 22}))
    'Conv 22, Gemm 1'
    """
    return ", ".join(f"{name} {n}" for name, n in counted.most_common()) or none


def kept_in_float(types: Iterable[str], names: Iterable[str]) -> str:
    """What was asked to stay in float, in brackets; nothing if nothing was.

    >>> kept_in_float(["Add"], ["conv_1"])
    ' (in float as asked: Add, `conv_1`)'
    """
    kept = [*types, *(f"`{name}`" for name in names)]
    return (
        f" (in float as asked: {', '.join(kept[:5])}{f' and {len(kept) - 5} more' * (len(kept) > 5)})" if kept else ""
    )


def require(done: Counter[str], wanted: Iterable[str]) -> None:
    """Raise VariantError if a quantizer left everything as it was."""
    if not done:
        raise VariantError(
            f"Nothing was quantized: the graph has no {', '.join(wanted)} with constant weights.",
            "Name other operator types in `operators`, or leave this technique out.",
        )
