"""How many requests a second does a variant carry within its SLO? Read from server trials.

Capacity is quoted in rate space, where a noisy percentile costs little (measurement.md 0.2): a line through
(ln rate, ln quantile) of the trials near the crossing, with the delta method's interval (rule 30 as revised).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from accel.analysis import Estimate
from accel.analysis.percentiles import carries, quantile
from accel.measurement.trace import OK, Trace
from accel.result import Level

NEAR = math.log(1.16)
_LEAST_TRIALS = 4
_SLOPES = (1.6, 3.0, 6.0)
_SATURATED = 0.85


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One server run: rate (1/s), the SLO's quantile of latency from schedule (s; inf if it lies among requests that
    were never answered), how many requests counted, whether it may be believed and whether the server kept up.
    """

    rate: float
    quantile_s: float
    n: int
    level: Level = "valid"
    keeps_up: bool = True
    carried: bool = True
    goodput: float = 0.0
    phase: str = "blocks"

    def passes(self, slo_s: float) -> bool:
        """True if the quantile is within the limit and the queue did not grow."""
        return self.keeps_up and self.quantile_s <= slo_s


_FINEST = 1.05
"""Trials of seconds on a shared machine can't tell rates apart that lie closer together than this."""


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Where the quantile meets the limit: crossing (1/s) with its 95 % interval, claim = lower 90 % bound.

    error, df: standard error of ln crossing and its degrees of freedom; None where there is only a bracket.
    fresh_failed: True if the trials of the confirmation lie above the limit on average.
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
    fresh_failed: bool = False

    @property
    def estimate(self) -> Estimate:
        """The claim, with the interval of the crossing, which is never finer than 5 % (rule 30 g)."""
        low, high = self.low, self.high
        if low and high and high < _FINEST * low:
            middle = math.sqrt(low * high)
            low, high = middle / math.sqrt(_FINEST), middle * math.sqrt(_FINEST)
        return Estimate(
            value=self.claim,
            low=low,
            high=high,
            n=self.n,
            unit="1/s",
            method=self.method,
            validity=self.level,
        )


def read_trial(trace: Trace, *, rate: float, p: float, slo_s: float, level: Level, phase: str = "blocks") -> Trial:
    """What one server run says; unanswered requests count as infinitely late (rule 3)."""
    counted = trace.counted()
    latency_s = latencies_s(trace)
    n = len(latency_s)
    return Trial(
        rate=rate,
        quantile_s=quantile(latency_s, p) if n else math.inf,
        n=n,
        level=level,
        keeps_up=keeps_up(counted, slo_s),
        carried=carries(n, p),
        goodput=goodput(counted, slo_s),
        phase=phase,
    )


def latencies_s(trace: Trace) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(n,) latency from schedule of the counted requests in seconds, inf where none was answered."""
    counted = trace.counted()
    return np.where(counted.status == OK, counted.latency_ns * 1e-9, np.inf)


def keeps_up(counted: Trace, slo_s: float) -> bool:
    """Rule 29: the last quarter waits at most twice as long as the first + 1 ms, and the queue drains in time.

    Waiting is started - due; the drain must end within max(SLO, 1 s) after the last request was due.
    """
    n = len(counted)
    if n < 8:
        return bool(np.all(counted.status == OK))
    if bool(np.any(counted.finished < 0)):
        return False
    wait = counted.started - counted.due
    quarter = n // 4
    first, last = float(np.median(wait[:quarter])), float(np.median(wait[-quarter:]))
    drain_s = float(counted.finished.max() - counted.due.max()) * 1e-9
    return last <= 2 * first + 1e6 and drain_s <= max(slo_s, 1.0)


def goodput(counted: Trace, slo_s: float) -> float:
    """Requests a second that were scheduled in the window and answered within the limit (rule 29)."""
    if len(counted) < 2:
        return 0.0
    window_s = float(counted.due.max() - counted.due.min()) * 1e-9 * len(counted) / (len(counted) - 1)
    good = (counted.status == OK) & (counted.latency_ns <= slo_s * 1e9)
    return float(np.count_nonzero(good)) / window_s if window_s > 0 else 0.0


def near_saturation(rate: float, throughput: float | None) -> bool:
    """Rule 25: above 85 % of what the variant does in batch, percentiles are too low by some percent."""
    return throughput is not None and rate > _SATURATED * throughput


def capacity(trials: Sequence[Trial], *, slo_s: float) -> Capacity | None:
    """Fit the crossing; with fewer than four trials near it, a bracket between passing and failing trials.

    Invalid trials say nothing about the server and are left out; unstable ones only count where too few are stable.
    None without trials. A variant that meets the limit at no rate tried claims 0.
    """
    usable = [t for t in trials if t.level != "invalid"]
    if not usable:
        return None
    stable = [t for t in usable if t.level == "valid"]
    for chosen, level in ((stable, "valid"), (usable, "unstable" if len(stable) < len(usable) else "valid")):
        fitted = _fit(chosen, slo_s)
        if fitted is not None:
            return _described(fitted, chosen, slo_s, "valid" if level == "valid" else "unstable")
    level = "valid" if stable and len(stable) == len(usable) else "unstable"
    return _described(_bracket(usable, slo_s), usable, slo_s, "valid" if level == "valid" else "unstable")


def _described(found: Capacity, trials: Sequence[Trial], slo_s: float, level: Level) -> Capacity:
    fresh = [t for t in trials if t.phase == "confirmation" and math.isfinite(t.quantile_s)]
    failed = (
        found.claim > 0 and bool(fresh) and float(np.mean([math.log(t.quantile_s) for t in fresh])) > math.log(slo_s)
    )
    short = not any(t.carried for t in trials)
    method = found.method
    if short:
        longest = max(t.n for t in trials)
        method += f"; trials of at most {longest} requests are too short for this percentile: indicative"
    return msgspec.structs.replace(found, level=level, predicted=short, fresh_failed=failed, method=method)


def _fit(trials: Sequence[Trial], slo_s: float) -> Capacity | None:
    points = [t for t in trials if t.keeps_up and math.isfinite(t.quantile_s) and t.quantile_s > 0]
    centre = _start(trials, slo_s)
    found = None
    for _ in range(10):
        near = [t for t in points if centre is not None and abs(math.log(t.rate / centre)) <= NEAR]
        found = (_line(near, slo_s) or _level(near, slo_s)) if len(near) >= _LEAST_TRIALS else None
        if found is None or centre is None or abs(math.log(found.crossing / centre)) < 1e-6:
            return found
        centre = found.crossing
    return found


def _start(trials: Sequence[Trial], slo_s: float) -> float | None:
    passing = [t.rate for t in trials if t.passes(slo_s)]
    failing = [t.rate for t in trials if not t.passes(slo_s)]
    if passing and failing:
        return math.sqrt(max(passing) * min(failing))
    return max(passing) if passing else min(failing) if failing else None


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
    error = math.sqrt(noise * (1 / n + away**2 / spread)) / slope
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
    """From the highest rate below every failing one to the lowest failing rate above every passing one."""
    failing = sorted(t.rate for t in trials if not t.passes(slo_s))
    passing = sorted(t.rate for t in trials if t.passes(slo_s) and (not failing or t.rate < failing[0]))
    low = passing[-1] if passing else 0.0
    highest = max((t.rate for t in trials if t.passes(slo_s)), default=0.0)
    high = next((rate for rate in failing if rate > highest), None)
    said = "between rates below all failing and above all passing ones"
    if not passing:
        said = "no rate tried met the limit"
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
