"""Is one variant faster than another, and by how much? Paired log-ratios of interleaved blocks (rule 37).

Orientation: a ratio above 1 is always better, for latency (base / candidate) as for throughput (candidate / base).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from accel.analysis import Estimate
from accel.analysis.conclusion import Comparison, Verdict
from accel.analysis.estimates import t_interval
from accel.scenarios import generator

MIN_EFFECTS = {"quick": 0.05, "shared": 0.03, "quiet": 0.01, "gpu": 0.01}
_RESAMPLES = 2000
_MOST_UNSTABLE = 0.3
_BETWEEN_RUNS = 0.03
"""What one run a side can't see: identical code differs by about 3 % between runs (measurement.md, A/A evidence)."""

Better = Literal["lower", "higher"]
Evidence = Literal["screening", "blocks", "confirmation"]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One block: the baseline, its repeat A' (None where there was none) and the candidate, one number each.

    stable: False if any side of the block was unstable.
    """

    block: int
    base: float
    candidate: float
    repeat: float | None = None
    stable: bool = True

    @property
    def reference(self) -> float:
        """The geometric mean of A and A', or A where it stands alone."""
        return self.base if self.repeat is None else math.sqrt(self.base * self.repeat)


def smallest(profile: str, floor: float = 0.0) -> float:
    """delta, the smallest |ln ratio| that counts: the profile's minimum effect, or this study's A/A floor if larger.

    >>> round(math.exp(smallest("quick")) - 1, 3)
    0.05
    """
    return max(math.log(1 + MIN_EFFECTS.get(profile, MIN_EFFECTS["shared"])), floor)


def aa_floor(log_ratios: Sequence[float], seed: int) -> float:
    """95th percentile of |mean ln(A'/A)| over a seeded bootstrap of the blocks; 0 without blocks."""
    x = np.asarray(log_ratios, np.float64)
    if x.size < 2:
        return 0.0
    picks = generator(seed, 4, 0).integers(0, x.size, (_RESAMPLES, x.size))
    return float(np.quantile(np.abs(x[picks].mean(axis=1)), 0.95, method="inverted_cdf"))


def aa_suspicious(log_ratios: Sequence[float], min_effect: float) -> bool:
    """W12: the same variant measured twice in each block differs by more than chance and half the minimum effect."""
    if len(log_ratios) < 3:
        return False
    mean, low, high = t_interval(log_ratios)
    return abs(mean) > min_effect or ((low > 0 or high < 0) and abs(mean) > min_effect / 2)


def verdict(mean: float, ends: tuple[float, float], ends90: tuple[float, float], delta: float) -> tuple[Verdict, str]:
    """The verdict on a mean log-ratio (positive is better) and, if INCONCLUSIVE, the reason.

    ends, ends90: the 95 % and the 90 % interval; the latter decides EQUIVALENT (two one-sided tests).
    """
    if ends[0] > 0 and mean >= delta:
        return "FASTER", ""
    if ends[1] < 0 and mean <= -delta:
        return "SLOWER", ""
    if -delta < ends90[0] and ends90[1] < delta:
        return "EQUIVALENT", ""
    limit = f"{math.expm1(delta):.1%}".replace("%", " %")
    if ends[0] > 0 or ends[1] < 0:
        return "INCONCLUSIVE", f"the difference is smaller than the {limit} that counts here"
    if math.isinf(ends[0]) or math.isinf(ends[1]):
        return "INCONCLUSIVE", "the interval has an open end"
    return "INCONCLUSIVE", f"the interval reaches from {_change(ends[0])} to {_change(ends[1])}"


def _change(log_ratio: float) -> str:
    return f"{math.expm1(log_ratio):+.1%}".replace("%", " %")


def compare(
    pairs: Sequence[Pair],
    *,
    better: Better,
    delta: float,
    evidence: Evidence,
    unstable: str = "",
) -> Comparison | None:
    """Paired comparison over blocks; None with fewer than three.

    Unstable blocks are left out while they are at most 30 %; beyond that the verdict is INCONCLUSIVE (unstable).
    unstable: a reason why the whole comparison may not decide (W12), "" if there is none.
    """
    steady = [p for p in pairs if p.stable]
    too_many = len(pairs) - len(steady) > _MOST_UNSTABLE * len(pairs) or len(steady) < 3
    used = sorted(pairs if too_many else steady, key=lambda p: p.block)
    if len(used) < 3:
        return None
    if too_many:
        unstable = f"{len(pairs) - len(steady)} of {len(pairs)} blocks were disturbed"
    sign = 1.0 if better == "higher" else -1.0
    logs = [sign * math.log(p.candidate / p.reference) for p in used]
    mean, low, high = t_interval(logs)
    _, low90, high90 = t_interval(logs, 0.10)
    word, reason = verdict(mean, (low, high), (low90, high90), delta)
    words = "fresh pairs" if evidence == "confirmation" else "blocks"
    if unstable:
        word, reason = "INCONCLUSIVE", f"unstable: {unstable}"
    ratio = Estimate(
        value=math.exp(mean),
        low=math.exp(low),
        high=math.exp(high),
        n=len(used),
        unit="x",
        method=f"paired t-interval on the log-ratios of {len(used)} {words}",
        validity="unstable" if unstable else "valid",
    )
    return Comparison(ratio=ratio, verdict=word, delta=math.exp(delta), evidence=evidence, reason=reason)


def compare_once(
    base: Estimate, candidate: Estimate, *, better: Better, delta: float, unstable: str = ""
) -> Comparison:
    """Screening: one run a side. The interval joins the two within-run intervals on the log scale (MOVER, Zou & Donner
    2008) and 3 % a side for the scatter between runs, which one run can't show; nor can it show equality.
    """
    sign = 1.0 if better == "higher" else -1.0
    mean = sign * math.log(candidate.value / base.value)
    ends = _mover(mean, base, candidate, sign)
    if ends is None:
        word: Verdict = "INCONCLUSIVE"
        reason = "one short run a side, without an interval"
    else:
        word, reason = verdict(mean, ends, (-math.inf, math.inf), delta)
    if unstable:
        word, reason = "INCONCLUSIVE", f"unstable: {unstable}"
    ratio = Estimate(
        value=math.exp(mean),
        low=None if ends is None else math.exp(ends[0]),
        high=None if ends is None else math.exp(ends[1]),
        n=1,
        unit="x",
        method="one run a side: the scatter within the runs, and 3 % a side for that between runs",
        validity="unstable" if unstable else "valid",
    )
    return Comparison(ratio=ratio, verdict=word, delta=math.exp(delta), evidence="screening", reason=reason)


def _mover(mean: float, base: Estimate, candidate: Estimate, sign: float) -> tuple[float, float] | None:
    if base.low is None or base.high is None or candidate.low is None or candidate.high is None:
        return None
    better, worse = (candidate, base) if sign > 0 else (base, candidate)
    up = (math.log(_high(better) / better.value), math.log(worse.value / _low(worse)))
    down = (math.log(better.value / _low(better)), math.log(_high(worse) / worse.value))
    between = (_BETWEEN_RUNS, _BETWEEN_RUNS)
    return mean - math.hypot(*down, *between), mean + math.hypot(*up, *between)


def _low(e: Estimate) -> float:
    return e.value if e.low is None else e.low


def _high(e: Estimate) -> float:
    return e.value if e.high is None else e.high
