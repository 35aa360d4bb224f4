"""Which batching policy, with which sizes and rules, for this model and this limit? And does batching pay at all?

Found on the simulator, from measured service times: every knob that other servers leave to the user follows from the
latency-against-batch curve and the SLO.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal

import msgspec

from accel import plugins
from accel.analysis.percentiles import required
from accel.batching import Batcher
from accel.batching.dynamic import Dynamic
from accel.batching.single import Single
from accel.plugins import Named
from accel.simulation.predict import REQUESTS, capacity, goodput, saturation
from accel.simulation.service_times import ServiceTimes
from accel.units import show_seconds

Drop = Literal["none", "early", "queue", "age"]

PAYS = 0.10
"""What batching must gain to be worth it: on the curve, and in requests/s within the limit."""
OVERLOAD, KEPT = 2.0, 0.95
"""At twice what the engine can do, so much of its capacity a policy should still answer in time."""
_AS_GOOD, _FRESH = 0.98, 2
_MOST_REQUESTS = 20_000
_BEST_TARGETS = 3
LOOK_AHEAD_P = 0.9
"""At which quantile of its scatter a batch's time is looked ahead: with the median half of the requests that a drop
rule lets in are late (simulated with 10 % of scatter: goodput at twice saturation 5 to 10 % lower).
"""
_SCREENED: tuple[Drop, ...] = ("early", "queue")
_RULES: tuple[Drop, ...] = ("early", "queue", "age", "none")


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The policy that is proposed, and why.

    rate: requests/s that it carries within the limit by simulation (0: not even a lone request is in time).
    single: the same for one request at a time. overload: what is still answered in time at twice the rate
    of full batches, as a share of `rate`. verdict: why batching doesn't pay here, a sentence; empty where it does.
    """

    policy: Named
    rate: float
    single: float
    overload: float
    verdict: str = ""


def choose(
    times: ServiceTimes, *, p: float, slo_s: float, seed: int = 0, workers: int = 1, plain: bool = False
) -> Choice:
    """Search target size, drop rule and (several workers) deferral for the highest rate whose p-quantile is within
    `slo_s`, among those that keep 95 % of it under overload; of what is within 2 % the best under overload, then the
    simplest. The rates are those at two fresh seeds, since the best of many at one seed owes some to its luck.

    One request at a time where batching gains less than 10 %. plain: nobody is dropped or made to wait, as the claims
    of a study need it: where a policy holds latency at the limit until it gives up, no line through trials says at
    which rate that is (of 15 simulated searches 2 to 8 intervals held the truth, with plain policies 13 or 14). A few
    seconds of computing.
    """
    search = _Search(times, p, slo_s, seed, workers, plain)
    single, verdict = search.fresh(Single()), _of_curve(times, slo_s)
    best, rate = (Single(), single) if verdict else search.best()
    if not verdict and rate < (1 + PAYS) * single:
        gain = f"{rate / single - 1:.0%} more requests" if rate > 1.005 * single else "no more requests"
        verdict = f"Batches that fit within {show_seconds(slo_s)} carry {gain} than one at a time."
    chosen: Batcher = Single() if verdict else best
    rate = single if verdict else rate
    overload = search.overload(chosen) / rate if rate > 0 else 0.0
    return Choice(policy=plugins.plain(chosen), rate=rate, single=single, overload=overload, verdict=verdict)


def _of_curve(times: ServiceTimes, slo_s: float) -> str:
    """Why no batch can pay, from the curve alone; empty if one may."""
    sizes = [size for size in times.sizes if size > 1]
    if not sizes:
        return "It was only measured one request at a time."
    one_ns = times.median_ns(1)
    best = min(sizes, key=lambda size: times.median_ns(size) / size)
    saved = 1 - times.median_ns(best) / best / one_ns
    if saved < PAYS:
        much = f"only {saved:.0%} less" if saved >= 0.005 else "no less"
        return f"In a batch of {best} each request takes {much} of the engine's time than alone."
    if times.median_ns(2) * 1e-9 > slo_s:
        return f"Two requests together take {show_seconds(times.median_ns(2) * 1e-9)}, longer than the limit."
    return ""


