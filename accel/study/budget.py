"""How the time is spent: every phase asks before it starts, so that nothing overruns and the end isn't starved."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from accel.study.profiles import Profile

_SCREENING_SHARE = 0.45
_SLOW_SHARE = 0.2
_CONFIRMING_SHARE = 0.16
_AROUND_SERVER_S = 1.8
"""Warm-up, load before and after the counted part, and draining of a server trial."""


class Budget:
    """A clock with an allowance; `spent_s` is what earlier, interrupted attempts took.

    Shares: screening and tuning may take up to 45 %, the last 16 % are kept for confirmation, the blocks get the rest.
    """

    def __init__(self, total_s: float, *, spent_s: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self.total_s = total_s
        self._now = now
        self._start = now() - spent_s
        self._blocks: list[float] = []
        self._pairs: list[float] = []

    def elapsed_s(self) -> float:
        """Seconds since the study began, earlier attempts included."""
        return self._now() - self._start

    def left_s(self) -> float:
        """Seconds that are left; never negative."""
        return max(0.0, self.total_s - self.elapsed_s())

    def allows_screening(self, *, slow: bool = False) -> bool:
        """True while another variant may be prepared and screened; slow: one whose compiler takes a minute or so."""
        return self.elapsed_s() < (_SLOW_SHARE if slow else _SCREENING_SHARE) * self.total_s

    def allows_tuning(self) -> bool:
        """True while batch sizes may still be tuned."""
        return self.elapsed_s() < (_SCREENING_SHARE + 0.12) * self.total_s

    def allows_block(self, block: int, profile: Profile) -> bool:
        """True if one more block fits before confirmation's share begins; the first is always made."""
        if block == 0:
            return True
        usual = max(self._blocks, default=0.0)
        kept = _CONFIRMING_SHARE * self.total_s if profile.confirmations else 0.0
        return self.left_s() - usual >= kept

    def allows_confirmation(self, pair: int) -> bool:
        """True if one more fresh pair fits; the first needs a tenth of the budget."""
        usual = max(self._pairs, default=0.06 * self.total_s)
        return self.left_s() >= usual

    def finalists(self, profile: Profile, seen_s: float = 0.0) -> int:
        """How many finalists the remaining time carries through all blocks, at least one.

        One entrant's turn is about two closed runs and a server trial with their warm-ups; `seen_s`: what two closed
        runs of the baseline took, which is more for a slow model.
        """
        closed_s = max(2 * (profile.measure_s + profile.warmup_s + 0.2), seen_s)
        turn_s = closed_s + profile.server_s + _AROUND_SERVER_S
        if profile.fresh:
            turn_s += 3.0
        available = (1 - _CONFIRMING_SHARE) * self.total_s - self.elapsed_s() - 0.05 * self.total_s
        entrants = available / (profile.blocks * turn_s)
        return int(min(profile.finalists, max(1, entrants - 2)))

    def server_s(self, profile: Profile, requests: int, rate: float) -> float:
        """Length of a server trial at `rate`: long enough for `requests`, within what the profile allows."""
        wanted = max(profile.server_requests, requests) * 1.1 / max(rate, 1e-9)
        return float(min(max(profile.server_s, wanted), profile.server_max_s))

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """Time a block, so that the next one's cost is known."""
        start = self._now()
        yield
        self._blocks.append(self._now() - start)

    @contextlib.contextmanager
    def confirmation(self) -> Iterator[None]:
        """Time a confirming pair, so that the next one's cost is known."""
        start = self._now()
        yield
        self._pairs.append(self._now() - start)


def patience_s(budget_s: float, reference_s: float) -> float:
    """How long a silent child is waited for: a fifth of the budget, between 20 s and 60 s.

    Longer for a slow model: 12 times what its reference took to answer all samples.
    """
    return max(min(60.0, max(20.0, 0.2 * budget_s)), 12 * reference_s)
