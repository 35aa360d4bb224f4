"""Takes back the rounding that a QDQ file does for nobody: what a float operator reads needn't pass through 8 bits.

The tool rounds a tensor for all its readers, once one of them is quantized. A residual addition behind a LayerNorm then
reads rounded numbers, though it computes in float, and their errors add up from layer to layer (a 6-layer sentence
encoder: 9 dB from the float model, 19 dB with the float reading what it can; no slower, since conversions go). The
values of a product that float operators read are left alone for the same reason: ONNX Runtime has 8-bit products with a
float result (MatMulIntegerToFloat, QGemm), but no such convolution.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

from accel.compilation._onnx import graphs
from accel.compression._graph import save

_PAIR = ("QuantizeLinear", "DequantizeLinear")
FLOAT_RESULT = ("MatMul", "Gemm")
"""Operators whose 8-bit kernels can give float results."""
REMOVED = ("Relu", "Clip")
"""Operators that the tool takes out where a range clips alike: then only the rounded tensor is right."""


def read_in_float(path: Path, types: Set[str], excluded: Set[str] = frozenset()) -> int:
    """Let the float operators of a QDQ file read float tensors where there are some; gives how many inputs changed.

    types, excluded: which operator types were quantized, less the nodes named. Not for a file with REMOVED among them.
    A tensor stays rounded where an 8-bit operator makes it that has no float result, such as a convolution.
    """
    import onnx

    proto = onnx.load(path)
    changed = sum(rewired(graph, types, excluded) for graph in graphs(proto.graph))
    if changed:
        for left in path.parent.glob(path.name + ".data"):
            left.unlink()
        save(proto, path)
    return changed


def rewired(graph: Any, types: Set[str], excluded: Set[str] = frozenset()) -> int:
    """The same for one graph in memory."""
    made = {output: node for node in graph.node for output in node.output}
    rounded = {node.output[0]: source for node in graph.node if (source := _float_source(node, made)) is not None}
    asked = [n for n in graph.node if n.op_type in types and n.name not in excluded]
    eight = {id(node) for node in asked if _is_quantized(node, made, set(rounded.values()))}
    changed = 0
    for node in graph.node:
        if node.op_type in _PAIR or id(node) in eight:
            continue
        for i, name in enumerate(node.input):
            source = rounded.get(name)
            if source is not None and not _needs_rounding(made.get(source), eight):
                node.input[i] = source
                changed += 1
    given_out = {output.name for output in graph.output}
    for output in graph.output:
        source = rounded.get(output.name)
        if source is None or source not in made or source in given_out:
            continue
        if not _needs_rounding(made[source], eight):
            _give(graph, output.name, source, made[output.name])
            changed += 1
    if changed:
        _drop_unread(graph)
    return changed


def _give(graph: Any, output: str, source: str, dequantize: Any) -> None:
    """Let the graph give out `source` under the name `output`, whose rounded form gets another name."""
    renamed = {source: output, output: f"{output}__rounded"}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if node is not dequantize:
            node.output[:] = [output if name == source else name for name in node.output]
    dequantize.output[0] = renamed[output]


def _float_source(node: Any, made: dict[str, Any]) -> str | None:
    """The float tensor behind a DequantizeLinear, if a QuantizeLinear stands before it (an activation)."""
    before = made.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
    return str(before.input[0]) if before is not None and before.op_type == "QuantizeLinear" else None


def _is_quantized(node: Any, made: dict[str, Any], rounded: Set[str]) -> bool:
    """True if all that it computes with was rounded, and its result is too where its kernel can't give it in float."""
    sources = [made.get(name) for name in node.input[:2] if name]
    if not sources or not all(s is not None and s.op_type == "DequantizeLinear" for s in sources):
        return False
    return node.op_type in FLOAT_RESULT or bool(rounded & set(node.output))


def _needs_rounding(node: Any, eight: Set[int]) -> bool:
    """True for the result of an 8-bit operator that can't be float."""
    return node is not None and node.op_type not in FLOAT_RESULT and id(node) in eight


def _drop_unread(graph: Any) -> None:
    """Remove the pairs that nobody reads any more."""
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unread = [n for n in graph.node if n.op_type in _PAIR and not any(output in read for output in n.output)]
        if not unread:
            return
        for node in unread:
            graph.node.remove(node)
