"""How good are this machine's clocks and sleeps, on which every measured time rests?"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import numpy as np

from accel.analysis import Estimate
from accel.analysis.percentiles import quantile_estimate
from accel.measurement.clock import SystemClock

_BATCHES, _READINGS = 100, 2000
_SLEEPS, _SLEEP_S = 1000, 0.001


class Overshoot(msgspec.Struct, frozen=True, kw_only=True):
    """How much later than asked a wait of 1 ms ended, in seconds; None where the sample doesn't carry the quantile."""

    what: str
    p50: Estimate | None
    p99: Estimate | None


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """The clock that times everything (time.perf_counter_ns).

    name: what it is in the system. resolution_s: as the system says. reading_s: cost of one reading.
    ppm: how much faster it ran than the raw hardware clock, in millionths, over `over_s` (one reading; None where
        there is no raw clock): the system steers it. waits: plain sleep, and the wait of accel's loop.
    """

    name: str
    resolution_s: float
    reading_s: Estimate | None
    waits: tuple[Overshoot, ...]
    ppm: float | None = None
    over_s: float = 0.0


class Drift:
    """Watches the clock run beside the raw one from its making on."""

    def __init__(self) -> None:
        self._start = _both()

    def ppm(self) -> tuple[float | None, float]:
        """(millionths by which the clock ran faster than the raw one, seconds watched); None without a raw clock."""
        start, end = self._start, _both()
        if start is None or end is None:
            return None, 0.0
        clock, raw = end[0] - start[0], end[1] - start[1]
        return 1e6 * (clock - raw) / max(raw, 1), raw * 1e-9


def _both() -> tuple[int, int] | None:
    """(clock, raw clock) read as close together as five tries allow; ns."""
    raw = getattr(time, "CLOCK_MONOTONIC_RAW", None)
    if raw is None:
        return None
    tries = []
    for _ in range(5):
        before, hardware, after = time.perf_counter_ns(), time.clock_gettime_ns(raw), time.perf_counter_ns()
        tries.append((after - before, (before + after) // 2, hardware))
    _, clock, hardware = min(tries)
    return clock, hardware


def look(sleeps: int = _SLEEPS) -> Clocks:
    """Read the clock many times and wait `sleeps` times for 1 ms in two ways; about 3 s."""
    details = time.get_clock_info("perf_counter")
    plain = overshoots(lambda due: time.sleep(max(0.0, (due - time.perf_counter_ns()) * 1e-9)), sleeps)
    own = overshoots(SystemClock().wait_until, sleeps)
    return Clocks(
        name=details.implementation,
        resolution_s=details.resolution,
        reading_s=quantile_estimate(_readings(), 0.5, unit="s"),
        waits=(_overshoot("time.sleep", plain), _overshoot("accel's loop (sleep, then spin)", own)),
    )


def _readings() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(100,) seconds a reading, each the mean of 2000."""
    now, found = time.perf_counter_ns, np.empty(_BATCHES)
    for k in range(_BATCHES):
        start = now()
        for _ in range(_READINGS):
            now()
        found[k] = (now() - start) * 1e-9 / (_READINGS + 1)
    return found


def overshoots(
    wait_until: Callable[[int], None], count: int, now_ns: Callable[[], int] = time.perf_counter_ns
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(count,) seconds by which a wait of 1 ms ended late."""
    late = np.empty(count)
    for k in range(count):
        due = now_ns() + round(_SLEEP_S * 1e9)
        wait_until(due)
        late[k] = (now_ns() - due) * 1e-9
    return late


def _overshoot(what: str, late: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Overshoot:
    return Overshoot(what=what, p50=quantile_estimate(late, 0.5, unit="s"), p99=quantile_estimate(late, 0.99, unit="s"))
