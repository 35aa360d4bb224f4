"""Time is an argument: whatever waits takes a Clock, so that tests of waiting take no time."""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Protocol

_PR_SET_TIMERSLACK = 29
_SPIN_NS = 100_000


class Clock(Protocol):
    """now_ns is CLOCK_MONOTONIC; wait_until returns at or just after `due_ns`."""

    def now_ns(self) -> int: ...

    def wait_until(self, due_ns: int) -> None: ...


class SystemClock:
    """The real clock: sleeps to shortly before the due time, then spins the rest.

    The timer slack of the calling thread is set to 1 ns; with the default 50 µs every sleep ends late.
    """

    def __init__(self, spin_ns: int = _SPIN_NS) -> None:
        self.now_ns = time.perf_counter_ns
        self._spin_ns = spin_ns
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)

    def wait_until(self, due_ns: int) -> None:
        """Sleep, then spin; deadlines are absolute, so one late wake-up doesn't shift the next."""
        now = self.now_ns
        rest = due_ns - now() - self._spin_ns
        while rest > 0:
            time.sleep(rest * 1e-9)
            rest = due_ns - now() - self._spin_ns
        while now() < due_ns:
            continue


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
