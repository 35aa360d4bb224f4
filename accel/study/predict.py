"""Where will the SLO break? Measured service times are replayed through the real loop and the real batcher on a fake
clock, which takes milliseconds; real trials then refine or refute the answer.
"""

from __future__ import annotations

import math
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


def latency_quantile_s(times: ServiceTimes, batcher: Batcher, rate: float, p: float, *, seed: int = 0) -> float:
    """The p-quantile of latency from schedule (seconds) at `rate` requests/s, by replay of one FIFO worker.

    start = max(first waiting arrival, worker free), as in Lindley's recursion, with the batch the policy takes.
    """
    rng = generator(seed, 1, 0)
    due = np.cumsum(rng.exponential(1e9 / rate, _REQUESTS))
    factors = times.draw(_REQUESTS, rng)
    latency = np.empty(_REQUESTS)
    head, free, turn = 0, 0.0, 0
    waiting = Waiting()
    while head < _REQUESTS:
        now = max(free, due[head])
        waiting.count = int(np.searchsorted(due, now, side="right")) - head
        waiting.oldest_due_ns = int(due[head])
        waiting.draining = head + waiting.count >= _REQUESTS
        take = max(1, batcher.decide(waiting, int(now)).take)
        free = now + times.median_ns(take) * factors[turn]
        latency[head : head + take] = free - due[head : head + take]
        head += take
        turn += 1
    return float(np.quantile(latency, p, method="inverted_cdf")) * 1e-9


def capacity(times: ServiceTimes, batching: Named, p: float, slo_s: float, *, seed: int = 0) -> float:
    """The highest rate (requests/s) whose replayed p-quantile stays within `slo_s`; 0 if a lone request is late."""
    batcher: Any = plugins.make("batching", batching)
    size = min(batcher.largest, times.largest)
    ceiling = size / times.median_ns(size) * 1e9
    low, high = 0.0, ceiling * 1.05
    if latency_quantile_s(times, batcher, ceiling * 0.02, p, seed=seed) > slo_s:
        return 0.0
    for _ in range(18):
        middle = math.sqrt(low * high) if low else high / 4
        if latency_quantile_s(times, batcher, middle, p, seed=seed) <= slo_s:
            low = middle
        else:
            high = middle
        if low and high / low < 1.01:
            break
    return low
