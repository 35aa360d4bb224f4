"""How close is a run to what the machine can do: its share of the peak, its bound in seconds, what binds it?

The roofline model (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009): a call can't take less time than its
operations at the peak of their precision, nor less than its bytes at the bandwidth of the memory level they lie in.
Weights are read once a call, from the first level that holds all weights and the largest operator's activations;
activations go from one operator to the next, each through the first level that holds what that operator moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from accel.analysis import Estimate
from accel.measurement.peaks import LEVELS, Peak, PeakKind, Peaks
from accel.model.cost import Cost

Target = Literal["latency", "batch"]
Level = Literal["l2", "l3", "ram"]
_METHOD = "ends of the intervals of time and peaks, at their worst together"
_FILLED = 1.0
"""Up to which share of a cache data are taken to stay in it: all of it, so that the bound stays one."""


class RooflinePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One batch size of a variant against the machine.

    target: "latency" (closed loop) or "batch". seconds: what a call took. flop: operations of a call (two a
    multiply-accumulate). bytes: what it must move. intensity: flop / bytes. level: where its weights lie between calls.
    compute_s, memory_s: the two bounds; bound_s: the larger; bound: which one it is.
    of_peak: achieved operations a second over the peak of the precision(s) that it ran in. of_bound: bound_s / seconds.
    Intervals carry those of the measured time and of the peaks, both at their worst ends.
    """

    target: Target
    batch: int
    seconds: Estimate
    flop: float
    bytes: float
    intensity: float
    level: Level
    compute_s: Estimate
    memory_s: Estimate
    bound_s: Estimate
    bound: Literal["compute", "memory"]
    of_peak: Estimate
    of_bound: Estimate


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """All points of one variant. precision: of its operations, by share ({"int8": 0.97, "fp32": 0.03})."""

    precision: dict[str, float]
    threads: int
    points: tuple[RooflinePoint, ...]
    notes: tuple[str, ...] = ()

    def point(self, target: Target) -> RooflinePoint | None:
        """The point of one target, or None."""
        return next((p for p in self.points if p.target == target), None)


def point(
    target: Target, batch: int, seconds: Estimate, cost: Cost, peaks: Peaks, shares: Mapping[str, float], threads: int
) -> RooflinePoint | None:
    """Hold one measured time against the machine; None where a peak that it needs wasn't measured.

    seconds: of one call with `batch` items. shares: precision -> share of the operations. threads: at work together.
    """
    bound = bounds(batch, cost, peaks, shares, threads)
    if bound is None or seconds.value <= 0:
        return None
    compute, memory, level = bound
    larger = compute if compute.value >= memory.value else memory
    flop, moved = 2.0 * cost.macs_of(batch), float(cost.bytes_of(batch))
    return RooflinePoint(
        target=target,
        batch=batch,
        seconds=seconds,
        flop=flop,
        bytes=moved,
        intensity=flop / moved if moved else 0.0,
        level=level,
        compute_s=compute,
        memory_s=memory,
        bound_s=_largest(compute, memory),
        bound="compute" if larger is compute else "memory",
        of_peak=_share(compute, seconds),
        of_bound=_share(_largest(compute, memory), seconds),
    )


def bounds(
    batch: int, cost: Cost, peaks: Peaks, shares: Mapping[str, float], threads: int
) -> tuple[Estimate, Estimate, Level] | None:
    """(least seconds of computing, least seconds of moving bytes, where the weights lie); None without the peaks."""
    kinds: list[tuple[Peak, float]] = []
    for name, share in shares.items():
        peak = peaks.at(name, threads) if name in ("fp32", "bf16", "int8") else None  # type: ignore[arg-type]
        if peak is None:
            return None
        kinds.append((peak, 2.0 * cost.macs_of(batch) * share))
    moved = _moved(batch, cost, peaks, threads)
    if moved is None or not kinds:
        return None
    amounts, level = moved
    return _time(kinds), _time(amounts), level


def _moved(batch: int, cost: Cost, peaks: Peaks, threads: int) -> tuple[list[tuple[Peak, float]], Level] | None:
    """What moves at which bandwidth."""
    holds = _holders(peaks, threads)
    if not holds:
        return None
    largest = max((step for step, _ in cost.steps), default=0) // 2  # steps are rounded up; the bound must not be
    home = _level(cost.weight_bytes + batch * largest, holds)
    found = [(holds[home][0], float(cost.weight_bytes))]
    for step, total in cost.steps:
        found.append((holds[_level(batch * step // 2, holds)][0], float(batch * total)))
    return found, home


def _holders(peaks: Peaks, threads: int) -> dict[Level, tuple[Peak, float]]:
    """Level -> (its bandwidth, the bytes it holds for this many threads); levels that weren't measured are left out."""
    l2, l3 = peaks.caches_bytes.get("L2", 0), peaks.caches_bytes.get("L3", 0)
    sizes: dict[PeakKind, float] = {"l2": l2 * threads, "l3": l3 * peaks.l3_count, "ram": float("inf")}
    found: dict[Level, tuple[Peak, float]] = {}
    for level in LEVELS:
        peak = peaks.at(level, threads)
        if peak is not None:
            found[level] = (peak, _FILLED * sizes[level])  # type: ignore[index]
    return found


def _level(size: float, holds: Mapping[Level, tuple[Peak, float]]) -> Level:
    """The first level that holds so many bytes; the last one that was measured if none does."""
    return next((level for level, (_, room) in holds.items() if size <= room), list(holds)[-1])


def _time(parts: list[tuple[Peak, float]]) -> Estimate:
    """Seconds for amounts at their peaks: fastest at the upper ends of the peaks."""

    def total(rate: Callable[[Peak], float]) -> float:
        return sum(amount / rate(peak) for peak, amount in parts)

    return Estimate(
        value=total(lambda p: p.value),
        low=total(lambda p: p.high),
        high=total(lambda p: p.low),
        n=min(peak.n for peak, _ in parts),
        unit="s",
        method="at the measured peaks, ends at the ends of their intervals",
    )


def _largest(a: Estimate, b: Estimate) -> Estimate:
    """The larger of two bounds, end by end."""
    larger = a if a.value >= b.value else b
    return msgspec.structs.replace(larger, low=_max(a.low, b.low), high=_max(a.high, b.high))


def _max(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else max(a, b)


def _share(least: Estimate, seconds: Estimate) -> Estimate:
    """Least over measured time, as a fraction."""
    return Estimate(
        value=least.value / seconds.value,
        low=None if least.low is None or seconds.high is None else least.low / seconds.high,
        high=None if least.high is None or not seconds.low else least.high / seconds.low,
        n=seconds.n,
        unit="",
        method=_METHOD,
        validity=seconds.validity,
    )
