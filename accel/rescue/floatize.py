"""Any set of operators of a quantized ONNX graph back in float, without calibrating or quantizing again.

The quantized graph is taken apart into the float graph and one QuantizeLinear/DequantizeLinear pair a tensor; any
subset of the pairs is then put back. Which subset follows what ONNX Runtime's tool does when it is told to exclude
nodes: a tensor stays in 8 bits as long as one quantized node reads or writes it; then `read_in_float` of the quantizer
lets float readers have it as it was.
So a form made here answers like a clean one with the same nodes excluded. Both ends can be checked: with no node in
float the quantized graph must come back, with all of them the float graph.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from accel.compression._qdq_edges import REMOVED, rewired

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

PASSING = frozenset(
    {
        "AveragePool",
        "Clip",
        "Flatten",
        "Gather",
        "MaxPool",
        "Relu",
        "Reshape",
        "Resize",
        "Slice",
        "Squeeze",
        "TopK",
        "Transpose",
        "Unsqueeze",
    }
)
"""Types that the tool only passes 8-bit numbers through: they never ask for them."""
_Q, _DQ = "QuantizeLinear", "DequantizeLinear"


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """What stands between one tensor of the float graph and its readers: a Q and a DQ node, or a DQ node alone (of a
    weight), with the initializers they need.
    """

    quantize: Any
    dequantize: Any
    initializers: tuple[Any, ...]


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """A quantized graph taken apart: the float graph and the pairs, by the float graph's tensor names.

    types: operator types that were quantized. attributes: of the nodes that are still there, since quantizing may
        rewrite them (Gemm's beta); a ReLU that was left to the clipping of a range is gone.
    """

    reference: Any
    pairs: dict[str, Pair]
    types: frozenset[str]
    excluded: frozenset[str]
    attributes: dict[str, Any]

    @property
    def nodes(self) -> tuple[tuple[str, str], ...]:
        """(name, operator type) of every node that was quantized and is still there, in the order of the graph."""
        tensors = set(self.pairs)
        return tuple(
            (n.name, n.op_type)
            for n in self.reference.graph.node
            if n.name in self.attributes and _active(n, self, frozenset()) and tensors & {*n.input, *n.output}
        )


def take_apart(
    reference: Path,
    quantized: Path,
    types: Collection[str],
    excluded: Collection[str] = (),
    endless: Set[str] = frozenset(),
) -> Parts:
    """Parts of the file `quantized` that was made from the file `reference`; nodes have the same names in both.

    types, excluded: what the quantizer was told. endless: tensors that reach infinity, whose nodes it leaves out.
    """
    import onnx

    whole, changed = onnx.load(reference), onnx.load(quantized)
    made_by = {name: node for node in changed.graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in changed.graph.initializer}
    there = {node.name: node for node in changed.graph.node}
    pairs: dict[str, Pair] = {}
    for node in whole.graph.node:
        for ours, theirs in zip(node.input, there[node.name].input if node.name in there else (), strict=False):
            if ours not in pairs and (pair := _pair(made_by.get(theirs), made_by, stored)):
                pairs[ours] = pair
    for output in whole.graph.output:
        if output.name not in pairs and (pair := _pair(made_by.get(output.name), made_by, stored)):
            pairs[output.name] = pair
    attributes = {name: list(node.attribute) for name, node in there.items()}
    return Parts(
        reference=whole,
        pairs=pairs,
        types=frozenset(types),
        excluded=frozenset(excluded) | {n.name for n in whole.graph.node if endless & {*n.input, *n.output}},
        attributes=attributes,
    )


def sharing(parts: Parts) -> list[frozenset[str]]:
    """For each activation in 8 bits the nodes that keep it so, where there are several: only together they free it."""
    weights = {tensor.name for tensor in parts.reference.graph.initializer}
    touching: dict[str, set[str]] = {name: set() for name in parts.pairs if name not in weights}
    for node in parts.reference.graph.node:
        if _active(node, parts, frozenset()) and node.op_type not in PASSING:
            for name in touching.keys() & {*node.input, *node.output}:
                touching[name].add(node.name)
    return [frozenset(names) for names in touching.values() if len(names) > 1]


def _pair(dequantize: Any, made_by: dict[str, Any], stored: dict[str, Any]) -> Pair | None:
    if dequantize is None or dequantize.op_type != _DQ:
        return None
    quantize = made_by.get(dequantize.input[0])
    if quantize is not None and quantize.op_type != _Q:
        return None
    named = [*dequantize.input, *(quantize.input if quantize is not None else ())]
    needed = dict.fromkeys(name for name in named if name in stored)
    return Pair(quantize=quantize, dequantize=dequantize, initializers=tuple(stored[name] for name in needed))


def floatize(parts: Parts, left: Set[str]) -> ModelProto:
    """The quantized model with the nodes named in `left` (and what only they ask for) in float."""
    import onnx

    kept = _kept(parts, left)
    model = onnx.ModelProto()
    model.CopyFrom(_without_graph(parts.reference))
    source = parts.reference.graph
    graph = model.graph
    graph.name = source.name
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    outputs = {output.name for output in source.output}
    feeds = {name: name if name in outputs else f"{name}__8bit" for name in kept}
    exact = {name: f"{name}__exact" for name in kept & outputs}
    weights = {tensor.name for tensor in source.initializer}
    for name in sorted(kept - {o for n in source.node for o in n.output}):
        _insert(graph, parts.pairs[name], name, feeds[name])
    for node in source.node:
        changed = graph.node.add()
        changed.CopyFrom(node)
        if node.name not in left and node.name in parts.attributes:
            del changed.attribute[:]
            changed.attribute.extend(parts.attributes[node.name])
        changed.input[:] = [feeds.get(name, name) for name in node.input]
        changed.output[:] = [exact.get(name, name) for name in node.output]
        for name in node.output:
            if name in kept:
                _insert(graph, parts.pairs[name], exact.get(name, name), feeds[name])
    if not parts.types & set(REMOVED):
        rewired(graph, parts.types, parts.excluded | left)
    _store(graph, source, parts, kept, weights)
    _opsets(model, parts)
    return model


def _kept(parts: Parts, left: Set[str]) -> set[str]:
    """The tensors that stay in 8 bits, found as the tool does it: node by node in the order of the graph."""
    weights = {tensor.name for tensor in parts.reference.graph.initializer}
    asked: set[str] = set()
    for node in parts.reference.graph.node:
        if not _active(node, parts, left):
            continue
        if node.op_type not in PASSING:
            asked.update(node.input, node.output)
        elif node.input[0] in asked or (node.op_type == "Gather" and node.input[0] in weights):
            asked.update({node.input[0], *node.output})
    return asked & parts.pairs.keys()


def _active(node: NodeProto, parts: Parts, left: Set[str]) -> bool:
    return node.op_type in parts.types and node.name not in parts.excluded and node.name not in left


def _insert(graph: GraphProto, pair: Pair, source: str, target: str) -> None:
    """Append copies of a pair's nodes between two tensor names."""
    if pair.quantize is not None:
        first = graph.node.add()
        first.CopyFrom(pair.quantize)
        first.name, first.input[0], first.output[0] = f"{target}__q", source, f"{target}__quantized"
    last = graph.node.add()
    last.CopyFrom(pair.dequantize)
    last.name, last.output[0] = f"{target}__dq", target
    if pair.quantize is not None:
        last.input[0] = f"{target}__quantized"


def _store(graph: GraphProto, source: GraphProto, parts: Parts, kept: set[str], weights: set[str]) -> None:
    """Only the initializers that something reads: the float weights of 8-bit nodes would double the size."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    inner = any(a.HasField("g") or a.graphs for node in source.node for a in node.attribute)
    graph.initializer.extend(t for t in source.initializer if t.name in read or inner)
    seen = set(weights)
    for name in sorted(kept):
        for tensor in parts.pairs[name].initializers:
            if tensor.name not in seen:
                seen.add(tensor.name)
                graph.initializer.append(tensor)


def _without_graph(model: ModelProto) -> ModelProto:
    """Everything of a model but its graph; copying the graph as well would copy every weight."""
    import onnx

    bare = onnx.ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        opset_import=model.opset_import,
        functions=model.functions,
    )
    bare.metadata_props.extend(model.metadata_props)
    return bare


def _opsets(model: ModelProto, parts: Parts) -> None:
    """Pairs of the runtime's own domain need that domain declared."""
    known = {entry.domain for entry in model.opset_import}
    used = {node.domain for pair in parts.pairs.values() for node in (pair.quantize, pair.dequantize) if node}
    for domain in sorted(used - known):
        if domain not in ("", "ai.onnx"):
            model.opset_import.add(domain=domain, version=1)
