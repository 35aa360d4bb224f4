"""Which variants are not beaten in everything at once? The Pareto set over speed, memory, size and accuracy.

Point estimates decide who is at least as good; who is dominated must also be behind by more than 2 % in something, so
that noise in one number dominates nobody. As good in all and better in one can't hold both ways, so there are no rings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from accel.analysis.conclusion import Pareto, Row
from accel.units import show_bytes, show_seconds

_CLEARLY = 0.02
_EQUAL_DB = 1000.0
"""Stands for equal outputs: more than any two that differ in 64 bits can have."""
AXES = ("items/s", "p50", "p99", "requests/s", "memory", "size", "accuracy")
"""What counts, the larger the better for rates and accuracy, the smaller for the others."""
_LARGER = ("items/s", "requests/s", "accuracy")


def pareto(rows: Sequence[Row]) -> Pareto | None:
    """The set over the usable variants that keep the accuracy, the original among them, without those that a recipe
    shows as traps; None if there is only one.

    An axis counts for two variants where both were measured on it; who lacks one that the other has dominates nobody.
    """
    usable = [r for r in rows if r.status == "ok" and not r.variant.trap and (r.is_baseline or not _fails(r))]
    values = {row.name: measured(row) for row in usable}
    values = {name: found for name, found in values.items() if found}
    if len(values) < 2:
        return None
    beaten: dict[str, str] = {}
    for name, mine in values.items():
        by = [other for other, theirs in values.items() if other != name and dominates(theirs, mine)]
        if by:
            # The one that is ahead by most stands for them all.
            beaten[name] = max(by, key=lambda other: (_lead(values[other], mine), other))
    axes = tuple(axis for axis in AXES if sum(axis in found for found in values.values()) > 1)
    return Pareto(axes=axes, names=tuple(n for n in values if n not in beaten), dominated=beaten)


def measured(row: Row) -> dict[str, float]:
    """What is known of a row by axis."""
    online = row.online.rate.value if row.online is not None else None
    known = {
        "items/s": row.throughput.value if row.throughput is not None else None,
        "p50": row.p50.value if row.p50 is not None else None,
        "p99": row.p99.value if row.p99 is not None else None,
        "requests/s": online,
        "memory": row.memory.value if row.memory is not None else row.memory_bytes,
        "size": row.artefact_bytes,
        "accuracy": _accuracy(row),
    }
    return {axis: float(value) for axis, value in known.items() if value is not None and math.isfinite(value)}


def dominates(one: dict[str, float], other: dict[str, float]) -> bool:
    """True if `one` is at least as good on every axis that `other` has, and clearly better on one of them."""
    if not other.keys() <= one.keys():
        return False
    ahead = [_ahead(axis, one[axis], other[axis]) for axis in other]
    return all(a >= 0 for a in ahead) and any(a > _CLEARLY for a in ahead)


def _ahead(axis: str, one: float, other: float) -> float:
    """By which share `one` is ahead of `other`; negative if it is behind."""
    if one == other:
        return 0.0
    better, worse = (one, other) if axis in _LARGER else (other, one)
    return (better - worse) / max(abs(one), abs(other), 1e-12)


def _lead(one: dict[str, float], other: dict[str, float]) -> float:
    return sum(_ahead(axis, one[axis], other[axis]) for axis in other)


def _accuracy(row: Row) -> float | None:
    """What the guard judged by: the metric, else agreement with the original, else the outputs' distance in dB."""
    quality = row.quality
    if quality is None or quality.outcome == "unmeasured":
        return None
    if quality.value is not None:
        return quality.value
    if "agreement" in quality.rule and quality.agreement is not None:
        return quality.agreement
    # Equal outputs have no SQNR: no distance, which nothing is nearer than.
    return _EQUAL_DB if quality.sqnr_db is None and quality.outcome == "passes" else quality.sqnr_db


def _fails(row: Row) -> bool:
    return row.quality is not None and row.quality.outcome == "fails"


def against(one: Row, other: Row) -> str:
    """The numbers of two rows side by side: `p50 4 ms against 9 ms, memory 80 MB against 210 MB`."""
    mine, theirs = measured(one), measured(other)
    parts = [
        f"{axis} {_shown(axis, mine[axis], one)} against {_shown(axis, theirs[axis], other)}"
        for axis in AXES
        if axis in mine and axis in theirs and abs(_ahead(axis, mine[axis], theirs[axis])) > _CLEARLY
    ]
    return ", ".join(parts)


def _shown(axis: str, value: float, row: Row) -> str:
    if axis in ("p50", "p99"):
        return show_seconds(value)
    if axis == "accuracy" and row.quality is not None and row.quality.value is None:
        if "agreement" in row.quality.rule:
            return f"{100 * value:.4g} % same answers"
        return "equal outputs" if value == _EQUAL_DB else f"{value:.0f} dB"
    return (
        show_bytes(round(value)) if axis in ("memory", "size") else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    )
