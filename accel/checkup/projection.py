"""What is the smallest difference that blocks like these can show, in more or fewer of them, longer or shorter?

The scatter of ln(candidate / baseline) between blocks of byte-identical code has two parts: that within the runs, which
shrinks with their length, and that between runs, which only more blocks can average away (rules 20, 21).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from accel.analysis.comparison import MIN_EFFECTS
from accel.scenarios import generator
from accel.study.profiles import Profile

_ALPHA = 0.05
_RESAMPLES = 2000
_MOST_BLOCKS = 400

Cause = Literal["the profile's least", "the scatter between blocks", "the baseline measured twice"]


class Scatter(msgspec.Struct, frozen=True, kw_only=True):
    """What interleaved blocks of identical code gave.

    changes: ln(candidate / baseline) of each block. repeats: ln(A'/A) of each block. run_s: length of one run.
    within: the variance of a change that stems from within the runs.
    """

    changes: tuple[float, ...]
    repeats: tuple[float, ...]
    run_s: float
    within: float = 0.0

    @property
    def sd(self) -> float:
        """Standard deviation of a block's change; nan with fewer than two blocks."""
        return float(np.std(self.changes, ddof=1)) if len(self.changes) > 1 else math.nan

    def sd_at(self, run_s: float) -> float:
        """The same with runs of another length: what stems from within them shrinks with it, the rest stays."""
        total = self.sd**2
        within = min(self.within, total)
        return math.sqrt(total - within + within * self.run_s / run_s)

    def sd_ends(self) -> tuple[float, float]:
        """95 % interval of `sd` as a factor on it (chi-square, normal changes): (low, high)."""
        from scipy.stats import chi2

        df = len(self.changes) - 1
        return math.sqrt(df / chi2.ppf(1 - _ALPHA / 2, df)), math.sqrt(df / chi2.ppf(_ALPHA / 2, df))


class Smallest(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest difference that a profile can show here, as a fraction (0.03 is 3 %), with its 95 % interval.

    A true difference of this size is shown in about half of all studies, one half as large again in 6 of 7.
    cause: what sets it. half_width: of the interval of the ratio (ln) after `blocks` blocks of `run_s`.
    blocks_to_halve: how many blocks would halve that interval; None if more than 400.
    """

    profile: str
    difference: float
    low: float
    high: float
    cause: Cause
    half_width: float
    blocks: int
    run_s: float
    blocks_to_halve: int | None


def project(scatter: Scatter, profile: Profile, seed: int = 0) -> Smallest:
    """Carry the scatter over to the blocks and the run length of a profile; needs three blocks or more.

    A profile goes on until the half-width is half its least, or to its most blocks (rule 21). The difference is the
    largest of the profile's least, the half-width t s / sqrt(R) and the A/A floor (rule 37).
    """
    run_s = profile.measure_s
    sd = scatter.sd_at(run_s)
    least = math.log1p(MIN_EFFECTS[profile.name])
    blocks = min(max(blocks_for(sd, least / 2) or _MOST_BLOCKS, profile.blocks), profile.most_blocks)
    half = half_width(sd, blocks)
    factor = sd / scatter.sd if scatter.sd > 0 else 1.0
    floor = floor_at(scatter.repeats, blocks, factor, seed)
    causes: dict[Cause, float] = {
        "the profile's least": least,
        "the scatter between blocks": half,
        "the baseline measured twice": floor,
    }
    cause = max(causes, key=lambda c: causes[c])
    narrow, wide = scatter.sd_ends()
    return Smallest(
        profile=profile.name,
        difference=math.expm1(causes[cause]),
        low=math.expm1(max(least, narrow * half, narrow * floor)),
        high=math.expm1(max(least, wide * half, wide * floor)),
        cause=cause,
        half_width=half,
        blocks=blocks,
        run_s=run_s,
        blocks_to_halve=blocks_for(sd, half / 2),
    )


def half_width(sd: float, blocks: int) -> float:
    """Half the 95 % t-interval of the mean of `blocks` changes.

    >>> round(half_width(0.02, 6), 4)
    0.021
    """
    from scipy.stats import t

    return float(t.ppf(1 - _ALPHA / 2, blocks - 1)) * sd / math.sqrt(blocks)


def blocks_for(sd: float, wanted: float) -> int | None:
    """How many blocks make the half-width at most `wanted`; None if that takes more than 400."""
    return next((r for r in range(3, _MOST_BLOCKS + 1) if half_width(sd, r) <= wanted), None)


def floor_at(repeats: Sequence[float], blocks: int, factor: float, seed: int) -> float:
    """The A/A floor that `blocks` blocks would have: 95th percentile of |mean| over resamples of that many.

    factor: by how much other run lengths change the scatter around the mean.
    """
    x = np.asarray(repeats, np.float64)
    if x.size < 2:
        return 0.0
    x = x.mean() + factor * (x - x.mean())
    picks = generator(seed, 4, 0).integers(0, x.size, (_RESAMPLES, blocks))
    return float(np.quantile(np.abs(x[picks].mean(axis=1)), 0.95, method="inverted_cdf"))
