"""How the numbers of BATCHING.md are written."""

from __future__ import annotations

import math

from accel.units import show_seconds
from benchmarks.batching import rows


def title(one: rows.Policies | rows.Predictions | rows.Bucketed) -> str:
    return f"{one.model}, `{one.variant}`"


def ends(span: rows.Span) -> str:
    ends = ["?" if end is None else f"{end:.4g}" for end in (span.low, span.high)]
    return f"[{ends[0]}, {ends[1]}]"


def times(span: rows.Span) -> str:
    ends = ["?" if end is None else f"{end:.2f}" for end in (span.low, span.high)]
    return f"{span.value:.2f}× [{ends[0]}, {ends[1]}]"


def seconds(value: float | None) -> str:
    return "never" if value is None else show_seconds(value)


def share(value: float) -> str:
    return "–" if math.isinf(value) else f"{100 * value:+.0f} %"


def percent(value: float) -> str:
    """A share of one.

    >>> percent(0.951)
    '95 %'
    """
    return f"{100 * value:.0f} %"
