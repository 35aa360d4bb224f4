"""How close is a run to what the machine can do: its share of the peak, its bound in seconds, what binds it?

The roofline model (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009): a call can't take less time than its
operations at the peak of their precision, nor less than its bytes at the bandwidth of the memory level they lie in.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from accel.analysis import Estimate


class RooflinePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One batch size of a variant against the machine.

    target: "latency" (closed loop) or "batch". seconds: what a call took. flop: operations of a call (two a
    multiply-accumulate). bytes: what it must move. intensity: flop / bytes. level: where its weights lie between calls.
    compute_s, memory_s: the two bounds; bound_s: the larger; bound: which one it is.
    of_peak: achieved operations a second over the peak of the precision(s) that it ran in. of_bound: bound_s / seconds.
    Intervals carry those of the measured time and of the peaks, both at their worst ends.
    """

    target: Literal["latency", "batch"]
    batch: int
    seconds: Estimate
    flop: float
    bytes: float
    intensity: float
    level: Literal["l2", "l3", "ram"]
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

    def point(self, target: Literal["latency", "batch"]) -> RooflinePoint | None:
        """The point of one target, or None."""
        return next((p for p in self.points if p.target == target), None)
