"""What HARDWARE.md says of less processor: did accel see it, and are its defaults as fast as runtimes that don't?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from accel.analysis.estimates import t_interval
from benchmarks.compression import words
from benchmarks.hardware.rows import RUNTIMES, SIZE, Limited, Pair, Quota, Under

WANTED = 0.95
"""The lower bound of each ratio of rates."""
_LEAST_BLOCKS = 3
_ABOUT = (
    "The same files with part of the processor taken away, each run in a process of its own: accel's defaults for a "
    "runtime beside the runtime left to itself, which is told nothing about threads (OpenVINO's precision is float32 "
    "on both sides). Ratios are above 1 where accel's side is faster; 95 % intervals over blocks in which both took "
    "turns. A quota lets a process run freely until its share of each 100 ms is spent and then stops all of it: two "
    "threads on a quota of one core halve a short call's time while they run and stand still for the other half. So "
    "the median of single calls can favour the runtime that overruns its quota; how many requests it answers in a "
    f"second, and the slow ones, can't. A lower bound of {WANTED} was wanted of both ratios of rates."
)


def quotas(found: Sequence[Quota]) -> list[str]:
    """A table a model and limit."""
    parts = [text for one in found for limit in one.limits for text in _limit(one, limit)]
    return ["## Less processor than there is", _ABOUT, *parts] if parts else []


def _limit(one: Quota, limit: Limited) -> list[str]:
    if not limit.pairs:
        return []
    weights = ", random weights" if one.random_weights else ""
    saw = f'accel says: "{limit.says}".' if limit.says else "accel didn't say anything of it."
    head = [
        "runtime",
        "threads: accel, left to itself",
        f"items/s in batches of {SIZE}",
        "requests/s one at a time",
        "p50",
        "p99",
        "held up: accel, left to itself",
    ]
    body = [_row(pair) for pair in limit.pairs]
    return [f"### {words.title(one.model)}{weights}, {limit.words}", saw, words.grid(head, body), _verdict(limit)]


def _row(pair: Pair) -> list[str]:
    threads = [pair.settings.get(side, {}).get("threads", "?") for side in ("accel", "own")]
    return [
        RUNTIMES.get(pair.runtime, pair.runtime),
        ", ".join(threads),
        *(_shown(ratio(pair, value)) for value in (_batches, _alone, _p50, _p99)),
        f"{_held(pair.ours)}, {_held(pair.theirs)}",
    ]


def _batches(run: Under) -> float:
    return run.value


def _alone(run: Under) -> float:
    return run.one_rate


def _p50(run: Under) -> float:
    return 1 / run.one_p50_s


def _p99(run: Under) -> float:
    return 1 / run.one_p99_s


def ratio(pair: Pair, value: Callable[[Under], float]) -> tuple[float, float, float] | None:
    """(accel over the runtime left to itself, low, high), paired by block; None with fewer than three blocks.

    accel ran twice in each block; the geometric mean of both stands for it.
    """
    logs = []
    for theirs in pair.theirs:
        ours = [math.log(value(run)) for run in pair.ours if run.block == theirs.block]
        if ours:
            logs.append(statistics.fmean(ours) - math.log(value(theirs)))
    if len(logs) < _LEAST_BLOCKS:
        return None
    mean, low, high = t_interval(logs)
    return math.exp(mean), math.exp(low), math.exp(high)


def _shown(found: tuple[float, float, float] | None) -> str:
    return "too few blocks" if found is None else "{:.2f}× [{:.2f}–{:.2f}]".format(*found)


def _held(runs: Sequence[Under]) -> str:
    """In which part of the quota's periods a side was held up; "–" without a quota."""
    known = [(run.held, run.periods) for run in runs if run.held is not None and run.periods]
    if not known:
        return "–"
    return f"{100 * sum(h for h, _ in known) / sum(p for _, p in known):.0f} %"


def _verdict(limit: Limited) -> str:
    """Whether what was wanted holds for every runtime, in batches and one at a time."""
    found = [ratio(pair, value) for pair in limit.pairs for value in (_batches, _alone)]
    lows = [f[1] for f in found if f is not None]
    if len(lows) < len(found):
        return f"Whether every lower bound is at least {WANTED} isn't settled: too few blocks."
    highs = [f[2] for f in found if f is not None]
    if min(lows) >= WANTED:
        return f"Every lower bound of the ratios of rates is at least {WANTED}: holds (the lowest is {min(lows):.2f})."
    if min(highs) < WANTED:
        return f"Every lower bound of the ratios of rates is at least {WANTED}: **doesn't hold** ({min(lows):.2f})."
    return f"Whether every lower bound is at least {WANTED} isn't settled: the lowest is {min(lows):.2f}."
