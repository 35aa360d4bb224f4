"""At which rates should a server be tried to find the most requests a second it carries within its SLO?

`max_qps(p, L)` of measurement.md, rule 30 as its section 2 opens: from the predicted crossing, over refining trials
around the current one, to fresh trials at the claimed rate. Pure: who asks makes the trial and tells it; the same
trials told in the same order give the same next rate, so that a search goes on from results on disk.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import msgspec

from accel.analysis.capacity import NEAR, Capacity, capacity, middle
from accel.analysis.online import Trial
from accel.scenarios import generator

START = 0.15
"""The first two rates lie this far below and above the prediction."""
SPREAD = math.log(1.12)
"""Refining rates are drawn within this of the current crossing: 8 % shows the slope too little (see `capacity`)."""
REFINING, FRESH, MOST = 9, 6, 20
_FEWEST = 4
"""Refining trials that finding a bracket may not eat up: the fit needs four."""
_ELASTICITY = 3.0
"""d ln(p99 latency) / d ln(rate) at mid load (measurement.md 0.2): turns a missed limit into a step in rate."""
_MARGIN = 0.1
_UP, _DOWN = (0.15, 0.9), (0.15, 0.7)
"""Shortest and longest step of the wide bracket, in ln(rate)."""
_BACKLOG = math.log(1.5)
"""The step down from a rate at which the queue only grew, whose quantile says nothing (rule 30 b)."""
_WIDEST = math.log((1 + START) / (1 - START)) + 1e-9
_SHORT_OF = 0.9
"""After the generator was late at a rate, nothing above this part of it is tried."""

_Asks = Generator[float, Trial, None]


class Search:
    """One search: `ask()` a rate, make the trial, `tell()` it, until there is nothing left to ask.

    p, slo_s: the limit, "p of latencies <= slo_s seconds". predicted: the crossing (1/s) that the replay of measured
    service times expects. refining, fresh, most: how many refining trials, how many fresh ones at the claim, and how
    many in all; in a study the fresh ones are the confirmation's. resolution: see `Capacity`.
    """

    def __init__(
        self,
        p: float,
        slo_s: float,
        predicted: float,
        seed: int,
        *,
        refining: int = REFINING,
        fresh: int = FRESH,
        most: int = MOST,
        resolution: float = 0.05,
    ) -> None:
        if not (0 < p < 1 and slo_s > 0 and predicted > 0):
            raise ValueError(
                f"a search needs 0 < p < 1, a limit and a prediction above 0, not {p}, {slo_s}, {predicted}"
            )
        self.p, self.slo_s, self.predicted, self.seed = p, slo_s, predicted, seed
        self.trials: list[Trial] = []
        self.phase = "search"
        self._refining, self._fresh, self._most, self._resolution = refining, fresh, most, resolution
        self._ceiling = math.inf
        self._steps = self._plan()
        self._next: float | None = next(self._steps, None)

    def ask(self) -> float | None:
        """The rate (1/s) of the next trial; None when the search is over. `phase` says "search" or "confirmation"."""
        return None if self._next is None or len(self.trials) >= self._most else float(f"{self._next:.5g}")

    def tell(self, trial: Trial) -> None:
        """What the trial at the asked rate (or near it) said."""
        self.trials.append(msgspec.structs.replace(trial, phase=self.phase))
        if trial.generator_late:
            self._ceiling = min(self._ceiling, _SHORT_OF * trial.rate)
        if self._next is None:
            return
        try:
            self._next = self._steps.send(self.trials[-1])
        except StopIteration:
            self._next = None

    def conclusion(self) -> Capacity | None:
        """What the trials so far say; None if none of them can be used."""
        return capacity(self.trials, slo_s=self.slo_s, resolution=self._resolution)

    def _plan(self) -> _Asks:
        yield from self._bracket()
        if not any(t.passes(self.slo_s) for t in self._usable()):
            return
        for index in range(self._refining):
            if len(self.trials) >= self._most - self._fresh:
                break
            if not self._bounded():
                break
            draw = generator(self.seed, 1, 50_000 + index).uniform(-SPREAD, SPREAD)
            yield from self._try(self._centre(index) * math.exp(draw))
        found = self.conclusion()
        self.phase = "confirmation"
        for _ in range(self._fresh if found is not None and found.claim > 0 else 0):
            assert found is not None
            yield from self._try(found.claim)

    def _bracket(self) -> _Asks:
        """Two rates around the prediction; where they contradict it, on up or down until one passes and one fails."""
        yield from self._try((1 - START) * self.predicted)
        if self._usable() and self._usable()[-1].passes(self.slo_s):
            yield from self._try((1 + START) * self.predicted)
        while len(self.trials) < self._most - self._fresh - min(_FEWEST, self._refining):
            rate = self._wider()
            if rate is None or rate > self._ceiling * (1 + 1e-9):
                return
            yield from self._try(rate)

    def _wider(self) -> float | None:
        """The next rate of the wide bracket; None when it is narrow enough to refine in."""
        passing = sorted(t.rate for t in self._usable() if t.passes(self.slo_s))
        failing = sorted(t.rate for t in self._usable() if not t.passes(self.slo_s))
        if not passing and not failing:
            return None
        if not failing:
            return self._above(passing[-1])
        if not passing:
            return self._above(failing[-1]) if self._falling() else self._below(failing[0])
        above = [rate for rate in failing if rate > passing[-1]]
        if not above:
            near = [rate for rate in failing if math.log(passing[-1] / rate) <= NEAR]
            return None if near else self._above(passing[-1])
        return math.sqrt(passing[-1] * above[0]) if math.log(above[0] / passing[-1]) > _WIDEST else None

    def _above(self, rate: float) -> float:
        step = (self._short_of_limit(rate) or 0.0) + _MARGIN
        return rate * math.exp(min(max(step, _UP[0]), _UP[1]))

    def _below(self, rate: float) -> float:
        short = self._short_of_limit(rate)
        step = _BACKLOG if short is None else _MARGIN - short
        return rate * math.exp(-min(max(step, _DOWN[0]), _DOWN[1]))

    def _short_of_limit(self, rate: float) -> float | None:
        """ln(rate) from here to the limit by the usual elasticity; None where the queue only grew."""
        quantile = next(t.quantile_s for t in reversed(self._usable()) if t.rate == rate and t.quantile_s > 0)
        grew = math.isinf(quantile) or any(t.rate == rate and not t.keeps_up for t in self._usable())
        return None if grew else math.log(self.slo_s / quantile) / _ELASTICITY

    def _falling(self) -> bool:
        """True if two steps down made it slower twice: the way to the limit is up (requests wait for batch mates)."""
        by_rate = sorted((t.rate, t.quantile_s) for t in self._usable() if t.keeps_up)[:3]
        return len(by_rate) == 3 and by_rate[0][1] > 1.1 * by_rate[1][1] > 1.21 * by_rate[2][1]

    def _bounded(self) -> bool:
        """False if no rate was seen to fail: then there is no crossing to refine, only a highest rate that passed."""
        return any(not t.passes(self.slo_s) for t in self._usable())

    def _centre(self, index: int) -> float:
        """The current crossing: between pass and fail at first, from the fourth refining trial on the fit's."""
        found = self.conclusion() if index >= _FEWEST - 1 else None
        if found is not None and found.error is not None:
            return found.crossing
        return middle(self._usable(), self.slo_s) or self.predicted

    def _usable(self) -> Sequence[Trial]:
        return [t for t in self.trials if t.level != "invalid"]

    def _try(self, rate: float) -> _Asks:
        """A trial at `rate` or as near as the generator reaches; one that was invalid is made once more."""
        for _ in range(2):
            trial = yield min(rate, self._ceiling)
            if trial.level != "invalid":
                return
