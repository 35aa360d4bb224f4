"""What does one server run say about a rate? Its quantile of latency, and whether the server kept up.

`accel.analysis.capacity` reads many of these trials together.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from accel.analysis.percentiles import carries, quantile
from accel.measurement.trace import DROPPED, OK, Trace
from accel.result import Level, Result

_SATURATED = 0.85
_BEYOND, _CLUMPS = 40, 1000


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One server run: rate (1/s), the SLO's quantile of latency from schedule (s; inf if it lies among requests that
    were never answered), how many requests counted, whether it may be believed and whether the server kept up.

    carried: enough requests for the quantile to be printed (rule 22). ample: enough for the fit's intervals to hold
    (`enough`). generator_late: invalid since the generator of requests itself was late (W9): says nothing about the
    server, and higher rates can't be tried.
    """

    rate: float
    quantile_s: float
    n: int
    level: Level = "valid"
    keeps_up: bool = True
    carried: bool = True
    ample: bool = True
    generator_late: bool = False
    goodput: float = 0.0
    phase: str = "blocks"

    def passes(self, slo_s: float) -> bool:
        """True if the quantile is within the limit and the queue did not grow."""
        return self.keeps_up and self.quantile_s <= slo_s

    @property
    def fresh(self) -> bool:
        """True if it was made at the claimed rate, to confirm it."""
        return self.phase == "confirmation"


def enough(p: float) -> int:
    """Requests a trial needs so that the fit's intervals hold: 40 beyond the percentile (4,000 at p99, rule 25), and
    1,000, since a queue's latencies come in clumps: at p90 400 of them held the truth in 82 % of searches (V14).
    """
    return max(_CLUMPS, math.ceil(round(_BEYOND / (1 - p), 6)))


def read_trial(
    trace: Trace,
    *,
    rate: float,
    p: float,
    slo_s: float,
    level: Level,
    phase: str = "blocks",
    generator_late: bool = False,
) -> Trial:
    """What one server run says; unanswered and dropped requests count as infinitely late (rule 3)."""
    counted = trace.counted()
    latency_s = latencies_s(trace)
    n = len(latency_s)
    return Trial(
        rate=rate,
        quantile_s=quantile(latency_s, p) if n else math.inf,
        n=n,
        level=level,
        keeps_up=keeps_up(counted, slo_s),
        carried=carries(n, p),
        ample=n >= enough(p),
        generator_late=generator_late,
        goodput=goodput(counted, slo_s),
        phase=phase,
    )


def generator_was_late(result: Result) -> bool:
    """True if the run is invalid since its generator was late (W9): that says nothing about the server."""
    return any(w.id == "W9" and w.level == "invalid" for w in result.witnesses)


def latencies_s(trace: Trace) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(n,) latency from schedule of the counted requests in seconds, inf where none was answered."""
    counted = trace.counted()
    return np.where(counted.status == OK, counted.latency_ns * 1e-9, np.inf)


def keeps_up(counted: Trace, slo_s: float) -> bool:
    """Rule 29: the last quarter waits at most twice as long as the first + 1 ms, and the queue drains in time.

    Waiting is started - due; the drain must end within max(SLO, 1 s) after the last request was due. With a limit a
    wait below half of it counts as no growth: near saturation a steady queue's quarters differ by more than twice by
    chance, which made rates fail that met the limit (V20), while a queue that really grows passes half the limit soon.
    A policy that drops who would be late keeps up with the rest: what it costs stands in the quantile and the goodput.
    """
    given_up = counted.status == DROPPED
    if bool(np.all(given_up)) and len(counted):
        return False
    if len(counted) < 8:
        return bool(np.all((counted.status == OK) | given_up))
    if bool(np.any((counted.finished < 0) & ~given_up)):
        return False
    first_s, last_s, drain_s = waits_s(counted)
    return last_s <= max(2 * first_s + 1e-3, slo_s / 2) and drain_s <= max(slo_s, 1.0)


def waits_s(counted: Trace) -> tuple[float, float, float]:
    """Figures of `keeps_up` in seconds: median wait of the first and of the last quarter, and how long draining took.

    Of the requests that were answered; nan without any.
    """
    done = counted.ok()
    if not len(done):
        return math.nan, math.nan, math.nan
    wait = done.started - done.due
    quarter = max(len(done) // 4, 1)
    first, last = (float(np.median(part)) * 1e-9 for part in (wait[:quarter], wait[-quarter:]))
    return first, last, float(done.finished.max() - counted.due.max()) * 1e-9


def goodput(counted: Trace, slo_s: float, window_s: float | None = None) -> float:
    """Requests a second that were scheduled in the window and answered within the limit (rule 29)."""
    window_s = window(counted) if window_s is None else window_s
    good = (counted.status == OK) & (counted.latency_ns <= slo_s * 1e9)
    return float(np.count_nonzero(good)) / window_s if window_s > 0 else 0.0


def window(counted: Trace) -> float:
    """Seconds in which the counted requests were scheduled: n mean gaps; 0 for fewer than two."""
    n = len(counted)
    return float(counted.due.max() - counted.due.min()) * 1e-9 * n / (n - 1) if n > 1 else 0.0


def near_saturation(rate: float, throughput: float | None) -> bool:
    """Rule 25: above 85 % of what the variant does in batch, percentiles are too low by some percent."""
    return throughput is not None and rate > _SATURATED * throughput
