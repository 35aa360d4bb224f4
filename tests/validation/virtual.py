"""A race without a machine: runs of known truth, in weather as real machines have it, for the product to read.

Order (`accel.study.rounds.shuffled`), stopping (`accel.analysis.stopping`), reading (`accel.analysis.paired`) are the
product's; only the clock and the engine are made up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from accel.analysis import stopping
from accel.analysis.comparison import MIN_EFFECTS, Pair, smallest
from accel.analysis.conclusion import Comparison
from accel.analysis.paired import compare_runs, race_of
from accel.analysis.runs import Run
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Level, Result, Role
from accel.study import rounds
from accel.study.profiles import profile as profile_of

BASE = "original"


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """What disturbs a measurement; all figures are shares or standard deviations of ln time.

    block: what all runs of a block have in common (who else is on the host). run: what one run has for itself (memory
    layout, placement). request: scatter from request to request; tail: share of requests with a heavy (Pareto) tail.
    drift: by how much everything gets slower over the session, linearly. disturbed: share of runs that something hits,
    making them up to twice as slow; seen: how much of those the witnesses mark as unstable. process: what a racer has
    for itself through all blocks, as a process that lives through the session has.
    """

    block: float = 0.04
    run: float = 0.015
    request: float = 0.05
    tail: float = 0.01
    drift: float = 0.0
    disturbed: float = 0.03
    seen: float = 0.9
    process: float = 0.0


class Racer(msgspec.Struct, frozen=True, kw_only=True):
    """Who races and its true service time in seconds."""

    name: str
    service_s: float = 0.002
    role: Role = "candidate"


def field(candidates: Mapping[str, float], *, service_s: float = 0.002) -> list[Racer]:
    """The baseline, its repeat, and candidates that take that many times as long."""
    base: list[Racer] = [Racer(name=BASE, service_s=service_s, role=role) for role in ("baseline", "repeat")]
    return base + [Racer(name=name, service_s=service_s * times) for name, times in candidates.items()]


class Session:
    """One virtual study: blocks of runs, in the product's order.

    slots: over how many runs the drift is spread.
    """

    def __init__(
        self, racers: Sequence[Racer], weather: Weather, *, seed: int, slots: int = 60, requests: int = 100
    ) -> None:
        self.racers, self.weather, self.seed = list(racers), weather, seed
        self._slots, self._requests = slots, requests
        self._rng = np.random.default_rng([seed, 77])
        self._done = 0
        self._own = dict(enumerate(self._rng.normal(0, weather.process, len(self.racers))))

    def block(self, number: int) -> list[Run]:
        """Every racer once, in the order in which the product would let them run."""
        return self.in_order([(number, racer) for racer in rounds.shuffled(self.racers, seed=self.seed, block=number)])

    def in_order(self, plan: Sequence[tuple[int, Racer]]) -> list[Run]:
        """Runs one after another: which block each is counted to, and whose it is."""
        shared = {number: self._rng.normal(0, self.weather.block) for number in {n for n, _ in plan}}
        return [self._run(number, position, racer, shared[number]) for position, (number, racer) in enumerate(plan)]

    def _run(self, number: int, position: int, racer: Racer, shared: float) -> Run:
        weather, rng = self.weather, self._rng
        drifted = math.log1p(weather.drift * self._done / max(1, self._slots - 1))
        self._done += 1
        hit = rng.random() < weather.disturbed
        level = shared + drifted + self._own[self.racers.index(racer)] + rng.normal(0, weather.run)
        level += rng.uniform(0.05, 0.7) if hit else 0.0
        factors = np.exp(rng.normal(0, weather.request, self._requests))
        slow = rng.random(self._requests) < weather.tail
        factors[slow] *= 1 + rng.pareto(1.5, int(slow.sum()))
        latency_s = racer.service_s * math.exp(level) * factors
        validity: Level = "unstable" if hit and rng.random() < weather.seen else "valid"
        return run_of(racer.name, latency_s, role=racer.role, block=number, position=position, validity=validity)


def run_of(
    name: str,
    latency_s: npt.NDArray[np.float64],
    *,
    role: Role = "candidate",
    block: int = 0,
    position: int = 0,
    validity: Level = "valid",
) -> Run:
    """A run in a block, one request at a time, as if its trace had been read."""
    repeat = "repeat-" if role == "repeat" else ""
    result = Result(
        run_id=f"blocks-{block}-{repeat}{name}-latency",
        study_id="virtual",
        phase="blocks",
        variant=Variant(name=name, backend=Named("stub")),
        role=role,
        status="ok",
        block=block,
        position=position,
        target="latency",
        validity=validity,
    )
    return Run(
        result=result,
        latency_s=latency_s,
        items=np.ones(len(latency_s)),
        seconds=latency_s,
        service_s=latency_s,
    )


def raced(session: Session, profile: str) -> list[Run]:
    """As many blocks as the profile makes: a fixed number in `quick`, else until `stopping.enough`."""
    runs: list[Run] = []
    pairs: dict[str, list[Pair]] = {}
    for number in range(stopping.MOST):
        block = session.block(number)
        runs += block
        for name, found in race_of(block, BASE, "latency")[1].items():
            pairs.setdefault(name, []).extend(found)
        if profile == "quick":
            if number + 1 == profile_of("quick").blocks:
                break
        elif stopping.enough(pairs, smallest(profile)):
            break
    return runs


def read(runs: Sequence[Run], profile: str, *, seed: int = 0) -> dict[str, Comparison]:
    """What the product says of every candidate."""
    return compare_runs(runs, BASE, "latency", min_effect=MIN_EFFECTS[profile], seed=seed)


def studies(
    candidates: Mapping[str, float], weather: Weather, *, profile: str, count: int, seed: int = 0
) -> Iterator[dict[str, Comparison]]:
    """Many virtual studies of the same truth, each with its own seed."""
    for number in range(count):
        session = Session(field(candidates), weather, seed=seed + number)
        yield read(raced(session, profile), profile, seed=seed + number)


def holds(found: Comparison, truth: float) -> bool:
    """True if the 95 % interval of the ratio holds the truth."""
    low, high = found.ratio.low, found.ratio.high
    return (low is None or low <= truth) and (high is None or truth <= high)
