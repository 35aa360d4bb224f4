"""What does a built artefact compute in which precision? Asked of the runtime that will run it; the shared part.

Each runtime has a reader of its own (`_numerics_onnx`, `_numerics_openvino`, `_numerics_torch`). A reader calls an
operator low where the runtime runs it on numbers of 8 bits or fewer, and says of every other one that multiplies why
it doesn't, from facts it can check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from accel.plugins import Named
from accel.result import Numerics, OperatorPrecision

if TYPE_CHECKING:
    from accel.compilation import Arrays
    from accel.model import Model

LARGEST_BYTES = 2_000_000_000
MOST_NAMES = 20
UNFUSED = "quantized in the file, but not fused: the runtime computes it in float"
_SCOPE = {"dynamic": "dynamic quantization", "weights": "quantizing weights alone"}


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """One operator of a graph as a reader sees it.

    type: in the graph's own words. unfused: it stands between Q and DQ steps. depthwise: one filter a channel.
    computed: no input of it is a constant. stored: its weights are stored in 8 bits or fewer, and made float again.
    why: a reason that goes before all others; otherwise: one that is given where nothing else is known.
    """

    type: str
    name: str
    low: bool
    unfused: bool = False
    depthwise: bool = False
    computed: bool = False
    stored: bool = False
    why: str = ""
    otherwise: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the variant's quantizing technique was told to leave alone.

    kind: "static", "dynamic", "weights" or "" (none of them). types: those it was told to quantize; empty: its own
    choice.
    """

    kind: str = ""
    exclude: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()

    @classmethod
    def of(cls, compression: Sequence[Named]) -> Asked:
        """Read from the fields of the last technique whose name begins with `quantize`."""
        for named in reversed(compression):
            if named.name.startswith("quantize_"):
                lists = {k: frozenset(named.fields.get(k) or ()) for k in ("exclude", "keep", "operators")}
                kind = named.name.removeprefix("quantize_")
                return cls(kind=kind, exclude=lists["exclude"], keep=lists["keep"], types=lists["operators"])
        return cls()


def numerics_of(
    compression: Sequence[Named], backend: Named, model: Model, folder: Path, engine: Any
) -> tuple[Numerics | None, tuple[str, ...]]:
    """What the artefact in `folder` computes in which precision, and notes on what couldn't be read.

    None without a note where nothing was changed, or where this runtime can't be asked. engine: the backend itself,
    with its knobs. Never raises: not knowing this must not cost a variant.
    """
    reader = _READERS.get(backend.name)
    lowered = any(c.name.startswith(("quantize_", "lower_precision")) for c in compression)
    if reader is None or not (lowered or model.facts.quantized):
        return None, ()
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    if size > LARGEST_BYTES:
        return None, (f"what computes in 8 bits wasn't read: the artefact is larger than {LARGEST_BYTES / 1e9:g} GB",)
    try:
        found = reader(engine, model, folder, Asked.of(compression))
    except Exception as error:  # the runtimes have no common error
        return None, (f"what computes in 8 bits couldn't be read: {type(error).__name__}: {str(error)[:200]}",)
    calibrated = getattr(model, "calibrated", None)
    return msgspec.structs.replace(found, calibration=calibrated), ()


def _onnxruntime(engine: Any, model: Model, folder: Path, asked: Asked) -> Numerics:
    from accel.compression._numerics_onnx import numerics

    return numerics(engine, folder, asked, one_item(model))


def _openvino(engine: Any, model: Model, folder: Path, asked: Asked) -> Numerics:
    from accel.compression._numerics_openvino import numerics

    return numerics(engine, folder, asked, one_item(model))


def _inductor(engine: Any, model: Model, folder: Path, asked: Asked) -> Numerics:
    from accel.compression._numerics_torch import numerics

    return numerics(model.as_form("torch"), asked)


_READERS = {"onnxruntime": _onnxruntime, "openvino": _openvino, "inductor": _inductor, "aot_inductor": _inductor}


def one_item(model: Model) -> Arrays | None:
    """Real inputs for one item (or one batch of the size the model is fixed to); None where there are none."""
    from accel.model.signature import of_size

    batch = model.signature.batch
    return None if model.example is None else of_size(model.example, 1 if batch == "any" else int(batch))


def counted(found: Iterable[Operator], asked: Asked) -> tuple[OperatorPrecision, ...]:
    """Operators by type, the most frequent first; what is left in float is counted by reason."""
    by_type: dict[str, list[Operator]] = {}
    for one in found:
        by_type.setdefault(one.type, []).append(one)
    rows = []
    for kind, ones in by_type.items():
        left = [o for o in ones if not o.low]
        some = len(left) < len(ones) or any(o.unfused for o in ones)
        reasons = Counter(reason(o, asked, type_done=some) for o in left)
        names = tuple(o.name for o in left if o.name)[:MOST_NAMES]
        low = len(ones) - len(left)
        rows.append(OperatorPrecision(type=kind, total=len(ones), low=low, left=dict(reasons), names=names))
    return tuple(sorted(rows, key=lambda r: (-r.total, r.type)))


def reason(one: Operator, asked: Asked, *, type_done: bool) -> str:
    """Why an operator stayed in float, in words; "depthwise" stands first where it is one.

    type_done: others of its type were quantized.
    """
    why = one.why or _why(one, asked, type_done=type_done) or one.otherwise
    if one.depthwise:
        return f"depthwise: {why}" if why else "depthwise, left in float by the quantizer"
    return why or "left in float by the quantizer"


def _why(one: Operator, asked: Asked, *, type_done: bool) -> str:
    if one.unfused:
        return UNFUSED
    if one.name in asked.exclude:
        return "excluded by name"
    if one.type in asked.keep:
        return f"`keep` leaves {one.type} in float"
    if one.stored:
        return "its weights are stored in 8 bits or fewer and made float again before it multiplies"
    if one.computed and (asked.kind != "static" or not type_done):
        return "both inputs are computed: there are no weights to quantize beforehand"
    if not type_done and asked.kind in _SCOPE:
        return f"{_SCOPE[asked.kind]} doesn't cover {one.type} here"
    if not type_done and (asked.kind == "static" or asked.types):
        return f"{one.type} isn't among the operator types that were quantized"
    return ""


def bytes_of(sizes: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Bytes by dtype name, the largest first."""
    total: Counter[str] = Counter()
    for dtype, size in sizes:
        total[dtype] += size
    return {name: size for name, size in total.most_common() if size}


def between(starts: Iterable[str], ends: Iterable[str], readers: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Nodes that lie on a path from a start to an end. readers: node -> the nodes that read its outputs."""
    makers: dict[str, list[str]] = {}
    for node, after in readers.items():
        for one in after:
            makers.setdefault(one, []).append(node)
    return frozenset(_reached(starts, readers) & _reached(ends, makers))


def _reached(starts: Iterable[str], onward: Mapping[str, Iterable[str]]) -> set[str]:
    seen, waiting = set[str](), list(starts)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(onward.get(node, ()))
    return seen
