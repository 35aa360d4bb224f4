"""Where will the SLO break? Measured service times are replayed through the real loop and the real batcher on a fake
clock, which takes milliseconds; real trials then refine or refute the answer.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import plugins
from accel.batching import Batcher, Waiting
from accel.plugins import Named
from accel.scenarios import generator

_REQUESTS = 4000


class ServiceTimes:
    """Measured service times (ns) by batch size; sizes in between are interpolated, drawn with seeded resampling."""

    def __init__(self, by_size: Mapping[int, npt.NDArray[np.int64]]) -> None:
        if not by_size:
            raise ValueError("service times of at least one batch size are needed")
        self._sizes = np.array(sorted(by_size))
        self._medians = np.maximum.accumulate([float(np.median(by_size[s])) for s in self._sizes])
        self._scatter = np.sort(by_size[int(self._sizes[0])] / np.median(by_size[int(self._sizes[0])]))

    @property
    def largest(self) -> int:
        """The largest batch size that was measured; nothing is extrapolated beyond it."""
        return int(self._sizes[-1])

    def median_ns(self, size: int) -> float:
        """Median service time of a batch of `size`."""
        return float(np.interp(size, self._sizes, self._medians))

    def draw(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """(n,) factors around the median, resampled from what was measured at the smallest size."""
        return self._scatter[rng.integers(0, len(self._scatter), n)]


def latency_quantile_s(
    times: ServiceTimes, batcher: Batcher, rate: float, p: float, *, seed: int = 0, workers: int = 1
) -> float:
    """The p-quantile of latency from schedule (seconds) at `rate` requests/s, by replay of FIFO workers.

    start = max(first waiting arrival, first worker free), as in Lindley's recursion (V7), with the batch that the
    policy takes, at the time at which it takes it. Workers are taken not to slow each other down.
    """
    rng = generator(seed, 1, 0)
    due = np.cumsum(rng.exponential(1e9 / rate, _REQUESTS)).tolist()
    factors = times.draw(_REQUESTS, rng).tolist()
    largest = min(batcher.largest, times.largest)
    medians = [0.0, *(times.median_ns(size) for size in range(1, largest + 1))]
    latency: list[float] = []
    free = [0.0] * workers
    head, turn, waiting = 0, 0, Waiting()
    while head < _REQUESTS:
        now, take = _taken(batcher, waiting, due, head, heapq.heappop(free), free)
        take = min(take, largest)
        done = now + medians[take] * factors[turn]
        latency += [done - arrived for arrived in due[head : head + take]]
        head += take
        turn += 1
        heapq.heappush(free, done)
    return float(np.quantile(latency, p, method="inverted_cdf")) * 1e-9


def _taken(
    batcher: Batcher, waiting: Waiting, due: list[float], head: int, free: float, others: list[float]
) -> tuple[float, int]:
    """When a worker that is free from `free` on takes something, and how many: the policy is asked as the loop asks."""
    now = max(free, due[head])
    while True:
        arrived = bisect_right(due, now, head)
        waiting.count = arrived - head
        waiting.oldest_due_ns = int(due[head])
        waiting.draining = arrived == len(due)
        waiting.idle_workers = 1 + sum(other <= now for other in others)
        decision = batcher.decide(waiting, int(now))
        if decision.take > 0 or waiting.draining:
            return now, min(decision.take or waiting.count, waiting.count)
        recheck = decision.recheck_ns
        now = due[arrived] if recheck is None or recheck <= now else min(due[arrived], recheck)


def capacity(times: ServiceTimes, batching: Named, p: float, slo_s: float, *, seed: int = 0, workers: int = 1) -> float:
    """The highest rate (requests/s) whose replayed p-quantile stays within `slo_s`; 0 if a lone request is late."""
    batcher: Any = plugins.make("batching", batching)
    size = min(batcher.largest, times.largest)
    ceiling = workers * size / times.median_ns(size) * 1e9

    def within(rate: float) -> bool:
        return latency_quantile_s(times, batcher, rate, p, seed=seed, workers=workers) <= slo_s

    low, high = 0.0, ceiling * 1.05
    if not within(ceiling * 0.02):
        return 0.0
    for _ in range(18):
        middle = math.sqrt(low * high) if low else high / 4
        if within(middle):
            low = middle
        else:
            high = middle
        if low and high / low < 1.01:
            break
    return low
