"""With which fields does each policy take part? The best on the simulator: `dynamic` as accel's own tuner proposes it,
the peers' policies with the best of a grid, since a comparison against untuned ones would show tuning, not policy.
"""

from __future__ import annotations

import itertools

import msgspec

from accel import plugins
from accel.analysis.percentiles import required
from accel.batching.dynamic import Dynamic
from accel.plugins import Named
from accel.simulation.policies import LOOK_AHEAD_P, choose
from accel.simulation.predict import capacity, saturation
from accel.simulation.service_times import ServiceTimes

PEERS = ("early_commit", "window")
_SIZES = (2, 4, 8, 16, 32)
_TIMERS_S = (0.001, 0.002, 0.005, 0.01, 0.02)
_QUANTILES = (0.99, 0.95, 0.9, 0.5)
_ROOM = 1.1
_FEWER = 2000


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A policy with its fields, and the rate (1/s) at which the simulator sees the limit broken."""

    name: str
    batching: Named
    simulated: float


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes part, at which percentile.

    saturation: 1/s at the best batch size. verdict: why the tuner says that batching doesn't pay; empty where it does.
    """

    p: float
    slo_s: float
    seconds: float
    curve: tuple[tuple[int, float], ...]
    saturation: float
    candidates: tuple[Candidate, ...]
    verdict: str


def field(times: ServiceTimes, *, wanted_p: float, slo_s: float, seconds: float, seed: int) -> Field:
    """The best fields of each policy at the highest percentile, up to the wanted one, that trials this long carry.

    Raises ValueError if no policy meets the limit at any of the percentiles.
    """
    for p in [q for q in _QUANTILES if q <= wanted_p + 1e-9]:
        alone = single(times, p=p, slo_s=slo_s, seed=seed)
        dynamic, verdict = tuned(times, p=p, slo_s=slo_s, seed=seed)
        # A peer that carries very little doesn't make the percentile a lower one for the others.
        least = min((c.simulated for c in (alone, dynamic) if c.simulated > 0), default=0.0)
        if _ROOM * required(p) > seconds * least:
            continue
        peers = [peer(name, times, p, slo_s, seed) for name in PEERS]
        return Field(
            p=p,
            slo_s=slo_s,
            seconds=seconds,
            curve=times.curve(),
            saturation=max(saturation(times, size) for size in times.sizes),
            candidates=tuple(c for c in (alone, *peers, dynamic) if c.simulated > 0),
            verdict=verdict,
        )
    raise ValueError(f"No trial of {seconds:g} s carries a percentile within {slo_s:g} s. Use longer ones: --seconds.")


def single(times: ServiceTimes, *, p: float, slo_s: float, seed: int) -> Candidate:
    """The yardstick."""
    named = Named("single")
    return Candidate(name="single", batching=named, simulated=capacity(times, named, p, slo_s, seed=seed))


def tuned(times: ServiceTimes, *, p: float, slo_s: float, seed: int) -> tuple[Candidate, str]:
    """What accel's tuner proposes, with its verdict; where that is not to batch, the best size with early drop, so that
    there is something to measure the verdict by.
    """
    choice = choose(times, p=p, slo_s=slo_s, seed=seed)
    if choice.policy.name == "dynamic":
        return Candidate(name="dynamic", batching=choice.policy, simulated=choice.rate), choice.verdict
    curve = times.curve(LOOK_AHEAD_P)
    tried = []
    for size in [s for s in times.sizes if s > 1] or [1]:
        policy = Dynamic(max_size=times.largest, target=size, slo_s=slo_s, drop="early", curve=curve)
        tried.append((capacity(times, policy, p, slo_s, seed=seed), size, plugins.plain(policy)))
    rate, _, batching = max(tried, key=lambda found: (found[0], -found[1]))
    return Candidate(name="dynamic", batching=batching, simulated=rate), choice.verdict


def peer(name: str, times: ServiceTimes, p: float, slo_s: float, seed: int) -> Candidate:
    """The best of a grid of sizes and timers; of those within 1 % the first, which is the smallest."""
    sizes = [s for s in _SIZES if s <= times.largest] or [1]
    timers = [t for t in _TIMERS_S if t < slo_s / 2]
    tried: list[tuple[float, Named]] = []
    for size, timer in itertools.product(sizes, timers):
        batching = Named(name, {"size": size, "timeout_s": timer})
        near = max((rate for rate, _ in tried), default=0.0) or None
        tried.append((capacity(times, batching, p, slo_s, seed=seed, requests=_FEWER, near=near), batching))
    most = max(rate for rate, _ in tried)
    batching = next(batching for rate, batching in tried if rate >= 0.99 * most)
    return Candidate(name=name, batching=batching, simulated=capacity(times, batching, p, slo_s, seed=seed))
