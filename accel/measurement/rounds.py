"""How fast does a piece of work go, repeated in rounds? The median of the rounds, with its interval."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

Clock = Callable[[], int]
_LEAST = 7
"""As few rounds as still give an interval of 95 % that isn't their two ends."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be timed: `run(times)` does it that often and returns when it is done.

    amount: operations or bytes of one time. source: what it is, in words.
    """

    run: Callable[[int], object]
    amount: float
    source: str


def often(work: Work, round_s: float, now_ns: Clock = time.perf_counter_ns) -> int:
    """How many times fill a round of `round_s`, found by doubling after one time that isn't counted."""
    work.run(1)
    times = 1
    while True:
        begun = now_ns()
        work.run(times)
        took_s = max((now_ns() - begun) / 1e9, 1e-9)
        if took_s >= 0.5 * round_s:
            return max(1, math.ceil(times * round_s / took_s))
        times *= max(2, min(64, int(0.7 * round_s / took_s)))


def rates(work: Work, times: int, rounds: int, until_ns: int = 0, now_ns: Clock = time.perf_counter_ns) -> list[float]:
    """Amounts a second of `rounds` rounds; fewer, but at least seven, if `until_ns` passes meanwhile (0: never)."""
    found: list[float] = []
    for _ in range(rounds):
        begun = now_ns()
        work.run(times)
        ended = now_ns()
        found.append(times * work.amount / max((ended - begun) / 1e9, 1e-9))
        if until_ns and ended >= until_ns and len(found) >= _LEAST:
            break
    return found


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(median, low, high): the 95 % interval of the median by order statistics; with under six values, their ends.

    David, Nagaraja: Order Statistics (2003), 7.1: P(x_(k) < median < x_(n+1-k)) = 1 - 2 P(Binomial(n, 1/2) < k).

    >>> median_interval([1, 2, 3, 4, 5, 6, 7, 8, 9])
    (5.0, 2.0, 8.0)
    """
    ordered = sorted(float(v) for v in values)
    n = len(ordered)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    below, k = 0.5**n, 0
    while below <= 0.025 and k < n // 2:
        k += 1
        below += math.comb(n, k) * 0.5**n
    k = max(k, 1)
    return middle, ordered[k - 1], ordered[n - k]


class Crew:
    """Threads that do their parts of a piece of work at the same time; one thread: the caller's own."""

    def __init__(self, parts: Sequence[Callable[[int], object]]) -> None:
        self._parts = parts
        self._start, self._end = (threading.Barrier(len(parts)) for _ in range(2))
        self._times, self._over = 0, False
        self._threads = [threading.Thread(target=self._work, args=(p,), daemon=True) for p in parts[1:]]
        for thread in self._threads:
            thread.start()

    def _work(self, part: Callable[[int], object]) -> None:
        while True:
            self._start.wait()
            if self._over:
                return
            part(self._times)
            self._end.wait()

    def run(self, times: int) -> None:
        """Every part `times` times, all begun together; returns when the last is done."""
        self._times = times
        self._start.wait()
        self._parts[0](times)
        self._end.wait()

    def close(self) -> None:
        """End the threads."""
        self._over = True
        self._start.wait()
        for thread in self._threads:
            thread.join()
