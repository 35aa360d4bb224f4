"""What was asked of a server, what it got, and what came of it: the rates of one run."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from accel.analysis.online import goodput, keeps_up, waits_s, window
from accel.measurement.trace import DROPPED, OK, Trace
from accel.units import show_seconds

_MOST_OVERHEAD = 0.1


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of one run in requests per second (rule 29), and how its queue went; nan where nothing was answered.

    requested: what the scenario was asked for, None in a closed loop and for a recording's own rate.
    offered: counted requests over the time in which they were scheduled: what really came.
    completed: answers within that time over it, whoever asked (information; a finite window cuts some off).
    goodput: scheduled in it and answered within the limit, over it; None without a limit.
    keeps_up: the wait of the last quarter, `late_wait_s`, is at most twice that of the first, `early_wait_s`, plus
        1 ms, and the queue drained, in `drain_s`, within the limit or 1 s.
    overhead: what the loop itself took for a request that had queued, over its service time (medians); nan where none
        queued. The loop adds that to every turn of a busy server.
    dropped: the share of the counted requests that the policy gave up.
    """

    requested: float | None
    offered: float
    completed: float
    goodput: float | None
    keeps_up: bool
    early_wait_s: float
    late_wait_s: float
    drain_s: float
    overhead: float = math.nan
    dropped: float = 0.0

    @property
    def generator_limited(self) -> bool:
        """True if the queue grew while the loop itself took more than a tenth of the service time: then the rate was
        too high for the harness, which says nothing about the server (trap 4).
        """
        return not self.keeps_up and self.overhead > _MOST_OVERHEAD

    @property
    def sentence(self) -> str:
        """The rates in words.

        >>> Serving(
        ...     requested=50.0, offered=49.2, completed=49.0, goodput=48.5, keeps_up=True,
        ...     early_wait_s=0.001, late_wait_s=0.001, drain_s=0.01,
        ... ).sentence
        '49.2 requests/s came (50 asked for), 49 were completed, 48.5 within the limit.'
        """
        asked = f" ({self.requested:g} asked for)" if self.requested else ""
        good = "" if self.goodput is None else f", {self.goodput:.4g} within the limit"
        said = f"{self.offered:.4g} requests/s came{asked}, {self.completed:.4g} were completed{good}."
        if self.dropped > 0:
            said += f" {100 * self.dropped:.2g} % were given up, since their answers would have come too late."
        if self.keeps_up or math.isnan(self.late_wait_s):
            return said
        grown = f"from {show_seconds(self.early_wait_s)} to {show_seconds(self.late_wait_s)}"
        if self.generator_limited:
            return (
                f"{said} It was the harness that didn't keep up: it alone takes {self.overhead:.0%} of a call's time."
            )
        return f"{said} It doesn't keep up: the wait grew {grown}, and the rest took {show_seconds(self.drain_s)} more."


def serving(
    trace: Trace,
    *,
    requested: float | None = None,
    slo_s: float | None = None,
    window_s: float | None = None,
    workers: int = 1,
) -> Serving:
    """Read one run; `requested` is the rate that was asked for, `slo_s` the limit that goodput counts against.

    window_s: how long counted requests were scheduled; None: n mean gaps, as far as the trace shows them.
    """
    counted = trace.counted()
    early_s, late_s, drain_s = waits_s(counted)
    window_s = window(counted) if window_s is None else window_s
    return Serving(
        requested=requested,
        offered=len(counted) / window_s if window_s > 0 else math.nan,
        completed=_ended_within(trace, counted, window_s),
        goodput=None if slo_s is None else goodput(counted, slo_s, window_s),
        keeps_up=keeps_up(counted, 0.0 if slo_s is None else slo_s),
        early_wait_s=early_s,
        late_wait_s=late_s,
        drain_s=drain_s,
        overhead=_overhead(trace, workers),
        dropped=float(np.mean(counted.status == DROPPED)) if len(counted) else 0.0,
    )


def _overhead(trace: Trace, workers: int) -> float:
    lag = trace.lag_ns(workers)
    queued = (trace.finished >= 0) & (trace.started - trace.due > lag)
    if not queued.any():
        return math.nan
    service = float(np.median(trace.service_ns[queued]))
    return float(np.median(lag[queued])) / service if service > 0 else math.inf


def _ended_within(trace: Trace, counted: Trace, window_s: float) -> float:
    if window_s <= 0 or not len(counted):
        return math.nan
    start = int(counted.due.min())
    ended = (trace.status == OK) & (trace.finished >= start) & (trace.finished < start + window_s * 1e9)
    return float(np.count_nonzero(ended)) / window_s
