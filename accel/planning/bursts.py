"""What do recorded arrivals, with their own gaps, make of a replica's capacity?"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from accel import plugins
from accel.analysis import Estimate
from accel.planning.carried import Carried
from accel.scenarios import generator
from accel.simulation.simulate import simulate
from accel.slo import Slo

Float = npt.NDArray[np.float64]
_REQUESTS = 8000
_LEAST = 1000
"""Requests that a simulated replica gets at least: a shorter stream begins with an empty queue for too long a part."""
_SEEDS = (0, 1, 2)
_RESOLUTION = 0.02
_QUIETEST = 1e-4
"""As part of the capacity: below, every request is alone, and longer gaps would not fit the clock."""


def gaps_factor(offsets_s: Float, carried: Carried, slo: Slo, ways: int) -> Estimate | None:
    """By how much the capacity differs from that with Poisson arrivals of the same number; below 1 for bursts.

    The busiest stretch of the recording is split at random over `ways` replicas, as a balancer would, and each one's
    own stream is stretched until the limit is met; the same with Poisson streams. offsets_s: (n,) ascending arrival
    times (s). Where the recording is too short for so many, fewer share it, which leaves each more of the bursts.
    None without service times or with fewer than 1,000 arrivals.
    """
    if carried.times is None or len(offsets_s) < _LEAST:
        return None
    stretch = busiest(offsets_s, _REQUESTS)
    ways = max(1, min(ways, len(stretch) // _LEAST))
    logs = []
    for seed in _SEEDS:
        rng = generator(seed, 3, 0)
        own = _split(stretch, ways, rng)
        even = _split(np.cumsum(rng.exponential(size=len(stretch))), ways, rng)
        with_own, with_poisson = (_capacity(streams, carried, slo, seed) for streams in (own, even))
        if with_poisson <= 0 or with_own <= 0:
            return None
        logs.append(math.log(with_own / with_poisson))
    mean, half = float(np.mean(logs)), float(np.ptp(logs))
    return Estimate(
        value=math.exp(mean),
        low=math.exp(mean - half),
        high=math.exp(mean + half),
        n=len(_SEEDS),
        unit="1",
        method=f"simulated {len(_SEEDS)} times, the whole range each way",
    )


def busiest(offsets_s: Float, most: int) -> Float:
    """The stretch of `most` arrivals in a row that took the least time, from 0 on; all of them where there are fewer.

    >>> busiest(np.array([0.0, 5.0, 6.0, 7.0, 20.0]), 3).tolist()
    [0.0, 1.0, 2.0]
    """
    if len(offsets_s) <= most:
        whole: Float = offsets_s - offsets_s[0]
        return whole
    start = int(np.argmin(offsets_s[most - 1 :] - offsets_s[: len(offsets_s) - most + 1]))
    stretch: Float = offsets_s[start : start + most] - offsets_s[start]
    return stretch


def _split(times: Float, ways: int, rng: np.random.Generator) -> list[Float]:
    """Each request goes to one of `ways` at random; times scaled so that each gets one request a second on average."""
    unit = times * (len(times) / max(float(times[-1]), 1e-12) / ways)
    to = rng.integers(0, ways, len(times))
    return [unit[to == way] for way in range(ways)]


def _capacity(streams: list[Float], carried: Carried, slo: Slo, seed: int) -> float:
    """The highest rate of a replica at which the pooled quantile stays within the limit, to 2 %."""
    low, high = 0.02 * carried.capacity.value, 4 * carried.capacity.value
    if _quantile(streams, low, carried, slo.p, seed) > slo.seconds:
        return 0.0
    while high / low > 1 + _RESOLUTION:
        middle = math.sqrt(low * high)
        within = _quantile(streams, middle, carried, slo.p, seed) <= slo.seconds
        low, high = (middle, high) if within else (low, middle)
    return low


def _quantile(streams: list[Float], rate: float, carried: Carried, p: float, seed: int) -> float:
    if carried.times is None:
        raise ValueError("service times are needed to simulate a replica")
    batcher = plugins.make("batching", carried.policy)
    rate = max(rate, _QUIETEST * carried.capacity.value)
    latency = [
        simulate(
            np.rint(stream * (1e9 / rate)).astype(np.int64),
            batcher,
            carried.times,
            workers=carried.workers,
            seed=seed,
        ).latency_s
        for stream in streams
        if len(stream)
    ]
    return float(np.quantile(np.concatenate(latency), p, method="inverted_cdf"))


def latency_at(rate: float, carried: Carried, slo: Slo) -> Estimate | None:
    """The limit's quantile of latency (s) at one replica that gets Poisson arrivals at `rate`; None without times.

    Simulated three times; low and high are the range. inf where the queue grows without end is cut at the simulated
    time, so a rate above the capacity shows as far beyond the limit, not as a forecast.
    """
    if carried.times is None:
        return None
    found = []
    for seed in _SEEDS:
        stream = np.cumsum(generator(seed, 4, 0).exponential(size=_REQUESTS // 2))
        found.append(_quantile([stream], rate, carried, slo.p, seed))
    return Estimate(
        value=float(np.median(found)),
        low=min(found),
        high=max(found),
        n=len(found),
        unit="s",
        method="simulated three times; the range",
    )
