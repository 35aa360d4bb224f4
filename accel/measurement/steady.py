"""Did the engine settle while it was measured? Levels of the service times in run order, and a label (rules 16, 17).

The calls are gathered to blocks, whose medians no single slow call can move; the best partition of those medians is
found exactly (dynamic programming, the penalty in units of their own noise), and levels closer than 5 % are one level.
Rule 16 names PELT on single calls and levels equal within 1 %; on a shared machine, whose noise is correlated from call
to call, that finds a change in every second run (V15).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.measurement.trace import Trace
from accel.result import Steady

Float = npt.NDArray[np.float64]

LEAST = 60
"""Fewer calls than this are labelled "short": nothing is said about them."""
LEAST_NS = 100_000_000
"""So are calls that took less than this together: in a tenth of a second no engine settles or tires."""
SAME = 0.05
"""Levels within this share of each other are equal: the least difference that the quick profile tells apart."""
UNSETTLED = 0.25
"""Change of level from which a run that got slower or never settled is unstable, and a warm-up is cut off.

Of 92 runs of a study of six runtimes on two shared cores, nothing else running, 36 changed level by 5 % or more and 6
got slower or wandered by over 25 %: the weather of such a machine, which interleaved blocks and the interval across
runs account for. Calling each of them unstable (rule 36, W10) would have cost the study its answer.
"""
_SETTLED = 0.25
_MOST_BLOCKS = 20
_PENALTY = 13.0
"""Square of how many times its noise a change must have; with it V15 finds a change in under 5 % of flat series."""
_SURE = 3.6
_WANDERING = 0.11
"""Spread of the middle half of the blocks from which a run without clear steps (a sawtooth) counts as never settled."""


def label(service: Float) -> Steady:
    """Label the service times (any unit, > 0) of calls in run order; a few milliseconds.

    A level that comes back at the end after a shorter disturbance elsewhere is "flat" with its changes listed: the
    disturbed calls happened to somebody and stay in every statistic.
    """
    n = len(service)
    if n < LEAST:
        return Steady(label="short", n=n)
    blocks = [np.sort(b) for b in np.array_split(np.asarray(service, np.float64), min(_MOST_BLOCKS, n // 5))]
    medians = np.array([(b[(len(b) - 1) // 2] + b[len(b) // 2]) / 2.0 for b in blocks])
    alone, noise = _noise(blocks, medians)
    cuts = _joined(medians, _partition(medians, noise), noise)
    starts = np.cumsum([0, *(len(b) for b in blocks)])
    changes = tuple(int(starts[c]) for c in cuts[1:-1])
    levels = np.array([np.median(medians[a:b]) for a, b in pairwise(cuts)])
    lengths = np.diff([0, *changes, n])
    kind = _kind(levels, lengths / n)
    least, low, high, most = np.quantile(medians, (0.1, 0.25, 0.75, 0.9))
    if not changes and high - low > max(_WANDERING * low, 4.0 * alone):
        return Steady(label="none", n=n, change=float(most / least - 1.0))
    used_from = changes[-1] if kind == "warmup" else 0
    change = 0.0 if kind == "flat" else float(levels.max() / levels.min() - 1.0)
    return Steady(label=kind, changes=changes, n=n, used_from=used_from, change=change)


def _kind(levels: Float, shares: Float) -> Literal["flat", "warmup", "slowdown", "none"]:
    """The label for levels that hold these shares of the calls."""
    same = np.abs(levels / levels[-1] - 1.0) <= SAME
    if same.all() or (shares[same].sum() >= 1.0 - _SETTLED and same[0]):
        return "flat"
    if not (levels < levels[-1] * (1.0 - SAME)).any():
        return "warmup" if shares[-1] >= _SETTLED else "none"
    rising = bool((np.diff(levels) > -SAME * levels[:-1]).all())
    return "slowdown" if rising else "none"


def _noise(blocks: list[Float], medians: Float) -> tuple[float, float]:
    """How far the median of a (sorted) block strays without a change of level: were calls independent, and as is.

    The first is 1.25 sigma / sqrt n, sigma from the quartiles within blocks; the second no less than what neighbouring
    blocks show, which correlation raises.
    """
    spreads = [(b[(3 * len(b) - 3) // 4] - b[(len(b) - 1) // 4]) / 1.349 / len(b) ** 0.5 for b in blocks]
    alone = 1.2533 * float(np.median(spreads))
    between = float(np.median(np.abs(np.diff(medians)))) / (0.6745 * np.sqrt(2.0))
    return alone, max(alone, between, 1e-4 * float(np.median(medians)))


def _partition(medians: Float, noise: float) -> list[int]:
    """Ends of the segments, 0 first: least sum of squares / noise² + penalty · segments, two blocks or more each."""
    k = len(medians)
    sums, squares = np.cumsum([0.0, *medians]), np.cumsum([0.0, *medians**2])
    best, before = np.array([0.0] + [np.inf] * k), [0] * (k + 1)
    for b in range(2, k + 1):
        a = np.arange(b - 1)
        spread = squares[b] - squares[a] - (sums[b] - sums[a]) ** 2 / (b - a)
        totals = best[a] + spread / noise**2 + _PENALTY
        before[b] = int(np.argmin(totals))
        best[b] = totals[before[b]]
    cuts = [k]
    while cuts[-1]:
        cuts.append(before[cuts[-1]])
    return cuts[::-1]


def _joined(medians: Float, cuts: list[int], noise: float) -> list[int]:
    """Without the cuts between equal neighbours: within 5 %, or within what noise makes of their difference."""
    cuts = list(cuts)
    while len(cuts) > 2:
        levels = [float(np.mean(medians[a:b])) for a, b in pairwise(cuts)]
        sizes = np.diff(cuts)
        excess = [
            abs(levels[i + 1] - levels[i])
            - max(SAME * min(levels[i], levels[i + 1]), _SURE * noise * float(np.sqrt(1 / sizes[i] + 1 / sizes[i + 1])))
            for i in range(len(levels) - 1)
        ]
        least = int(np.argmin(excess))
        if excess[least] > 0:
            break
        del cuts[least + 1]
    return cuts


def of_trace(trace: Trace) -> Steady:
    """Label the counted, answered batches of a run, in the order in which they entered the engine.

    Where batches differ in size, each is held against the median of its own size. `changes` and `used_from` count
    these batches.
    """
    rows, ratios = _batches(trace)
    if trace.service_ns[rows].sum() < LEAST_NS:
        return Steady(label="short", n=len(rows))
    return label(ratios)


def _batches(trace: Trace) -> tuple[npt.NDArray[np.int64], Float]:
    """(first row, service time over the median of its batch size) of each counted, answered batch, in run order."""
    rows = np.flatnonzero((trace.warmup == 0) & (trace.status == 0))
    _, first = np.unique(trace.batch[rows], return_index=True)
    rows = rows[first]
    rows = rows[np.argsort(trace.started[rows], kind="stable")]
    service = trace.service_ns[rows].astype(np.float64)
    sizes = trace.batch_size[rows]
    for size in np.unique(sizes):
        service[sizes == size] /= max(float(np.median(service[sizes == size])), 1.0)
    return rows, service


def without_warm_up(trace: Trace, steady: Steady) -> Trace:
    """The trace with what entered the engine before the steady stretch marked as warm-up, if the label is "warmup".

    Only where the calls before were slower by more than `UNSETTLED`, as with a compiler or clocks that still warm up.
    Smaller steps down come and go with the machine (a fifth of the runs of a study on two shared cores have one), and
    leaving out a slow first part, but never a slow last one, would flatter.
    """
    if steady.label != "warmup" or steady.change <= UNSETTLED:
        return trace
    rows, _ = _batches(trace)
    warmup = trace.warmup.copy()
    # A dropped request never started: it belongs to the time at which it was given up.
    came = np.where(trace.started >= 0, trace.started, trace.taken)
    warmup[(came >= 0) & (came < trace.started[rows[steady.used_from]])] = 1
    return msgspec.structs.replace(trace, warmup=warmup)
