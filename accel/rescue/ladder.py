"""Which settings of a quantizer are worth turning when it has cost too much, the likeliest and cheapest first.

Each rung comes from a collapse that was seen or is documented: whole operator types whose ranges are huge (a mask's
addition), ranges cut by a histogram where ReLU relies on them, NNCF's plain mode on anything with attention, too few
samples. A rung is plain fields of the technique, so that what it finds can stand in a recipe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from accel.model import Facts

MOST_SAMPLES = 300
_HEAVY = ("Conv", "MatMul", "Gemm")
_PERCENTILES = (99.999, 99.99)
_FINE = 32


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to try: `fields` replace those of the technique; left_float: operator types it puts back to float."""

    what: str
    fields: dict[str, Any]
    left_float: tuple[str, ...] = ()


def switches(
    technique: Any, quantizer: str, facts: Facts, *, quantized: Mapping[str, int], samples: int
) -> tuple[Rung, ...]:
    """The rungs for a technique as it is set now; those that would change nothing are left out.

    technique: its struct. quantizer: whose tool it uses ("onnxruntime", "openvino", ...). quantized: how many
    operators of each type the graph has that may be quantized. samples: how many calibration samples there are.
    """
    known = {f.name for f in msgspec.structs.fields(type(technique))}
    every = [*_more_samples(technique, samples)]
    if quantizer == "openvino" and "model_type" in known:
        every = [*_nncf(technique, facts), *every]
    elif quantizer == "onnxruntime" and "method" in known:
        every = [*_onnxruntime(technique, facts, quantized), *every]
    elif "bits" in known:
        every = [*_weights(technique, quantizer)]
    elif "per_channel" in known:
        every = [*_dynamic(technique, quantizer)]
    return tuple(r for r in every if r.fields.keys() <= known and _changes(technique, r.fields))


def _changes(technique: Any, fields: Mapping[str, Any]) -> bool:
    return any(getattr(technique, name) != value for name, value in fields.items())


def _onnxruntime(technique: Any, facts: Facts, quantized: Mapping[str, int]) -> Iterator[Rung]:
    if technique.method != "minmax":
        yield Rung(what="ranges by minimum and maximum", fields={"method": "minmax"})
    wanted = ("MatMul", "Gemm") if facts.kind == "transformer" else _HEAVY
    left = tuple(sorted(set(quantized) - set(wanted)))
    if left and set(quantized) & set(wanted):
        yield Rung(what=f"only {', '.join(wanted)} in 8 bits", fields={"operators": wanted}, left_float=left)
    yield Rung(what="a scale for each output channel", fields={"per_channel": True})
    for percentile in _PERCENTILES:
        yield Rung(
            what=f"ranges by the percentile {percentile:g}", fields={"method": "percentile", "percentile": percentile}
        )
    yield Rung(what="ranges by entropy", fields={"method": "entropy"})


def _nncf(technique: Any, facts: Facts) -> Iterator[Rung]:
    yield Rung(what="NNCF's mode for transformers", fields={"model_type": "transformer"})
    yield Rung(what="activations with a zero point of their own", fields={"preset": "mixed"})
    yield Rung(what="the rest of the graph in float32", fields={"rest": "f32"})
    if technique.model_type != "none" or facts.kind == "transformer":
        yield Rung(what="SmoothQuant with alpha 0.5", fields={"smooth": 0.5})
        yield Rung(what="no SmoothQuant", fields={"smooth": -1.0})
    yield Rung(what="ranges over all samples, not their mean", fields={"ranges": "minmax"})


def _dynamic(technique: Any, quantizer: str) -> Iterator[Rung]:
    if quantizer == "openvino":
        if technique.group_size > _FINE:
            yield Rung(what=f"a scale for every {_FINE} activations", fields={"group_size": _FINE})
        return
    if quantizer != "onnxruntime":
        return
    yield Rung(what="a scale for each output channel", fields={"per_channel": True})
    wanted = tuple(name for name in technique.operators if name in ("MatMul", "Gemm"))
    left = tuple(name for name in technique.operators if name not in wanted)
    if wanted and left:
        yield Rung(what=f"only {', '.join(wanted)} in 8 bits", fields={"operators": wanted}, left_float=left)


def _weights(technique: Any, quantizer: str) -> Iterator[Rung]:
    """Finer scales, then what a tool can do beside; 8 bits instead of 4 last. Each tool knows only some of these."""
    if quantizer == "inductor":
        return
    if technique.bits == 4 or quantizer == "onnxruntime":
        if technique.block > _FINE:
            yield Rung(what=f"a scale for every {_FINE} weights", fields={"block_size": _FINE})
        yield Rung(what="weights with a zero point", fields={"symmetric": False})
    if quantizer == "onnxruntime":
        yield Rung(what="activations in float32", fields={"accuracy_level": 1})
    elif technique.bits == 4:
        yield Rung(what="activation-aware scales", fields={"awq": True})
        yield Rung(what="the most sensitive fifth of the layers in 8 bits", fields={"ratio": 0.8})
    if technique.bits == 4:
        defaults = {"block_size": None, "awq": False, "ratio": 1.0, "accuracy_level": 4, "symmetric": True}
        yield Rung(what="8-bit weights", fields={"bits": 8, **defaults})


def _more_samples(technique: Any, samples: int) -> Iterator[Rung]:
    count = min(MOST_SAMPLES, samples)
    if count > getattr(technique, "count", count):
        yield Rung(what=f"{count} calibration samples", fields={"count": count})
