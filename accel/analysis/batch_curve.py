"""What does a larger batch buy, and what does it cost? Seconds a batch and items a second by size, made monotone; the
size from which more buys little (the knee), and whether batching pays for this model here at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from accel.analysis import Estimate

KNEE = 0.95
"""The knee: the smallest size with this share of the highest throughput."""
PAYS = 1.1
"""Less than a tenth more items a second isn't worth the wait for a batch."""
_FLAT = 1.15


class BatchPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One size: seconds a batch as measured, `monotone_s` after isotonic regression (a larger batch is never faster),
    items a second as measured. gain: items a second over those of the next smaller size; None for the smallest.
    """

    size: int
    seconds: Estimate
    monotone_s: float
    items: Estimate
    gain: float | None = None


class BatchCurve(msgspec.Struct, frozen=True, kw_only=True):
    """The latency-against-batch curve of one variant, or of one bucket of its lengths.

    bucket: (shortest, longest) length of the items; None where items have no lengths or all go together.
    knee: the smallest size within 5 % of the highest throughput. best: the size with the highest.
    gain: throughput of the best batch of two or more over that of single items, with its interval.
    pays: True or False where the interval decides against a tenth more; None where it doesn't, or without size 1.
    idle: (gap s, median s of one call after that gap) where calls with pauses were looked at; the first is without.
    sentence: the verdict with its reason.
    """

    variant: str
    points: tuple[BatchPoint, ...]
    knee: int
    best: int
    bucket: tuple[int, int] | None = None
    gain: Estimate | None = None
    pays: bool | None = None
    idle: tuple[tuple[float, Estimate], ...] = ()
    sentence: str = ""

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """(size, seconds) ascending in both, as batching policies hold it."""
        return tuple((p.size, p.monotone_s) for p in self.points)


def batch_curve(
    variant: str,
    seconds: Mapping[int, Estimate],
    items: Mapping[int, Estimate],
    *,
    bucket: tuple[int, int] | None = None,
    idle: Sequence[tuple[float, Estimate]] = (),
) -> BatchCurve | None:
    """The curve from seconds a batch and items a second by size; None without a size that has both.

    The regression is pool-adjacent-violators on ln seconds (scipy.optimize.isotonic_regression), each size weighted by
    how narrow its interval is.
    """
    sizes = sorted(s for s in seconds.keys() & items.keys() if seconds[s].value > 0 and items[s].value > 0)
    if not sizes:
        return None
    smooth = monotone([seconds[s].value for s in sizes], [_weight(seconds[s]) for s in sizes])
    points = tuple(
        BatchPoint(
            size=size,
            seconds=seconds[size],
            monotone_s=smooth[i],
            items=items[size],
            gain=items[size].value / items[sizes[i - 1]].value if i else None,
        )
        for i, size in enumerate(sizes)
    )
    rates = {s: items[s].value for s in sizes}
    best = min(s for s in sizes if rates[s] == max(rates.values()))
    larger = max((s for s in sizes if s > 1), key=lambda s: rates[s], default=None)
    gain = ratio(items[larger], items[1]) if 1 in rates and larger is not None else None
    found = BatchCurve(
        variant=variant,
        points=points,
        knee=min(s for s in sizes if rates[s] >= KNEE * rates[best]),
        best=best,
        bucket=bucket,
        gain=gain,
        pays=_pays(gain),
        idle=tuple(idle),
    )
    return msgspec.structs.replace(found, sentence=verdict(found))


def monotone(seconds: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """Seconds by ascending size, made non-decreasing with the least change of their logarithms.

    >>> [round(s, 3) for s in monotone([1.0, 4.0, 2.25, 5.0])]
    [1.0, 3.0, 3.0, 5.0]
    """
    from scipy.optimize import isotonic_regression

    fitted = isotonic_regression(np.log(np.asarray(seconds, np.float64)), weights=weights)
    return [float(math.exp(x)) for x in fitted.x]


def ratio(over: Estimate, under: Estimate) -> Estimate:
    """over / under of two independent numbers, their relative errors added in squares; open ends stay open."""
    value = over.value / under.value
    spread = [_ln_half(e) for e in (over, under)]
    half = math.hypot(*spread) if None not in spread else None  # type: ignore[arg-type]
    return Estimate(
        value=value,
        low=None if half is None else value * math.exp(-half),
        high=None if half is None else value * math.exp(half),
        n=min(over.n, under.n),
        unit="",
        method="ratio of two independent runs; their logarithms' errors added in squares",
        validity=over.validity if over.validity != "valid" else under.validity,
    )


def verdict(curve: BatchCurve) -> str:
    """Does batching pay, and why: one sentence.

    The reason is read from how the seconds grow: in proportion to the size means that a single item keeps the
    processor busy; hardly at all means that a call costs more than its items.
    """
    top = next(p for p in curve.points if p.size == curve.best)
    first = curve.points[0]
    if curve.gain is None or first.size != 1 or len(curve.points) < 2:
        return f"Only batches of {', '.join(str(p.size) for p in curve.points)} were measured."
    grown = top.seconds.value / first.seconds.value
    if curve.pays is False:
        largest = curve.points[-1]
        grown = largest.seconds.value / first.seconds.value
        return (
            f"Batching doesn't pay here: a batch of {largest.size} takes {grown:.3g} times as long as one item, so one "
            f"item already keeps the processor busy; no size gives {_more(curve.gain)}."
        )
    why = "a call costs more than what is in it" if grown < math.sqrt(top.size) else "items share what a call costs"
    knee = f"; {curve.knee} has nearly all of it" if curve.knee < curve.best else ""
    said = (
        f"A batch of {curve.best} takes {grown:.3g} times as long as one item and gives {curve.gain.value:.3g} times "
        f"the items a second{knee}: {why}."
    )
    return said if curve.pays else f"{said} The runs were too short to tell whether that is worth a batch."


def _more(gain: Estimate) -> str:
    return "more items a second" if gain.value < 1.005 else f"over {100 * (gain.value - 1):.2g} % more items a second"


def _pays(gain: Estimate | None) -> bool | None:
    if gain is None:
        return None
    if gain.low is None or gain.high is None:
        return None if PAYS / _FLAT < gain.value < PAYS * _FLAT else gain.value >= PAYS
    if gain.low >= PAYS:
        return True
    return False if gain.high < PAYS else None


def _ln_half(e: Estimate) -> float | None:
    ends = [abs(math.log(x / e.value)) for x in (e.low, e.high) if x is not None and x > 0 and e.value > 0]
    return max(ends) if len(ends) == 2 else None


def _weight(e: Estimate) -> float:
    half = _ln_half(e)
    return 1.0 if half is None else 1.0 / max(half, 0.01) ** 2
