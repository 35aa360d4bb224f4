"""Is one variant faster than another, and by how much? Paired log-ratios of interleaved blocks (rule 37).

Orientation: a ratio above 1 is always better, for latency (base / candidate) as for throughput (candidate / base).

Rules 26 and 37 also name a BCa bootstrap, the Hodges-Lehmann estimate and the signed-rank test. Over 4,800 simulated
samples of 6, 10 and 30 blocks the bootstrap was wider than t by 30 % in 23, all of 30 blocks, where t held the truth in
99 %, and covered 80-90 % at 6 and 10 blocks; the other two decide nothing, and at 6 blocks no signed-rank p can reach
Holm's level for two candidates. None of them is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from accel.analysis import Estimate, estimates
from accel.analysis.conclusion import Comparison, Verdict
from accel.analysis.percentiles import ALPHA
from accel.scenarios import generator

MIN_EFFECTS = {"quick": 0.05, "shared": 0.03, "quiet": 0.01, "gpu": 0.01}
_RESAMPLES = 2000
_FEWEST = 3
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
    return counting(MIN_EFFECTS.get(profile, MIN_EFFECTS["shared"]), floor)


def counting(min_effect: float, floor: float) -> float:
    """delta, the smallest |ln ratio| that counts: min_effect (0.03 for 3 %), or the A/A floor if larger."""
    return max(math.log1p(min_effect), floor)


def aa_floor(repeats: Sequence[float], seed: int) -> float:
    """95th percentile of |mean ln(A'/A)| over a seeded bootstrap of the blocks; 0 without blocks."""
    x = np.asarray(repeats, np.float64)
    if x.size < 2:
        return 0.0
    picks = generator(seed, 4, 0).integers(0, x.size, (_RESAMPLES, x.size))
    return float(np.quantile(np.abs(x[picks].mean(axis=1)), 0.95, method="inverted_cdf"))


def aa_suspicious(repeats: Sequence[float], min_effect: float) -> bool:
    """W12: the same variant measured twice in each block differs by more than chance and half the minimum effect."""
    if len(repeats) < 3:
        return False
    mean, low, high = estimates.t_interval(repeats)
    return abs(mean) > min_effect or ((low > 0 or high < 0) and abs(mean) > min_effect / 2)


def p_value(logs: Sequence[float]) -> float:
    """Two-sided p of the paired t-test that the mean log-ratio is 0."""
    from scipy.stats import t

    x = np.asarray(logs, np.float64)
    scatter = float(x.std(ddof=1))
    if scatter == 0:
        return 0.0 if x.mean() else 1.0
    return float(2 * t.sf(abs(float(x.mean())) / scatter * math.sqrt(x.size), x.size - 1))


def holm(p: float, others: Sequence[float]) -> float:
    """The level that Holm's step-down procedure (1979) grants one of several comparisons.

    p: its own p; others: those of the other comparisons made at once. The smallest p is held against 5 % / k, the next
    against 5 % / (k - 1) and so on; the first that fails holds back all larger ones.

    >>> holm(0.001, []), holm(0.001, [0.04]), holm(0.04, [0.001]), holm(0.04, [0.03])
    (0.05, 0.025, 0.05, 0.025)
    """
    family = sorted([p, *others])
    for step, each in enumerate(family):
        level = ALPHA / (len(family) - step)
        if each > level or each >= p:
            return level
    return ALPHA


def verdict(
    mean: float,
    ends: tuple[float, float],
    ends90: tuple[float, float],
    delta: float,
    held: tuple[float, float] | None = None,
) -> tuple[Verdict, str]:
    """The verdict on a mean log-ratio (positive is better) and, if INCONCLUSIVE, the reason.

    ends, ends90: the 95 % and the 90 % interval; the latter decides EQUIVALENT (two one-sided tests).
    held: the interval that must exclude 0 for FASTER or SLOWER where several candidates are compared; None: `ends`.
    """
    low, high = held or ends
    if low > 0 and mean >= delta:
        return "FASTER", ""
    if high < 0 and mean <= -delta:
        return "SLOWER", ""
    if -delta < ends90[0] and ends90[1] < delta:
        return "EQUIVALENT", ""
    limit = f"{math.expm1(delta):.1%}".replace("%", " %")
    if low > 0 or high < 0:
        return "INCONCLUSIVE", f"the difference is smaller than the {limit} that counts here"
    if math.isinf(low) or math.isinf(high):
        return "INCONCLUSIVE", "the interval has an open end"
    if ends[0] > 0 or ends[1] < 0:
        reach = f"the interval reaches from {_change(low)} to {_change(high)}"
        return "INCONCLUSIVE", f"widened for the number of candidates (Holm), {reach}"
    return "INCONCLUSIVE", f"the interval reaches from {_change(ends[0])} to {_change(ends[1])}"


def _change(log_ratio: float) -> str:
    return f"{math.expm1(log_ratio):+.1%}".replace("%", " %")


def log_ratios(pairs: Sequence[Pair], better: Better) -> tuple[list[float], str]:
    """ln ratio of each block that counts (positive is better), in order, and why they can't decide ("" if they can).

    Disturbed blocks are left out as long as three others remain, however many they are: in 3,600 virtual studies the
    limit of 30 % that stood here before prevented no false verdict, and took up to four of five right ones (V4).
    """
    steady = [p for p in pairs if p.stable]
    sign = 1.0 if better == "higher" else -1.0
    used = sorted(steady if len(steady) >= _FEWEST else pairs, key=lambda p: p.block)
    doubt = "" if len(steady) >= _FEWEST else f"{len(pairs) - len(steady)} of {len(pairs)} blocks were disturbed"
    return [sign * math.log(p.candidate / p.reference) for p in used], doubt


def compare(
    pairs: Sequence[Pair], *, better: Better, delta: float, evidence: Evidence, others: Sequence[float] = ()
) -> Comparison | None:
    """Paired comparison over blocks; None with fewer than three.

    others: p of the other candidates compared with the same baseline in the same phase. The ratio's interval stays the
    95 % one; FASTER and SLOWER ask that the one at Holm's level excludes 1 as well.
    """
    logs, unstable = log_ratios(pairs, better)
    if len(logs) < _FEWEST:
        return None
    mean, low, high = estimates.t_interval(logs)
    _, low90, high90 = estimates.t_interval(logs, 0.10)
    p = p_value(logs)
    _, *held = estimates.t_interval(logs, holm(p, others))
    word, reason = verdict(mean, (low, high), (low90, high90), delta, (held[0], held[1]))
    if unstable:
        word, reason = "INCONCLUSIVE", f"unstable: {unstable}"
    words = f"{len(logs)} {'fresh pairs' if evidence == 'confirmation' else 'blocks'}"
    words += f", {len(pairs) - len(logs)} disturbed ones left out" if len(logs) < len(pairs) else ""
    ratio = Estimate(
        value=math.exp(mean),
        low=math.exp(low),
        high=math.exp(high),
        n=len(logs),
        unit="x",
        method=f"paired t-interval on the log-ratios of {words}",
        validity="unstable" if unstable else "valid",
    )
    return Comparison(
        ratio=ratio,
        verdict=word,
        delta=math.exp(delta),
        evidence=evidence,
        reason=reason,
        p=p,
        holm_k=1 + len(others),
        held_low=math.exp(held[0]),
        held_high=math.exp(held[1]),
    )


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
