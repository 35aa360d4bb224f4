"""Reads an ONNX file as a graph: which operators, how the numbers are stored, which files it needs beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accel.errors import VariantError

QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
DYNAMIC = frozenset({"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul"})
OPERATOR_FORM = frozenset({"QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "MatMulNBits"})
ACROSS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


def read(path: Path) -> Any:
    """The ModelProto without its external weights; raises VariantError if the file can't be read."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return onnx.load(path, load_external_data=False)
    except FileNotFoundError:
        raise VariantError(f"The model file `{path}` is gone.", "Prepare the variant again.") from None
    except DecodeError:
        raise VariantError(
            f"`{path.name}` can't be read: it isn't ONNX or it is cut short.", "Export or download the model again."
        ) from None


def graphs(graph: Any) -> Iterator[Any]:
    """A graph and every graph inside its nodes (If, Loop, Scan)."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from graphs(inner)


def operators(proto: Any) -> Counter[str]:
    """How often each operator type occurs, functions and inner graphs included."""
    counted: Counter[str] = Counter(node.op_type for g in graphs(proto.graph) for node in g.node)
    counted.update(node.op_type for function in proto.functions for node in function.node)
    return counted


def is_quantized(proto: Any) -> bool:
    """True if the graph already holds quantized operators."""
    return bool((QDQ | DYNAMIC | OPERATOR_FORM) & set(operators(proto)))


def stored_as(path: Path) -> str:
    """How the numbers stand in the file: "float32", "int8", "int8 dynamic", "f16", "bf16", "float64", ..."""
    import onnx

    proto = read(path)
    counted = operators(proto)
    if counted["MatMulNBits"]:
        return f"int{_weight_bits(proto)} weights"
    if set(counted) & DYNAMIC:
        return "int8 dynamic"
    if set(counted) & (QDQ | OPERATOR_FORM):
        return "int8"
    sizes: Counter[int] = Counter()
    for graph in graphs(proto.graph):
        for weight in graph.initializer:
            count = 1
            for axis in weight.dims:
                count *= axis
            sizes[weight.data_type] += count
    named = {onnx.TensorProto.FLOAT16: "f16", onnx.TensorProto.BFLOAT16: "bf16", onnx.TensorProto.DOUBLE: "float64"}
    floats = {t: n for t, n in sizes.items() if t in named or t == onnx.TensorProto.FLOAT}
    return named.get(max(floats, key=lambda t: floats[t]), "float32") if floats else "float32"


def _weight_bits(proto: Any) -> int:
    """The fewest bits a MatMulNBits node of the graph stores its weights in; 4 where it doesn't say."""
    nodes = [n for g in graphs(proto.graph) for n in g.node if n.op_type == "MatMulNBits"]
    return min(next((int(a.i) for a in n.attribute if a.name == "bits"), 4) for n in nodes)


def float_between_quantized(path: Path) -> tuple[str, ...]:
    """Names of convolutions and dense layers with float weights that read dequantized numbers and are quantized behind.

    ONNX Runtime quantizes such weights by itself, with one scale for all of them, unless it is told not to (its
    optimizer WeightBiasQuantization), so that what somebody left in float for its accuracy doesn't stay so.
    """
    import onnx

    found = []
    for graph in graphs(read(path).graph):
        floats = {w.name for w in graph.initializer if w.data_type == onnx.TensorProto.FLOAT}
        makers = {o: node for node in graph.node for o in node.output}
        for node in graph.node:
            before = makers.get(node.input[0]) if node.op_type in ("Conv", "ConvTranspose", "Gemm") else None
            if before is not None and before.op_type == "DequantizeLinear" and node.input[1] in floats:
                found += [node.name or node.output[0]] if _is_quantized_behind(graph, node) else []
    return tuple(found)


def _is_quantized_behind(graph: Any, node: Any) -> bool:
    """True if the only reader is a quantize step, through activations that clip."""
    while True:
        readers = [n for n in graph.node if node.output[0] in n.input]
        if len(readers) != 1 or readers[0].op_type not in ("QuantizeLinear", "Relu", "Clip"):
            return False
        if readers[0].op_type == "QuantizeLinear":
            return True
        node = readers[0]


def external_files(path: Path) -> tuple[str, ...]:
    """Names of the files that hold weights outside the model, relative to its folder.

    Raises VariantError for one that is missing or lies outside the folder (a model must not read foreign files).
    """
    found: set[str] = set()
    proto = read(path)
    for graph in graphs(proto.graph):
        for weight in graph.initializer:
            found.update(e.value for e in weight.external_data if e.key == "location")
    for name in sorted(found):
        inside = (path.parent / name).resolve()
        if not inside.is_relative_to(path.parent.resolve()):
            raise VariantError(
                f"The weights of `{path.name}` point outside its folder: `{name}`.", "Save the model again."
            )
        if not inside.is_file():
            raise VariantError(
                f"The weights of `{path.name}` are missing: `{name}`.",
                "Keep the external data file beside the .onnx file.",
            )
    return tuple(sorted(found))