class _Search:
    """Every candidate meets the same arrivals and the same luck, so small differences between them count."""

    def __init__(
        self, times: ServiceTimes, p: float, slo_s: float, seed: int, workers: int, plain: bool = False
    ) -> None:
        self._times, self._p, self._slo_s, self._seed, self._workers = times, p, slo_s, seed, workers
        self._plain, self._requests = plain, max(REQUESTS, min(required(p), _MOST_REQUESTS))
        self._curve = times.curve(LOOK_AHEAD_P)
        # Whoever waits until the last moment is late whenever the batch takes longer than expected.
        self._cautious = times.curve(1 - (1 - p) / 4)

    def best(self) -> tuple[Dynamic, float]:
        """The best of all targets and rules, and its rate."""
        rough: dict[int, float] = {}
        for target in self._targets():
            near = max(rough.values(), default=0.0)
            rough[target] = max(
                self._rate(policy, self._requests // 2, near) for policy in self._variants(target, _SCREENED)
            )
        likely = sorted(rough, key=lambda target: -rough[target])[:_BEST_TARGETS]
        found = {
            policy: self._rate(policy, self._requests, rough[policy.largest])
            for target in sorted(likely)
            for policy in self._variants(target, _RULES)
        }
        good = {policy: 0.0 if self._plain else self.overload(policy) for policy in found}
        keeping = {policy: rate for policy, rate in found.items() if good[policy] >= KEPT * rate}
        if max(keeping.values(), default=0.0) >= (1 - PAYS) * max(found.values()):
            found = keeping
        alike = [policy for policy, rate in found.items() if rate >= _AS_GOOD * max(found.values())]
        chosen = next(policy for policy in alike if good[policy] >= _AS_GOOD * max(good[policy] for policy in alike))
        return chosen, self.fresh(chosen, found[chosen])

    def fresh(self, policy: Batcher, near: float = 0.0) -> float:
        """Its rate at two other seeds: their mean."""
        return sum(self._rate(policy, self._requests, near, seed=self._seed + 1 + i) for i in range(_FRESH)) / _FRESH

    def overload(self, policy: Batcher) -> float:
        """Goodput (1/s) at twice what the engine could do at all."""
        most = max(saturation(self._times, size, self._workers) for size in self._targets())
        return goodput(self._times, policy, OVERLOAD * most, self._slo_s, seed=self._seed, workers=self._workers)

    def _targets(self) -> list[int]:
        """Sizes in steps of about a half, as large as was measured and the limit has room for one batch."""
        largest, wanted, size = self._times.largest, set[int](), 2.0
        while round(size) <= largest:
            wanted.add(round(size))
            size *= 2**0.5
        fitting = {size for size in wanted | {largest} if self._times.median_ns(size) * 1e-9 <= self._slo_s}
        return sorted(fitting) or [1]

    def _variants(self, target: int, rules: tuple[Drop, ...]) -> Iterator[Dynamic]:
        """Simplest first; a lone worker loses by waiting."""
        if self._plain:
            yield Dynamic(max_size=target)
            return
        for defer, rule in itertools.product((False, True) if self._workers > 1 else (False,), rules):
            yield self._made(target, rule, defer=defer)

    def _made(self, target: int, rule: Drop, *, defer: bool = False) -> Dynamic:
        curve = self._cautious if defer else self._curve
        return Dynamic(
            max_size=self._times.largest, target=target, slo_s=self._slo_s, drop=rule, defer=defer, curve=curve
        )

    def _rate(self, policy: Batcher, requests: int, near: float, *, seed: int | None = None) -> float:
        return capacity(
            self._times,
            policy,
            self._p,
            self._slo_s,
            seed=self._seed if seed is None else seed,
            workers=self._workers,
            requests=requests,
            near=near or None,
        )
