"""What ONNX Runtime computes in 8 bits: read from the graph it writes once it has rewritten a model for this chip.

The model is loaded with the variant's own optimization level and run once on real inputs, so that operators are those
that run, and bytes of activations those that were written.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel.compilation._artefact import Artefact
from accel.compilation._onnx import graphs, read
from accel.compression._numerics import Asked, Operator, between, bytes_of, counted
from accel.compression._onnx_names import Names, is_low, plain_type
from accel.result import Numerics

if TYPE_CHECKING:
    from accel.compilation import Arrays
    from accel.compilation.onnxruntime import OnnxRuntime

HEAVY = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Attention", "MultiHeadAttention", "GroupQueryAttention",
                   "LSTM", "GRU", "RNN", "Einsum"})  # fmt: skip
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_MOVED = ("Cast", "Transpose")
_INSERTED = ("ReorderInput", "ReorderOutput")
_SHOWN = 12


def numerics(backend: OnnxRuntime, folder: Path, asked: Asked, example: Arrays | None) -> Numerics:
    """Read an artefact folder. example: inputs of one item; without them bytes of activations stay unknown."""
    stored = Artefact.load(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        made, ran = _rewritten(backend, folder, stored, Path(place), example)
        proto, file = read(made), read(folder / "model.onnx")
    graph = _Graph(proto, Names(file))
    level = "as saved" if stored.file == "optimized.onnx" else backend.optimization
    operators, unfused = list(graph.operators()), graph.unfused()
    return Numerics(
        operators=counted(operators, asked),
        unfused=unfused.total(),
        unfused_around=dict(unfused.most_common()),
        conversions=graph.conversions(file),
        weight_bytes=weight_bytes(file),
        activation_bytes=ran,
        between=graph.floats_between(),
        islands=graph.islands() if asked.kind in ("static", "") else (),
        source=f"the graph as ONNX Runtime rewrote it (optimization {level})",
        notes=(*_weight_only(proto), *_all_the_same(operators, asked), *_told(stored)),
    )


def _rewritten(
    backend: OnnxRuntime, folder: Path, stored: Artefact, place: Path, example: Arrays | None
) -> tuple[Path, dict[str, int] | None]:
    """The runtime's own graph, written to `place`, and bytes of what its operators wrote in one run."""
    import onnxruntime as ort

    options = backend.options(ort, stored)
    options.optimized_model_filepath = str(place / "rewritten.onnx")
    options.enable_profiling = example is not None
    options.profile_file_prefix = str(place / "profile")
    session = ort.InferenceSession(str(folder / stored.file), options, providers=["CPUExecutionProvider"])
    if example is None:
        return place / "rewritten.onnx", None
    session.run(None, {i.name: example[i.name] for i in session.get_inputs()})
    return place / "rewritten.onnx", _written(Path(session.end_profiling()))


def _written(profile: Path) -> dict[str, int]:
    """Bytes of all operators' outputs by dtype, from a profile of one run."""
    events = json.loads(profile.read_text())
    outputs = [o for e in events if e.get("cat") == "Node" for o in e.get("args", {}).get("output_type_shape") or ()]
    return bytes_of((_dtype(name), _width(name, math.prod(shape))) for o in outputs for name, shape in o.items())


def _dtype(name: str) -> str:
    return {"float": "float32", "double": "float64"}.get(name, name)


def _width(name: str, count: int) -> int:
    """Bytes of `count` numbers of a dtype by the runtime's name for it; text counts nothing."""
    bits = "".join(c for c in _dtype(name) if c.isdigit())
    return count * int(bits) // 8 if bits else count * (name == "bool")


