"""At which rates should a server be tried to find the most requests a second it carries within its SLO?

`max_qps(p, L)` of measurement.md, rule 30 as its section 2 opens: from the predicted crossing, over refining trials
around the current one and a look at a quarter of it, to fresh trials at the claimed rate. Pure: who asks makes a trial
and tells it; the same trials told in the same order give the same next rate, so a search goes on from results on disk.
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
"""Trials that the wide bracket may not eat up: the fit needs four. Fewer left: single trials point the way."""
_ELASTICITY = 3.0
"""d ln(p99 latency) / d ln(rate) at mid load (measurement.md 0.2): turns a missed limit into a step in rate."""
_MARGIN = 0.1
_UP, _DOWN = (0.15, 0.9), (0.15, 0.7)
"""Shortest and longest step of the wide bracket, in ln(rate)."""
_BACKLOG = math.log(1.5)
"""The step down from a rate at which the queue only grew, whose quantile says nothing (rule 30 b)."""
_WIDEST = math.log(1.6)
"""A bracket no wider than this (ln) is refined in."""
_SHORT_OF = 0.7
"""After the generator was late at a rate twice, nothing above this part of it is tried."""

_LOWER = 0.25
"""One trial at this part of the claim: who claims a rate is believed to carry all lower ones too, and where requests
wait for batch mates or the engine falls asleep between them that is wrong (`nonmonotone`)."""
_FAR = 0.35
"""A trial farther than this (ln) from the limit, as its quantile has it, doesn't say where the limit is."""

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
        self.most = most
        self._refining, self._fresh, self._resolution = refining, fresh, resolution
        self._ceiling, self._late = math.inf, 0
        self._steps = self._plan()
        self._next: float | None = next(self._steps, None)

    def ask(self) -> float | None:
        """The rate (1/s) of the next trial; None when the search is over. `phase` says "search" or "confirmation"."""
        return None if self._next is None or len(self.trials) >= self.most else float(f"{self._next:.5g}")

    def tell(self, trial: Trial) -> None:
        """What the trial at the asked rate (or near it) said."""
        self.trials.append(msgspec.structs.replace(trial, phase=self.phase))
        self._note_lateness(trial)
        if self._next is None:
            return
        try:
            self._next = self._steps.send(self.trials[-1])
        except StopIteration:
            self._next = None

    def _note_lateness(self, trial: Trial) -> None:
        """A generator late twice in a row, faster than it ever was on time, can't go there; once may be the machine."""
        if not trial.generator_late or any(t.rate >= trial.rate for t in self._usable()):
            self._late = 0
            return
        self._late += 1
        if self._late == 2:
            self._ceiling, self._late = min(self._ceiling, _SHORT_OF * trial.rate), 0

    def conclusion(self) -> Capacity | None:
        """What the trials so far say; None if none of them can be used."""
        return capacity(self.trials, slo_s=self.slo_s, resolution=self._resolution)

    def _plan(self) -> _Asks:
        yield from self._try((1 - START) * self.predicted)
        if self._usable() and self._usable()[-1].passes(self.slo_s):
            yield from self._try(max((1 + START) * self.predicted, self._above(self._usable()[-1].rate)))
        yield from self._refine()
        found = self.conclusion()
        if found is not None and found.claim > 0 and len(self.trials) < self.most - self._fresh:
            yield from self._try(_LOWER * found.claim)
        self.phase = "confirmation"
        for _ in range(self._fresh if found is not None and found.claim > 0 else 0):
            assert found is not None
            yield from self._try(found.claim)

    def _refine(self) -> _Asks:
        """Trials around the current crossing; a wide bracket before, where the first two contradict the prediction."""
        refined = 0
        while refined < self._refining and (left := self.most - self._fresh - 1 - len(self.trials)) > 0:
            enough_left = left >= _FEWEST
            wider = self._wider() if enough_left or not self._near() else None
            if wider is not None and wider > self._ceiling * (1 + 1e-9):
                return
            if wider is not None:
                yield from self._try(wider)
                continue
            draw = generator(self.seed, 1, 50_000 + refined).uniform(-SPREAD, SPREAD)
            yield from self._try(self._centre() * math.exp(draw))
            refined += 1

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
        short = self._short_of_limit(rate) or 0.0
        # Too slow and yet to be tried higher: requests wait for mates, whose arrival takes as long as 1 / rate.
        step = _MARGIN + (short if short > 0 else -short * _ELASTICITY)
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

    def _centre(self) -> float:
        """The current crossing: the fit's where four trials lie near it, else where single trials point to."""
        found = self.conclusion()
        if found is not None and found.error is not None:
            return found.crossing
        near = self._near()
        if not near:
            return middle(self._usable(), self.slo_s) or self.predicted
        return math.exp(sum(x * w for x, w in near) / sum(w for _, w in near))

    def _near(self) -> list[tuple[float, float]]:
        """Where each trial not far from the limit says that it is: (ln rate, weight), the nearer the heavier."""
        about = math.log(middle(self._usable(), self.slo_s) or self.predicted)
        steps = [(math.log(t.rate), self._short_of_limit(t.rate)) for t in self._usable()]
        return [
            (rate + step, 1 / (0.1 + abs(step)))
            for rate, step in steps
            if step is not None and abs(step) <= _FAR and abs(rate - about) <= _FAR
        ]

    def _usable(self) -> Sequence[Trial]:
        return [t for t in self.trials if t.level != "invalid"]

    def _try(self, rate: float) -> _Asks:
        """A trial at `rate` or as near as the generator reaches; one that was invalid is made once more."""
        for _ in range(2):
            trial = yield min(rate, self._ceiling)
            if trial.level != "invalid":
                return
