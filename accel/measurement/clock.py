"""Time is an argument: whatever waits takes a Clock, so that tests of waiting take no time."""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Protocol

_PR_SET_TIMERSLACK = 29
_SPIN_NS, _SPIN_MOST_NS = 100_000, 1_000_000
_ROOM_NS = 30_000
"""Spun at least after a sleep that ended as late as expected."""


class Clock(Protocol):
    """now_ns is CLOCK_MONOTONIC; wait_until returns at or just after `due_ns`."""

    def now_ns(self) -> int: ...

    def wait_until(self, due_ns: int) -> None: ...


class SystemClock:
    """The real clock: sleeps to shortly before the due time, then spins the rest.

    How long before is learned from how late the sleeps end: a virtual machine that was idle for milliseconds may need
    200 µs to come back, one that was idle for less than one needs 10. Between `spin_ns` and 1 ms; 0 never spins.
    yields: let other threads of this process run between two looks at the clock, for loops of several workers.
    The timer slack of the calling thread is set to 1 ns; with the default 50 µs every sleep ends late.
    """

    def __init__(self, spin_ns: int = _SPIN_NS, *, yields: bool = False) -> None:
        self.now_ns = time.perf_counter_ns
        self._least_ns = self._ahead_ns = spin_ns
        self._yields = yields
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)

    def wait_until(self, due_ns: int) -> None:
        """Sleep, then spin; deadlines are absolute, so one late wake-up doesn't shift the next."""
        now = self.now_ns
        wake_ns = due_ns - self._ahead_ns
        rest = wake_ns - now()
        if rest > 0:
            time.sleep(rest * 1e-9)
            if self._least_ns:
                self._learn(now() - wake_ns)
        if self._yields:
            while now() < due_ns:
                time.sleep(0)
        while now() < due_ns:
            continue

    def _learn(self, late_ns: int) -> None:
        """Move quickly towards a sleep that ended later than was allowed for, slowly back from one that didn't."""
        wanted = late_ns + _ROOM_NS
        step = (wanted - self._ahead_ns) // 2 if wanted > self._ahead_ns else (wanted - self._ahead_ns) // 64
        self._ahead_ns = min(max(self._ahead_ns + step, self._least_ns), _SPIN_MOST_NS)


class FakeClock:
    """A clock that only moves when told to; `wait_until` jumps."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now = start_ns

    def now_ns(self) -> int:
        """The current fake time."""
        return self._now

    def wait_until(self, due_ns: int) -> None:
        """Jump to the due time; never backwards."""
        self._now = max(self._now, due_ns)

    def advance(self, ns: int) -> None:
        """Let `ns` pass, as an engine would while it runs."""
        self._now += ns
