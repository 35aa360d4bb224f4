"""How many requests a second does a variant carry within its SLO? One fit over its server trials.

Capacity is quoted in rate space, where a noisy percentile costs little (measurement.md 0.2): a line through
(ln rate, ln quantile) of the trials near the crossing, with the delta method's interval (rule 30 as revised). The
report reads a study's trials with it, and the search (`accel.study.max_qps`) decides with it where to try next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from accel.analysis import Estimate
from accel.analysis.online import Trial
from accel.result import Level

NEAR = math.log(1.16)
MOVED = math.log(1.10)
"""Isotonic pooling that moves a rate's quantile by more than this (ln) calls the server non-monotone (rule 30 g)."""
_LEAST_TRIALS = 4
_CHOSEN = 1.25
"""Rates that were chosen by looking at earlier trials make the delta method too sure of itself: at refining trials
within 8 % it held the truth in 87 to 90 % of 500 searches, and in 96 % of as many with fixed rates (V14). With trials
within 12 % and its error times this it holds it in 95 to 96 %, and one claim in twenty is above the truth."""
_SLOPES = (1.6, 3.0, 6.0)
_TOGETHER = math.log(1.06)
_CERTAIN = 3.0
_USUAL_SCATTER, _GROUPS = 0.15, 3


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Where the quantile meets the limit: crossing (1/s) with its 95 % interval, claim = lower 90 % bound.

    error, df: standard error of ln crossing and its degrees of freedom; None where there is only a bracket.
    predicted: no trial held enough requests for this percentile to be printed at all (rule 22).
    indicative: most trials held fewer requests than an interval of 95 % needs under load (rule 25).
    fresh_failed: the fresh trials at the claimed rate lie above the limit on average ("unconfirmed").
    nonmonotone: a lower rate was shown to be slower than a higher one, so rates below the claim may miss the limit.
    generator_limited: a rate could not be tried, since the generator of requests was late itself.
    lowest_fail: the lowest rate (1/s) that missed the limit in a trial. resolution: rates closer than this share
    can't be told apart by trials of this length on this kind of machine.
    """

    crossing: float
    low: float | None
    high: float | None
    claim: float
    n: int
    method: str
    error: float | None = None
    df: int | None = None
    level: Level = "valid"
    predicted: bool = False
    indicative: bool = False
    fresh_failed: bool = False
    nonmonotone: bool = False
    generator_limited: bool = False
    lowest_fail: float | None = None
    resolution: float = 0.05

    @property
    def flags(self) -> tuple[str, ...]:
        """What must be said beside the rate, in a fixed order."""
        said = {
            "unconfirmed": self.fresh_failed,
            "nonmonotone": self.nonmonotone,
            "generator_limited": self.generator_limited,
            "indicative": self.predicted or self.indicative,
            "bracket": self.error is None,
        }
        return tuple(name for name, holds in said.items() if holds)

    @property
    def estimate(self) -> Estimate:
        """The claim, with the interval of the crossing, which is never finer than `resolution` (rule 30 g)."""
        low, high = self.low, self.high
        if low and high and high < (1 + self.resolution) * low:
            middle, half = math.sqrt(low * high), math.sqrt(1 + self.resolution)
            low, high = middle / half, middle * half
        return Estimate(
            value=self.claim,
            low=low,
            high=high,
            n=self.n,
            unit="1/s",
            method=self.method,
            validity=self.level,
        )


def capacity(trials: Sequence[Trial], *, slo_s: float, resolution: float = 0.05) -> Capacity | None:
    """Fit the crossing; with fewer than four trials near it, a bracket between passing and failing trials.

    Invalid trials say nothing about the server and are left out; unstable ones only count where too few are stable.
    None without trials. A variant that meets the limit at no rate tried claims 0.
    """
    usable = [t for t in trials if t.level != "invalid"]
    if not usable:
        return None
    limited = _generator_limited(trials, usable, slo_s)
    stable = [t for t in usable if t.level == "valid"]
    for chosen in (stable, usable):
        fitted = _fit(chosen, slo_s)
        if fitted is not None:
            level: Level = "valid" if chosen is stable else "unstable"
            return _described(fitted, chosen, slo_s, level, limited, resolution)
    # Undisturbed trials on both sides of the limit need no others to say that it lies between them.
    alone = len(stable) >= _LEAST_TRIALS and {t.passes(slo_s) for t in stable} == {True, False}
    kept: Sequence[Trial] = stable if alone else usable
    level = "valid" if alone or len(stable) == len(usable) else "unstable"
    return _described(_bracket(kept, slo_s), kept, slo_s, level, limited, resolution)


def _generator_limited(trials: Sequence[Trial], usable: Sequence[Trial], slo_s: float) -> bool:
    """True if no rate failed and the generator was late at a higher one than any that could be tried."""
    highest = max(t.rate for t in usable)
    return all(t.passes(slo_s) for t in usable) and any(t.generator_late and t.rate > highest for t in trials)


def _described(
    found: Capacity, trials: Sequence[Trial], slo_s: float, level: Level, limited: bool, resolution: float
) -> Capacity:
    fresh = [t for t in trials if t.fresh]
    logs = [math.log(t.quantile_s) if t.quantile_s > 0 else -math.inf for t in fresh]
    failed = found.claim > 0 and bool(logs) and float(np.mean(logs)) > math.log(slo_s)
    short = not any(t.carried for t in trials)
    method = found.method
    if short:
        longest = max(t.n for t in trials)
        method += f"; trials of at most {longest} requests are too short for this percentile: indicative"
    failing = [t.rate for t in trials if not t.passes(slo_s)]
    return msgspec.structs.replace(
        found,
        level=level,
        predicted=short,
        indicative=short or sum(t.ample for t in trials) < len(trials) / 2,
        fresh_failed=failed,
        nonmonotone=nonmonotone(trials),
        generator_limited=limited,
        lowest_fail=min(failing, default=None),
        resolution=resolution,
        method=method,
    )


def nonmonotone(trials: Sequence[Trial]) -> bool:
    """True if a lower rate was shown to be slower than a higher one (rule 30 d, g).

    Trials within 6 % of each other in rate are taken together first, and a pooled point must have moved by more than
    10 % *and* by more than three standard errors: at 4,000 requests one p99 at rho 0.7 scatters by 13 % itself, so the
    rule's bare 10 % on single trials would flag nearly every search of a perfectly monotone server (V14).
    """
    from scipy.optimize import isotonic_regression

    told = [t for t in trials if t.keeps_up and 0 < t.quantile_s < math.inf]
    points = sorted((math.log(t.rate), math.log(t.quantile_s)) for t in told)
    groups: list[list[tuple[float, float]]] = []
    for point in points:
        if groups and point[0] - groups[-1][0][0] <= _TOGETHER:
            groups[-1].append(point)
        else:
            groups.append([point])
    if len(groups) < 2:
        return False
    means = np.array([np.mean([y for _, y in g]) for g in groups])
    pooled = isotonic_regression(means).x
    noise = _scatter(groups)
    limits = [max(MOVED, _CERTAIN * noise / math.sqrt(len(g))) for g in groups]
    return bool(np.any(np.abs(pooled - means) > limits))


def _scatter(groups: Sequence[Sequence[tuple[float, float]]]) -> float:
    """Standard deviation of ln q at one rate: the median over groups, so that one near saturation, where it is several
    times as large, doesn't hide what happens at low rates. With fewer than three groups to ask, what is usual.
    """
    found = [float(np.var([y for _, y in g], ddof=1)) for g in groups if len(g) > 1]
    return math.sqrt(float(np.median(found))) if len(found) >= _GROUPS else _USUAL_SCATTER


def _fit(trials: Sequence[Trial], slo_s: float) -> Capacity | None:
    points = [t for t in trials if t.keeps_up and math.isfinite(t.quantile_s) and t.quantile_s > 0]
    centre = middle(trials, slo_s)
    found = None
    for _ in range(10):
        near = [t for t in points if centre is not None and abs(math.log(t.rate / centre)) <= NEAR]
        found = (_line(near, slo_s) or _level(near, slo_s)) if len(near) >= _LEAST_TRIALS else None
        if found is None or centre is None or abs(math.log(found.crossing / centre)) < 1e-6:
            return found
        centre = found.crossing
    return found


def middle(trials: Sequence[Trial], slo_s: float) -> float | None:
    """Where the limit is likely met, from passes and failures alone; None without trials.

    Between the highest passing rate and the lowest failing one above it, or where noise let a higher rate pass, between
    the two that contradict each other.
    """
    passing = [t.rate for t in trials if t.passes(slo_s)]
    failing = [t.rate for t in trials if not t.passes(slo_s)]
    if not passing or not failing:
        return max(passing) if passing else min(failing, default=None)
    above = [rate for rate in failing if rate > max(passing)]
    near = [rate for rate in failing if abs(math.log(rate / max(passing))) <= NEAR]
    return math.sqrt(max(passing) * min(near or above, default=max(passing)))


def _line(trials: Sequence[Trial], slo_s: float) -> Capacity | None:
    """Least squares of ln q on ln rate; crossing = (ln L - a) / b with the delta method, t with n - 2 df."""
    x = np.log([one.rate for one in trials])
    y = np.log([one.quantile_s for one in trials])
    n, spread = len(trials), float(np.sum((x - x.mean()) ** 2))
    if spread < 1e-8:
        return None
    slope = float(np.sum((x - x.mean()) * (y - y.mean()))) / spread
    residuals = y - y.mean() - slope * (x - x.mean())
    noise = float(residuals @ residuals) / (n - 2)
    # A slope that noise alone could have made turns latency into no rate.
    if slope <= 2 * math.sqrt(noise / spread):
        return None
    away = (math.log(slo_s) - float(y.mean())) / slope
    crossing = float(x.mean()) + away
    if not float(x.min()) - NEAR <= crossing <= float(x.max()) + NEAR:
        return None
    error = _CHOSEN * math.sqrt(noise * (1 / n + away**2 / spread)) / slope
    return _found(crossing, error, n, n - 2, f"line through {n} trials near the crossing")


def _level(trials: Sequence[Trial], slo_s: float) -> Capacity | None:
    """Where noise hides the slope: the trials' mean, moved to the limit by the slopes that queueing theory allows.

    d ln q / d ln rate is about 3 at mid load and between 1.6 and 6 from half to nine tenths of it (measurement.md 0.2);
    the scatter is divided by the smallest, and the range of slopes counts as an error of the way to the limit.
    """
    n = len(trials)
    x = np.log([one.rate for one in trials])
    y = np.log([one.quantile_s for one in trials])
    gap = math.log(slo_s) - float(y.mean())
    flattest, usual, steepest = _SLOPES
    if abs(gap) / flattest > 2 * NEAR:
        return None
    scatter = float(y.std(ddof=1)) / math.sqrt(n) / flattest
    error = math.hypot(scatter, abs(gap) * (1 / flattest - 1 / steepest) / 4)
    method = (
        f"mean of {n} trials near the crossing, latency taken to grow as rate^{usual:g} ({flattest:g} to {steepest:g})"
    )
    return _found(float(x.mean()) + gap / usual, error, n, n - 1, method)


def _found(crossing: float, error: float, n: int, df: int, method: str) -> Capacity:
    from scipy.stats import t

    half, half90 = (float(t.ppf(q, df)) * error for q in (0.975, 0.95))
    return Capacity(
        crossing=math.exp(crossing),
        low=math.exp(crossing - half),
        high=math.exp(crossing + half),
        claim=math.exp(crossing - half90),
        n=n,
        method=f"{method}; the claim is its lower 90 % bound",
        error=error,
        df=df,
    )


def _bracket(trials: Sequence[Trial], slo_s: float) -> Capacity:
    """From the highest rate below every failing one to the lowest failing rate above every passing one.

    Of several trials at one rate the majority speaks, a draw against the rate.
    """
    votes: dict[float, list[bool]] = {}
    for one in trials:
        votes.setdefault(one.rate, []).append(one.passes(slo_s))
    verdicts = {rate: 2 * sum(found) > len(found) for rate, found in votes.items()}
    failing = sorted(rate for rate, passes in verdicts.items() if not passes)
    passing = sorted(rate for rate, passes in verdicts.items() if passes and (not failing or rate < failing[0]))
    low = passing[-1] if passing else 0.0
    highest = max((rate for rate, passes in verdicts.items() if passes), default=0.0)
    high = next((rate for rate in failing if rate > highest), None)
    said = "between rates below all failing and above all passing ones"
    if not passing:
        said = "no rate tried met the limit" if not highest else "the lowest rate tried missed the limit"
    elif high is None:
        said = (
            "the highest rate tried; none failed" if not failing else "a higher rate than the lowest failing one passed"
        )
    return Capacity(
        crossing=low if high is None or low == 0 else math.sqrt(low * high),
        low=low,
        high=high,
        claim=low,
        n=len(trials),
        method=f"bracket of {len(trials)} trials: {said}",
    )


def ratio(candidate: Capacity, base: Capacity) -> tuple[Estimate, tuple[float, float]] | None:
    """Crossing / crossing of two independent searches, with its 95 % interval, and the 90 % ends of its logarithm.

    Two fits: Welch's t on the ln scale. A bracket on either side: the ratio of the claims between the extremes of the
    brackets. None if the baseline met the limit nowhere (there is no ratio to nothing).
    """
    from scipy.stats import t

    if base.claim <= 0 or candidate.claim <= 0:
        return None
    n = min(candidate.n, base.n)
    if candidate.error is None or candidate.df is None or base.error is None or base.df is None:
        return _bracketed(candidate, base, n)
    mean = math.log(candidate.crossing / base.crossing)
    a, b = candidate.error**2, base.error**2
    df = (a + b) ** 2 / (a**2 / candidate.df + b**2 / base.df) if a + b > 0 else candidate.df
    half, half90 = (float(t.ppf(q, df)) * math.sqrt(a + b) for q in (0.975, 0.95))
    estimate = Estimate(
        value=math.exp(mean),
        low=math.exp(mean - half),
        high=math.exp(mean + half),
        n=n,
        unit="x",
        method="ratio of two fitted rates, Welch's t on their logarithms",
    )
    return estimate, (mean - half90, mean + half90)


def _bracketed(candidate: Capacity, base: Capacity, n: int) -> tuple[Estimate, tuple[float, float]]:
    low = candidate.low / base.high if candidate.low and base.high else None
    high = candidate.high / base.low if candidate.high and base.low else None
    estimate = Estimate(
        value=candidate.claim / base.claim,
        low=low,
        high=high,
        n=n,
        unit="x",
        method="ratio of two rates between the extremes of their brackets",
    )
    return estimate, (math.log(low) if low else -math.inf, math.log(high) if high else math.inf)
