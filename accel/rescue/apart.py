"""Takes a quantized form apart for ablation, whichever tool made it; and holds a clean form against its rewired one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accel.plugins import Named
    from accel.rescue.ablate_onnx import OnnxAblation
    from accel.rescue.ablation import Ablation
    from accel.rescue.record import Step
    from accel.rescue.workbench import Workbench

_ITEMS = 8
_MOST_BYTES = 1_000_000_000
"""A graph is copied for each set of nodes; beyond this that takes longer than it is worth."""


def ablation_of(bench: Workbench, compression: tuple[Named, ...]) -> Ablation | None:
    """The quantized form taken apart; None for a tool whose graphs can't be, for large models and for failed ones."""
    named = compression[bench.place]
    if named.name != "quantize_static" or bench.place + 1 != len(compression):
        return None
    if bench.uses_qdq(compression):
        return _of_qdq(bench, compression)
    return _of_nncf(bench, compression) if bench.quantizer(compression) == "openvino" else None


def _of_qdq(bench: Workbench, compression: tuple[Named, ...]) -> OnnxAblation | None:
    from accel.compression import _qdq
    from accel.compression._ranges import endless
    from accel.rescue.ablate_onnx import OnnxAblation
    from accel.rescue.floatize import take_apart

    technique = bench.technique(compression)
    source, ranges = bench.float_and_ranges(technique)
    if _size(source) > _MOST_BYTES:
        return None
    quantized = Path(bench.make(compression).as_form("onnx"))
    types = _qdq.operators(bench.before.facts, technique)
    parts = take_apart(source, quantized, types, technique.exclude, endless(ranges))
    found = OnnxAblation(parts, source, quantized, bench.batches(_ITEMS), threads=bench.threads)
    return found if found.nodes else None


def _of_nncf(bench: Workbench, compression: tuple[Named, ...]) -> Ablation | None:
    from accel.rescue.ablate_ir import IrAblation

    source = Path(bench.before.as_form("openvino"))
    if _size(source.with_suffix(".bin")) > _MOST_BYTES:
        return None
    quantized = Path(bench.make(compression).as_form("openvino"))
    names = [tensor.name for tensor in bench.before.signature.outputs]
    found = IrAblation(source, quantized, bench.batches(_ITEMS), names=names, threads=bench.threads)
    return found if found.nodes else None


def clean_error(bench: Workbench, step: Step) -> float | None:
    """Relative error of a cleanly quantized form's answers against those of the same form rewired.

    None where no nodes were left out, or where the tool has no exact rewired form (NNCF decides anew what else it
    quantizes).
    """
    technique = bench.technique(step.compression)
    if not bench.uses_qdq(step.compression) or not (technique.keep or technique.exclude):
        return None
    whole = bench.with_fields(step.compression, {"keep": [], "exclude": []})
    ablation = _of_qdq(bench, whole) if bench.place + 1 == len(step.compression) else None
    if ablation is None:
        return None
    left = {name for name, kind in ablation.nodes if kind in technique.keep or name in technique.exclude}
    return ablation.clean_error(left, Path(bench.make(step.compression).as_form("onnx")))


def _size(path: Path) -> int:
    beside = path.with_name(path.name + ".data")
    return sum(one.stat().st_size for one in (path, beside) if one.exists())
