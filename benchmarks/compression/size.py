"""How small do few-bit weights make the layers that have them? Read from the artefacts themselves, byte by byte.

    python -m benchmarks.compression.size [--models bert_base,minilm]

After `table prepare`. Counted are the layers whose weights are stored in 8 bits or fewer: their codes, scales and zero
points, against four bytes a weight. What it does to speed stands in the table.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from accel.study.artefacts import find_prepared
from benchmarks.compression import rows
from benchmarks.compression.bench import Bench
from benchmarks.compression.rows import Cell, Layers, Sizes
from benchmarks.compression.table import cells_of, say

_BITS = {"int8": 8, "uint8": 8, "int4": 4, "uint4": 4, "i8": 8, "u8": 8, "i4": 4, "u4": 4}
_LEAST = 256
"""Weights of a layer, at least: what is smaller is a scale or a zero point."""


class Weight:
    """One layer's weights: how many, stored as what, and the bytes of everything that is needed to read them."""

    def __init__(self, count: int, kind: str, stored_bytes: int) -> None:
        self.count, self.kind, self.stored_bytes = count, kind, stored_bytes


def layers_of(artefact: Path) -> list[Weight]:
    """Every layer with few-bit weights in an artefact's folder; empty where the form isn't read here (torch)."""
    if (artefact / "model.onnx").is_file():
        return onnx_weights(artefact / "model.onnx")
    if (artefact / "model.xml").is_file():
        return openvino_weights(artefact / "model.xml")
    return []


def onnx_weights(path: Path) -> list[Weight]:
    """Of MatMulNBits (com.microsoft), of DequantizeLinear over an initializer, and of the *Integer operators."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    known = {i.name: i for i in graph.initializer}
    found, seen = [], set[str]()
    for node in graph.node:
        codes = next((known[n] for n in node.input[:2] if n in known and _kind(known[n]) in _BITS), None)
        if codes is None or codes.name in seen or math.prod(codes.dims) < _LEAST:
            continue
        beside = [known[n] for n in node.input[1:] if n in known and n != codes.name]
        beside += [known[n] for n in _named_after(codes.name) if n in known and known[n] not in beside]
        weight = _weight(node, codes, beside)
        if weight is not None:
            seen.add(codes.name)
            found.append(weight)
    return found


def _weight(node: Any, codes: Any, beside: Sequence[Any]) -> Weight | None:
    stored = sum(_bytes(one) for one in (codes, *beside))
    if node.op_type == "MatMulNBits":
        told = {a.name: a.i for a in node.attribute}
        return Weight(told["K"] * told["N"], f"int{told.get('bits', 4)}", stored)
    if node.op_type in ("DequantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul", "Gather"):
        return Weight(math.prod(codes.dims), _kind(codes), stored)
    return None


def _named_after(name: str) -> list[str]:
    """The scale and zero point that ONNX Runtime's dynamic quantizer keeps under names made from the weight's."""
    stem = name.removesuffix("_quantized")
    return [f"{stem}_scale", f"{stem}_zero_point"] if stem != name else []


def _kind(tensor: Any) -> str:
    import onnx

    return str(onnx.TensorProto.DataType.Name(tensor.data_type)).lower()


def _bytes(tensor: Any) -> int:
    """Of an initializer, by its shape and type, so that external data need not be read."""
    import onnx

    kind = _kind(tensor)
    bits = _BITS.get(kind) or 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(-(-math.prod(tensor.dims) * bits // 8))


def openvino_weights(path: Path) -> list[Weight]:
    """Of every few-bit constant that is turned to float by Convert, Subtract (zero point) and Multiply (scale)."""
    import openvino as ov

    return [w for op in ov.Core().read_model(path).get_ops() if (w := _openvino_weight(op)) is not None]


def _openvino_weight(op: Any) -> Weight | None:
    if op.get_type_name() != "Constant" or op.get_element_type().get_type_name() not in _BITS:
        return None
    count = math.prod(op.get_output_shape(0))
    if count < _LEAST or _is_zero_point(op):
        return None
    beside = sum(_constant_bytes(source) for step in _chain(op) for source in _other_inputs(step))
    return Weight(count, op.get_element_type().get_type_name(), _constant_bytes(op) + beside)


def _chain(op: Any) -> Iterable[Any]:
    """Subtract and Multiply between a constant and the layer that uses it."""
    step = _only_consumer(op)
    while step is not None and step.get_type_name() in ("Convert", "Subtract", "Multiply", "Reshape"):
        if step.get_type_name() in ("Subtract", "Multiply"):
            yield step
        step = _only_consumer(step)


def _only_consumer(op: Any) -> Any:
    targets = list(op.output(0).get_target_inputs())
    return targets[0].get_node() if len(targets) == 1 else None


def _is_zero_point(op: Any) -> bool:
    """True if it is what is subtracted from a weight, not the weight."""
    while (following := _only_consumer(op)) is not None and following.get_type_name() == "Convert":
        op = following
    return following is not None and following.get_type_name() == "Subtract" and _source(following, 1) == _name(op)


def _source(op: Any, index: int) -> str:
    return _name(op.input_value(index).get_node())


def _name(op: Any) -> str:
    return str(op.get_friendly_name())


def _other_inputs(step: Any) -> list[Any]:
    """The constant on the second side of a Subtract or Multiply, behind its Convert."""
    node = step.input_value(1).get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return [node] if node.get_type_name() == "Constant" else []


def _constant_bytes(op: Any) -> int:
    return int(-(-math.prod(op.get_output_shape(0)) * op.get_element_type().bitwidth // 8))


def layers(cell: Cell, artefact: Path) -> Layers | None:
    """What is told of one cell; None if none of its layers has few-bit weights."""
    found = layers_of(artefact)
    if not found:
        return None
    codes: Counter[str] = Counter()
    for weight in found:
        codes[weight.kind] += weight.count
    return Layers(
        technique=cell.technique,
        backend=cell.backend,
        layers=len(found),
        float_bytes=4 * sum(w.count for w in found),
        stored_bytes=sum(w.stored_bytes for w in found),
        codes=dict(sorted(codes.items())),
        file_bytes=cell.artefact_bytes or 0,
    )


def sizes(bench: Bench) -> Sizes:
    """Of every cell of a model that is ready."""
    found, plain = [], {}
    for cell in cells_of(bench):
        prepared = find_prepared(bench.root, cell.variant)
        if cell.outcome != "ready" or prepared is None:
            continue
        if not cell.compression:
            plain[cell.backend] = cell.artefact_bytes or 0
        one = layers(cell, Path(prepared.folder)) if cell.compression else None
        found += [] if one is None else [one]
    return Sizes(model=bench.model, float_file_bytes=plain, layers=tuple(found))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default="bert_base,minilm")
    parser.add_argument("--reports", type=Path, default=rows.FOLDER)
    given = parser.parse_args(arguments)
    for model in filter(None, given.models.split(",")):
        bench = Bench(model)
        say(str(rows.write(sizes(bench), f"size-{bench.model}", given.reports)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
