"""Did the machine itself keep its pace over a study? Read from the canaries around the runs (rule 36, W7).

It says what absolute numbers are worth and decides nothing: ratios come from runs side by side, and the interval of an
absolute number comes from runs spread over the study, so it holds the machine's swings already.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from accel.result import Result

OFF = 0.05
"""A run whose canary differs by more than this from the study's median was timed on a faster or slower machine."""
_FEWEST = 18
_SURE = 0.01


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How the canary went over the runs, in the order in which they were made.

    spread: standard deviation over mean. change: of the last third's median over the first third's, minus 1.
    trend_p: of the Mann-Kendall test for a trend. off: runs by more than 5 % off the median, ascending by id.
    """

    runs: int
    spread: float
    change: float
    trend_p: float
    off: tuple[str, ...]

    @property
    def drifted(self) -> bool:
        """A trend that is surer than 99 % and larger than 5 %: many canaries show a trend of one per cent as surely."""
        return self.trend_p < _SURE and abs(self.change) > OFF

    @property
    def uneven(self) -> bool:
        """More than 30 % of the runs were off."""
        return len(self.off) > 0.3 * self.runs


def pace(results: Sequence[Result]) -> Pace | None:
    """The pace over the results with a canary; None if there are fewer than 18 of them."""
    timed = sorted((r.created_unix_ns, r.run_id, float(np.mean(r.canary_s))) for r in results if r.canary_s is not None)
    if len(timed) < _FEWEST:
        return None
    from scipy.stats import kendalltau

    seconds = np.array([s for _, _, s in timed])
    third = len(seconds) // 3
    usual = float(np.median(seconds))
    trend_p = 1.0 if np.ptp(seconds) == 0 else float(kendalltau(np.arange(len(seconds)), seconds).pvalue)
    return Pace(
        runs=len(timed),
        spread=float(seconds.std(ddof=1) / seconds.mean()),
        change=float(np.median(seconds[-third:]) / np.median(seconds[:third]) - 1.0),
        trend_p=trend_p,
        off=tuple(sorted(name for _, name, s in timed if abs(s / usual - 1.0) > OFF)),
    )