def weight_bytes(proto: Any) -> dict[str, int]:
    """Bytes of an ONNX file's weights by dtype; single numbers and shapes aren't weights."""
    from onnx import helper

    packed = {n.input[1]: a.i for g in graphs(proto.graph) for n in g.node if n.op_type == "MatMulNBits"
              for a in n.attribute if a.name == "bits"}  # fmt: skip
    constants = [a.t for g in graphs(proto.graph) for n in g.node if n.op_type == "Constant" for a in n.attribute]
    sizes = []
    for tensor in [t for g in graphs(proto.graph) for t in g.initializer] + constants:
        count = math.prod(tensor.dims)
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type) if tensor.data_type else None
        if dtype is None or count <= 1 or dtype.name in ("int64", "bool") or dtype.kind in "OUS":
            continue
        name = f"int{packed[tensor.name]}" if tensor.name in packed else dtype.name
        half = dtype.name in ("int4", "uint4", "float4_e2m1fn")
        sizes.append((name, -(-count // 2) if half else count * dtype.itemsize))
    return bytes_of(sizes)


def _weight_only(proto: Any) -> tuple[str, ...]:
    """What MatMulNBits multiplies in: its attribute says it, its name doesn't."""
    told = [{a.name: a.i for a in n.attribute} for g in graphs(proto.graph) for n in g.node
            if n.op_type == "MatMulNBits"]  # fmt: skip
    kinds = Counter((t.get("bits", 4), t.get("accuracy_level", 0) == 4) for t in told)
    return tuple(
        f"{n} matrix products hold weights in {bits} bits and multiply in {'8 bits' if eight else 'float'}"
        for (bits, eight), n in sorted(kinds.items())
    )


def _all_the_same(found: Sequence[Operator], asked: Asked) -> tuple[str, ...]:
    """What was to stay in float, but doesn't: what stands between 8-bit operators is fused with their Q and DQ."""
    names = [o.name for o in found if o.low and (o.name in asked.exclude or (o.type in asked.keep and o.type in HEAVY))]
    if not names:
        return ()
    listed = f"{_listed(names)} {'was' if len(names) == 1 else 'were'} to stay in float"
    return (f"{listed}, but between 8-bit neighbours ONNX Runtime computes in 8 bits all the same",)


def _told(stored: Artefact) -> tuple[str, ...]:
    """A file that plain ONNX Runtime would run in another way than it is run here."""
    if not stored.left_float:
        return ()
    return (
        f"{_listed(stored.left_float)} stays in float since ONNX Runtime is told so (session entry "
        "optimization.disable_specified_optimizers = WeightBiasQuantization); by itself it would quantize the weights",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{n}`" for n in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class _Graph:
    """The rewritten graph, with inner graphs laid beside it, and who makes and who reads each tensor."""

    def __init__(self, proto: Any, names: Names) -> None:
        self._names = names
        self._nodes = [node for g in graphs(proto.graph) for node in g.node]
        self._constants = {w.name for g in graphs(proto.graph) for w in g.initializer}
        self._constants |= {o for n in self._nodes if n.op_type == "Constant" for o in n.output}
        self._maker = {o: i for i, node in enumerate(self._nodes) for o in node.output if o}
        self._readers: dict[str, list[int]] = {}
        for i, node in enumerate(self._nodes):
            for name in node.input:
                self._readers.setdefault(name, []).append(i)
        self._dtypes = _tensor_types(proto)

    def operators(self) -> Iterator[Operator]:
        """All that multiply, and of the other types those of which one at least runs, or was to run, in 8 bits."""
        found = [(i, plain_type(node), is_low(node)) for i, node in enumerate(self._nodes)]
        shown = HEAVY | {kind for i, kind, low in found if low or self._stands_between(i)}
        for i, kind, low in found:
            if kind in shown and kind not in (_QUANTIZE, _DEQUANTIZE) and not self._is_index(i):
                yield self._operator(i, kind, low)

    def _operator(self, i: int, kind: str, low: bool) -> Operator:
        node = self._nodes[i]
        weights = [n for n in node.input[:2] if self._is_constant(n)]
        return Operator(
            type=kind,
            name=self._names.of(node),
            low=low,
            unfused=not low and self._stands_between(i),
            depthwise=self._names.depthwise(node),
            computed=kind in ("MatMul", "Gemm", "Einsum") and not weights,
            stored=not low and any(n not in self._constants for n in weights),
            otherwise="" if kind in HEAVY else "what it reads, or what reads it, isn't in 8 bits",
        )

    def _is_constant(self, name: str) -> bool:
        """A weight, or a weight that is made float again from its 8 bits."""
        maker = self._made_by(name)
        again = maker is not None and maker.op_type == _DEQUANTIZE and maker.input[0] in self._constants
        return name in self._constants or again

    def _made_by(self, name: str) -> Any:
        return self._nodes[self._maker[name]] if name in self._maker else None

    def _is_index(self, i: int) -> bool:
        """Arithmetic on shapes and indices, which nobody would quantize."""
        return self._dtypes.get(self._nodes[i].output[0]) in ("int64", "int32", "bool")

    def _stands_between(self, i: int) -> bool:
        """True for a float operator that was to run in 8 bits: all it reads was dequantized just before.

        Of one that only moves or adds numbers also the results must be quantized again, else it just lies behind.
        """
        node = self._nodes[i]
        kind = plain_type(node)
        if is_low(node) or kind in (_QUANTIZE, _DEQUANTIZE):
            return False
        read = [n for n in (node.input[:2] if kind in HEAVY else node.input) if n]
        again = [self._made_by(n) for n in read]
        if not read or any(m is None or m.op_type != _DEQUANTIZE for m in again):
            return False
        if all(m.input[0] in self._constants for m in again):
            return False
        after = [self._nodes[r].op_type for o in node.output for r in self._readers.get(o, ())]
        return kind in HEAVY or (bool(after) and all(a == _QUANTIZE for a in after))

    def _standing(self) -> set[int]:
        """Dequantize steps of pairs that weren't fused: behind their own quantize step, or before such an operator."""
        found = set()
        for i, node in enumerate(self._nodes):
            if node.op_type != _DEQUANTIZE or node.input[0] in self._constants:
                continue
            maker = self._made_by(node.input[0])
            after = [r for o in node.output for r in self._readers.get(o, ())]
            if (maker is not None and maker.op_type == _QUANTIZE) or any(self._stands_between(r) for r in after):
                found.add(i)
        return found

    def unfused(self) -> Counter[str]:
        """Q/DQ pairs left standing, by the type of the operator that reads the rounded numbers."""
        readers = ((self._after(i) or [i])[0] for i in self._standing())
        return Counter(
            "output" if self._nodes[r].op_type == _DEQUANTIZE else plain_type(self._nodes[r]) for r in readers
        )

    def conversions(self, file: Any) -> int:
        """Steps that only change dtype or layout: Q and DQ between 8-bit and float operators, and what was inserted."""
        standing = self._standing()
        quantize = {i for i in range(len(self._nodes)) if self._after(i) and set(self._after(i)) <= standing}
        steps = [i for i, n in enumerate(self._nodes) if n.op_type in (_QUANTIZE, _DEQUANTIZE)]
        alone = [i for i in steps if i not in standing | quantize and self._nodes[i].input[0] not in self._constants]
        now = Counter(n.op_type for n in self._nodes)
        before = Counter(n.op_type for g in graphs(file.graph) for n in g.node)
        inserted = sum(max(0, now[kind] - before[kind]) for kind in _MOVED) + sum(now[kind] for kind in _INSERTED)
        return len(alone) + inserted

    def islands(self) -> tuple[str, ...]:
        """Float operators that multiply and stand between 8-bit ones, by type and name."""
        floats = {i for i, n in enumerate(self._nodes) if n.op_type not in (_QUANTIZE, _DEQUANTIZE) and not is_low(n)}
        onward = {str(i): [str(r) for r in self._after(i) if r in floats] for i in floats}
        starts = [str(i) for i in floats if any(self._is_step(n) for n in self._nodes[i].input)]
        ends = [str(i) for i in floats if any(r not in floats for r in self._after(i))]
        inside = sorted(int(i) for i in between(starts, ends, onward))
        named = ((plain_type(self._nodes[i]), self._names.of(self._nodes[i])) for i in inside)
        return tuple(f"{kind} {name}" for kind, name in named if kind in HEAVY)[:_SHOWN]

    def floats_between(self) -> dict[str, int]:
        """Float operators that read numbers which an 8-bit operator wrote and which were made float for them."""
        steps = (i for i, n in enumerate(self._nodes) if n.op_type == _DEQUANTIZE and self._is_written_low(n.input[0]))
        readers = {r for i in steps for r in self._after(i) if self._nodes[r].op_type != _QUANTIZE}
        return dict(Counter(plain_type(self._nodes[r]) for r in readers).most_common())

    def _is_written_low(self, name: str) -> bool:
        maker = self._made_by(name)
        return maker is not None and maker.op_type != _QUANTIZE

    def _after(self, i: int) -> list[int]:
        return [r for o in self._nodes[i].output for r in self._readers.get(o, ())]

    def _is_step(self, name: str) -> bool:
        """True for a tensor that an 8-bit operator or a dequantize step of activations has made."""
        maker = self._made_by(name)
        if maker is None:
            return False
        return is_low(maker) or (maker.op_type == _DEQUANTIZE and maker.input[0] not in self._constants)


def _tensor_types(proto: Any) -> Mapping[str, str]:
    """Tensor name -> dtype name, as far as the file tells."""
    from onnx import helper

    found = {}
    for g in graphs(proto.graph):
        for value in (*g.value_info, *g.output, *g.input):
            kind = value.type.tensor_type.elem_type
            if kind:
                found[value.name] = helper.tensor_dtype_to_np_dtype(kind).name
    return found


__all__ = ["numerics", "weight_bytes"]
