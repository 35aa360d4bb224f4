"""How many requests a second does a policy carry, and what is left of it under overload? By simulation, in less than a
second; real trials then refine or refute the answer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from accel import plugins
from accel.batching import Batcher
from accel.plugins import Named
from accel.scenarios import generator
from accel.simulation.service_times import ServiceTimes
from accel.simulation.simulate import simulate

REQUESTS = 4000
_RESOLUTION, _LOWEST = 0.01, 0.002


def poisson(rate: float, *, seed: int, requests: int = REQUESTS) -> npt.NDArray[np.int64]:
    """(requests,) due times in ns of independent requests at `rate` a second; the same gaps at every rate, scaled."""
    return np.rint(_unit(requests, seed) * (1e9 / rate)).astype(np.int64)


@functools.lru_cache(maxsize=32)
def _unit(requests: int, seed: int) -> npt.NDArray[np.float64]:
    return np.cumsum(generator(seed, 1, 0).exponential(size=requests))


def saturation(times: ServiceTimes, size: int, workers: int = 1) -> float:
    """Requests a second if full batches of `size` follow one another on every worker."""
    return workers * size / times.median_ns(size) * 1e9


def latency_quantile_s(
    times: ServiceTimes,
    batcher: Batcher,
    rate: float,
    p: float,
    *,
    seed: int = 0,
    workers: int = 1,
    requests: int = REQUESTS,
) -> float:
    """The p-quantile of latency from schedule (seconds) at `rate` requests/s; inf if it lies among the dropped."""
    due = poisson(rate, seed=seed, requests=requests)
    return simulate(due, batcher, times, workers=workers, seed=seed).quantile_s(p)


def goodput(
    times: ServiceTimes,
    batcher: Batcher,
    rate: float,
    slo_s: float,
    *,
    seed: int = 0,
    workers: int = 1,
    requests: int = REQUESTS,
) -> float:
    """Requests a second answered within `slo_s` when `rate` a second come."""
    due = poisson(rate, seed=seed, requests=requests)
    return simulate(due, batcher, times, workers=workers, seed=seed).goodput(slo_s)


def capacity(
    times: ServiceTimes,
    batching: Named | Batcher,
    p: float,
    slo_s: float,
    *,
    seed: int = 0,
    workers: int = 1,
    requests: int = REQUESTS,
    near: float | None = None,
) -> float:
    """The highest rate (requests/s) whose simulated p-quantile stays within `slo_s`; 0 if a lone request is late.

    Poisson arrivals, bisection to 1 %; with p = 0.99 at most 1 % are late or dropped. near: a guess, which saves half
    of the steps where it is right within 10 %.
    """
    batcher: Batcher = plugins.make("batching", batching) if isinstance(batching, Named) else batching

    def within(rate: float) -> bool:
        return latency_quantile_s(times, batcher, rate, p, seed=seed, workers=workers, requests=requests) <= slo_s

    ceiling = 1.05 * saturation(times, min(batcher.largest, times.largest), workers)
    low, high = _bracket(within, ceiling, near)
    while low and high / low >= 1 + _RESOLUTION:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


def _bracket(within: Callable[[float], bool], ceiling: float, near: float | None) -> tuple[float, float]:
    """A rate that passes and one that is taken to fail; (0, 0) if even a lone request is late.

    Never above the ceiling: within a limit that is longer than the simulation any rate passes, and a guess that is the
    last answer would grow with each.
    """
    near = min(near, ceiling) if near else None
    if near and within(0.9 * near):
        above = min(1.1 * near, ceiling)
        return 0.9 * near, ceiling if within(above) else above
    if not within(_LOWEST * ceiling):
        return 0.0, 0.0
    return _LOWEST * ceiling, min(ceiling, 0.9 * near) if near else ceiling
