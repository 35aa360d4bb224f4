"""How the time is spent: every step asks before it starts and has a deadline while it runs, so that nothing overruns.

Two ends: no step is begun that isn't expected to be over by the budget's own end; what takes longer than expected is
cut at the last moment from which the study can still be closed within 10 % or 15 s (the larger) over the budget.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from accel.errors import VariantError
from accel.study.profiles import Profile

Step = Literal["block", "pair", "trial", "probe"]
SPEAKS = 3
"""From so many pairs on a phase is compared; see `analysis/race.py`."""
_COMPILING_SHARE = 0.2
COMPILES_S = 30.0
"""What a compiler that takes long takes at least, as far as is known: torch.compile on two cores 35 s to minutes."""
_PREPARED_BY = 0.65
"""By this share of the time a variant has to be prepared, or the comparison would starve."""
_AROUND_SERVER_S = 1.8
"""Warm-up, load before and after the counted part, and draining of a server trial."""
_LEAST_GRACE_S, _GRACE_SHARE = 15.0, 0.10
_MOST_LOAD = 0.12
_RESCUE_SHARE, _RESCUE_BEYOND = 0.2, 0.1
_WRAP_UP_S = 8.0
"""Reading the results, keeping the winners and writing the page, until the study knows better."""


NOT_BOUGHT = "not bought: "
"""How the reason of a variant begins that only the end of the budget stopped."""


class BudgetEnded(VariantError):
    """A step was cut because its time was up: `what` ended while `doing`. No fault of the variant's."""

    def __init__(self, doing: str, *, what: str = "the budget") -> None:
        self.doing, self.words = doing, f"{what} ended while {doing}"
        super().__init__(f"{NOT_BOUGHT}{self.words}", "Raise --budget and go on with --resume.")


