"""How do intervals pass through a formula? Monotone functions of one estimate, and ratios of two."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from accel.analysis import Estimate
from accel.analysis.runs import worst

_NEXT = 1 + 1e-6


def through(function: Callable[[float], float], of: Estimate, *, unit: str, method: str = "") -> Estimate:
    """A monotone function of a positive estimate: its ends are those of the estimate, in order; open ends stay open.

    >>> through(lambda x: 100 / x, Estimate(value=4, low=2, high=5, n=3, unit="1/s", method="m"), unit="s").high
    50.0
    """
    low, high = (None if end is None or end <= 0 else function(end) for end in (of.low, of.high))
    if function(of.value * _NEXT) < function(of.value):
        low, high = high, low
    return msgspec.structs.replace(
        of, value=function(of.value), low=low, high=high, unit=unit, method=method or of.method
    )


def ratio(above: Estimate, below: Estimate, *, unit: str) -> Estimate:
    """above / below of independent positive estimates, each with its own, maybe lopsided, interval.

    The distances from the values to the ends are added in quadrature on the logarithms (MOVER: Zou and Donner 2008,
    Statistics in Medicine 27), so that a claim that lies below the middle of its interval keeps its lopsidedness.
    """
    value = above.value / below.value
    down = _distance(above.value, above.low, below.high, below.value)
    up = _distance(above.high, above.value, below.value, below.low)
    return Estimate(
        value=value,
        low=None if down is None else value * math.exp(-down),
        high=None if up is None else value * math.exp(up),
        n=min(above.n, below.n),
        unit=unit,
        method="distances to the ends of both intervals in quadrature, on logarithms",
        validity=worst((above.validity, below.validity)),
    )


def _distance(a: float | None, a_from: float | None, b: float | None, b_from: float | None) -> float | None:
    """sqrt(ln(a/a_from)^2 + ln(b/b_from)^2), None where an end is open; an end on the wrong side counts as none."""
    if a is None or a_from is None or b is None or b_from is None or min(a, a_from, b, b_from) <= 0:
        return None
    return math.hypot(max(math.log(a / a_from), 0.0), max(math.log(b / b_from), 0.0))


def product(one: Estimate, other: Estimate, *, unit: str) -> Estimate:
    """one x other of independent positive estimates; distances to the ends in quadrature on logarithms."""
    value = one.value * other.value
    down = _distance(one.value, one.low, other.value, other.low)
    up = _distance(one.high, one.value, other.high, other.value)
    return msgspec.structs.replace(
        one,
        value=value,
        low=None if down is None else value * math.exp(-down),
        high=None if up is None else value * math.exp(up),
        unit=unit,
        validity=worst((one.validity, other.validity)),
    )
