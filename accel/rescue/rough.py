"""Roughly how long does one engine take against another? Both in this process, in turns.

Good enough to order forms of one model and to say what share of a saving is left; never a result: two engines in one
process disturb each other, which the study's own measurements don't allow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

Clock = Callable[[], float]

_WARM = 2
_LEAST, _MOST = 9, 61
_RESAMPLES = 500


class Relative(msgspec.Struct, frozen=True, kw_only=True):
    """The median time of a call over the other's, with its 95 % interval (percentile bootstrap over pairs)."""

    value: float
    low: float
    high: float


def relative_time(
    run: Callable[[], Any], other: Callable[[], Any], *, seconds: float, clock: Clock = time.perf_counter
) -> Relative:
    """Call both in turns for about `seconds` (9 pairs at least, 61 at most), each first as often as second."""
    for _ in range(_WARM):
        run()
        other()
    ours: list[float] = []
    theirs: list[float] = []
    until = clock() + seconds
    while len(ours) < _LEAST or (clock() < until and len(ours) < _MOST):
        for one, kept in ((run, ours), (other, theirs)) if len(ours) % 2 else ((other, theirs), (run, ours)):
            begun = clock()
            one()
            kept.append(clock() - begun)
    return interval(ours, theirs)


def interval(ours: list[float], theirs: list[float]) -> Relative:
    """The ratio of medians of paired times (scipy's bootstrap, paired, by percentiles).

    >>> interval([2.0] * 9, [1.0] * 9)
    Relative(value=2.0, low=2.0, high=2.0)
    """
    from scipy.stats import bootstrap

    value = float(_ratio(np.asarray(ours), np.asarray(theirs)))
    if len(set(ours)) == len(set(theirs)) == 1:
        return Relative(value=value, low=value, high=value)
    found = bootstrap(
        (ours, theirs),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Relative(value=value, low=float(found.low), high=float(found.high))


def _ratio(ours: Any, theirs: Any, axis: int = -1) -> Any:
    return np.median(ours, axis=axis) / np.maximum(np.median(theirs, axis=axis), 1e-12)
