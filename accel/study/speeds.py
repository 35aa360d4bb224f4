"""Plain speeds and sizes of single runs, for choosing what is measured well; they are never printed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from accel.measurement.trace import Trace
from accel.study.live import items_per_second

if TYPE_CHECKING:
    from accel.study.funnel import Funnel


def throughput(funnel: Funnel, run_id: str) -> float:
    """Items per second of one run; 0 if there is none."""
    result = funnel.results.get(run_id)
    if result is None or result.status != "ok" or result.trace is None:
        return 0.0
    return items_per_second(Trace.load(funnel.folder.runs / result.trace))


def rate(funnel: Funnel, stem: str) -> float:
    """Items per second of two runs: in batches (`stem`-batch), or one at a time (`stem`-latency) where that is more.

    Where lengths vary, padding can make batches of one the fastest.
    """
    return max(throughput(funnel, f"{stem}-batch"), throughput(funnel, f"{stem}-latency"))


def latency_s(funnel: Funnel, run_id: str) -> float:
    """Median latency of one run in seconds; inf if there is none."""
    result = funnel.results.get(run_id)
    if result is None or result.status != "ok" or result.trace is None:
        return math.inf
    latency = Trace.load(funnel.folder.runs / result.trace).counted().ok().latency_ns
    return float(np.median(latency)) * 1e-9 if len(latency) else math.inf


def memory_bytes(funnel: Funnel, run_id: str) -> float:
    """Peak resident memory of one run in bytes; inf if it isn't known."""
    result = funnel.results.get(run_id)
    if result is None or result.status != "ok" or result.memory is None:
        return math.inf
    return math.inf if result.memory.peak_run_bytes is None else float(result.memory.peak_run_bytes)