class Budget:
    """A clock with an allowance; `spent_s` is what earlier, interrupted attempts took.

    `wrap_up_s` is kept for closing the study. `delayed_s` is what rescues and the run-off took between screening and
    tuning, by which tuning ends later. An attempt that resumes a study whose time is up has the grace alone.
    """

    def __init__(self, total_s: float, *, spent_s: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self.total_s = total_s
        self.wrap_up_s = _WRAP_UP_S
        self.delayed_s = 0.0
        self._now = now
        self._start = now() - spent_s
        self._end_s = max(total_s, spent_s)
        self._took: dict[Step, list[float]] = {}
        self._within_s = math.inf

    @property
    def grace_s(self) -> float:
        """By how much the budget may be overrun in all."""
        return max(_LEAST_GRACE_S, _GRACE_SHARE * self.total_s)

    # --- the clock ---------------------------------------------------------------------------------------------

    def elapsed_s(self) -> float:
        """Seconds since the study began, earlier attempts included."""
        return self._now() - self._start

    def left_s(self) -> float:
        """Seconds until the budget's own end; never negative."""
        return max(0.0, self.total_s - self.elapsed_s())

    def cut_s(self) -> float:
        """Seconds until whatever runs is cut: the last moment from which closing still ends within the grace."""
        latest_s = min(self._end_s + self.grace_s - self.wrap_up_s, self._within_s)
        return max(0.0, latest_s - self.elapsed_s())

    @contextlib.contextmanager
    def within(self, seconds: float, what: str = "its time") -> Iterator[None]:
        """What runs inside is cut after `seconds` as it is when the budget ends; then it is `what` that ended."""
        before, self._within_s = self._within_s, min(self._within_s, self.elapsed_s() + seconds)
        try:
            yield
        except BudgetEnded as error:
            self._within_s = before
            if math.isinf(seconds) or not self.cut_s():
                raise
            raise BudgetEnded(error.doing, what=what) from None
        finally:
            self._within_s = before

    def keep_for_closing(self, seconds: float) -> None:
        """Closing the study will take about this long: reading its results, keeping its winners, writing its page."""
        self.wrap_up_s = max(_WRAP_UP_S, min(seconds, 0.9 * self.grace_s))

    def fits(self, seconds: float, *, kept_s: float = 0.0) -> bool:
        """True if a step of that length is over before the budget's end, less what is kept for later ones."""
        return self.left_s() - kept_s >= seconds

    def usual_s(self, step: Step, otherwise: float) -> float:
        """The longest such step so far; `otherwise` before there was one."""
        return max(self._took.get(step, ()), default=otherwise)

    @contextlib.contextmanager
    def step(self, kind: Step) -> Iterator[None]:
        """Time a step, so that the next one's cost is known; one that was cut tells nothing."""
        start = self._now()
        yield
        self._took.setdefault(kind, []).append(self._now() - start)

    # --- shares ------------------------------------------------------------------------------------------------

    def allows_screening(self, profile: Profile, seconds: float = 0.0) -> bool:
        """True while another variant may be prepared and screened, which takes `seconds`."""
        return self.elapsed_s() < profile.screening_share * self.total_s and self.fits(seconds)

    def allows_compiling(self, took_s: Sequence[float]) -> bool:
        """True while one more may compile that takes as long as the slowest of those before it, which took `took_s`."""
        return sum(took_s) + max(took_s, default=COMPILES_S) <= self.compiling_s

    @property
    def compiling_s(self) -> float:
        """What compilers that take long may take together, so that they don't starve the comparison."""
        return _COMPILING_SHARE * self.total_s

    def preparing_s(self) -> float:
        """How long preparing a candidate may take: until 65 % of the time, or half of what is left if that is more."""
        return min(self.cut_s(), max(_PREPARED_BY * self.total_s - self.elapsed_s(), 0.5 * self.left_s()))

    def allows_tuning(self, profile: Profile, seconds: float = 0.0) -> bool:
        """True while one more batch size, which takes `seconds`, may be tuned."""
        return seconds < self.tuning_left_s(profile)

    def tuning_left_s(self, profile: Profile) -> float:
        """Seconds until the share of tuning ends; never negative."""
        until_s = (profile.screening_share + profile.tuning_share) * self.total_s
        return max(0.0, until_s + self.delayed_s - self.elapsed_s())

    def rescues_until_s(self, profile: Profile, begun_s: float) -> float:
        """Until when variants that lost their accuracy may be rescued, a phase that began `begun_s` into the study.

        A fifth of the budget, and not far beyond screening's share, or the comparison would starve.
        """
        latest_s = (profile.screening_share + _RESCUE_BEYOND) * self.total_s
        return min(begun_s + _RESCUE_SHARE * self.total_s, latest_s)

    def allows_block(self, block: int, profile: Profile, seconds: float = 0.0) -> bool:
        """True if one more block, expected to take `seconds`, fits before the shares of search and confirmation.

        The first one may use the grace: without it there is no answer at all. The second is begun only if the third
        fits as well: two pairs show nothing, and their time buys confirmations.
        """
        if block == 0:
            return self.cut_s() >= seconds
        wanted = max(1, min(SPEAKS, profile.blocks) - block)
        return self.fits(wanted * self.usual_s("block", seconds), kept_s=self.kept_s(profile))

    def allows_rest(self, seconds: float) -> bool:
        """True if the rest of what an earlier attempt began can be finished; half a block is half a comparison."""
        return self.cut_s() >= seconds

    def allows_search(self, profile: Profile, seconds: float) -> bool:
        """True if one more trial of the search for the highest rate fits before confirmation's share."""
        kept_s = profile.confirming_share * self.total_s if profile.confirmations else 0.0
        return self.fits(self.usual_s("trial", seconds), kept_s=kept_s + profile.load_share * self.total_s)

    def allows_confirmation(self, seconds: float, *, load_share: float = 0.0) -> bool:
        """True if one more fresh pair fits before the load curve's share; `seconds` is what the first will take."""
        return self.fits(self.usual_s("pair", seconds), kept_s=load_share * self.total_s)

    def allows_load(self, profile: Profile, begun_s: float, seconds: float) -> bool:
        """True if trials of the load curve that take `seconds` fit; its phase began `begun_s` into the study.

        It has its share, and 12 % of the budget if that is more and nobody else needs it.
        """
        most_s = max(profile.load_share, _MOST_LOAD) * self.total_s
        return self.fits(seconds) and self.elapsed_s() + seconds - begun_s <= most_s

    def kept_s(self, profile: Profile) -> float:
        """What is kept for the steps after the blocks: search, confirmation, load curve."""
        confirming = profile.confirming_share if profile.confirmations else 0.0
        return (confirming + profile.search_share + profile.load_share) * self.total_s

    # --- lengths -----------------------------------------------------------------------------------------------

    def finalists(self, profile: Profile, seen_s: float = 0.0, *, least: int = 2) -> int:
        """How many finalists the remaining time carries through all blocks, at least one.

        Up to `least` also where it carries them through as many blocks as a comparison needs: who is fastest in batches
        is often not who is fastest one at a time. Where it doesn't carry even one through so many, there is one block
        for whoever fits into it, and the confirmation has to show the rest. `seen_s`: what two closed runs of the
        baseline took, which is more for a slow model.
        """
        available = self.left_s() - self.kept_s(profile) - 0.05 * self.total_s
        turns = available / turn_s(profile, seen_s, online=not profile.search_share)
        few = min(SPEAKS, profile.blocks)
        through_all, through_few, through_one = (turns / blocks - 2 for blocks in (profile.blocks, few, 1))
        enough = through_few if through_few >= 1 else through_one
        return int(min(profile.finalists, max(1, through_all, min(least, enough))))

    def server_s(self, profile: Profile, requests: int, rate: float) -> float:
        """Length of a server trial at `rate`: long enough for `requests`, within what the profile allows."""
        wanted = max(profile.server_requests, requests) * 1.1 / max(rate, 1e-9)
        return float(min(max(profile.server_s, wanted), profile.server_max_s))


def turn_s(profile: Profile, seen_s: float = 0.0, *, online: bool = True) -> float:
    """About what one entrant's turn in a block takes: two closed runs and a server trial with their warm-ups.

    seen_s: what two closed runs of the baseline took, which is more for a slow model.
    """
    closed_s = max(2 * (profile.measure_s + profile.warmup_s + 0.2), seen_s)
    server_s = profile.server_s + _AROUND_SERVER_S if online else 0.0
    return closed_s + server_s + (3.0 + profile.cool_down_s if profile.fresh else 0.0)


def patience_s(budget_s: float, reference_s: float) -> float:
    """How long a silent child is waited for: a fifth of the budget, between 20 s and 60 s.

    Longer for a slow model: 12 times what its reference took to answer all samples.
    """
    return max(min(60.0, max(20.0, 0.2 * budget_s)), 12 * reference_s)
