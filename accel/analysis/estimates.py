"""How large is a number that was measured in several runs, and how sure is that?

The unit of replication is the run, never the request (rule 19). Intervals are t-intervals on the logarithms of one
value a run (rules 25, 26); for quantiles of several runs the union with the pooled order statistics is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.analysis import Estimate
from accel.analysis.percentiles import ALPHA, carries, quantile, quantile_estimate, quantile_interval

Array = npt.NDArray[Any]


def t_interval(values: Sequence[float] | Array, alpha: float = ALPHA) -> tuple[float, float, float]:
    """Mean and the ends of its 1 - alpha t-interval, of at least two values."""
    from scipy.stats import t

    x = np.asarray(values, np.float64)
    if x.size < 2:
        raise ValueError("an interval needs at least two values")
    mean = float(x.mean())
    half = float(t.ppf(1 - alpha / 2, x.size - 1)) * float(x.std(ddof=1)) / math.sqrt(x.size)
    return mean, mean - half, mean + half


def across_runs(values: Sequence[float], *, unit: str) -> Estimate:
    """Geometric mean of one positive value a run, with the t-interval of its logarithm (rule 26).

    A single value has no interval: both ends are open, and the method says why.
    """
    logs = np.log(np.asarray(values, np.float64))
    if logs.size == 1:
        return Estimate(value=float(values[0]), low=None, high=None, n=1, unit=unit, method="one run, no interval")
    mean, low, high = t_interval(logs)
    return Estimate(
        value=math.exp(mean),
        low=math.exp(low),
        high=math.exp(high),
        n=int(logs.size),
        unit=unit,
        method=f"t-interval on the logarithms of {logs.size} runs",
    )


def quantile_across(runs: Sequence[Array], p: float, *, unit: str) -> Estimate | None:
    """The p-quantile over several runs (rule 25), or None where one of them doesn't carry it (rule 22).

    Three runs or more: t-interval on the runs' ln quantiles, united with the pooled iid interval. Fewer: the order
    statistics of all requests together, named so, since the scatter between runs can't be seen.
    """
    if not runs or not all(carries(len(run), p) for run in runs):
        return None
    pooled = np.concatenate([np.asarray(run, np.float64) for run in runs])
    if len(runs) < 3:
        return _named(quantile_estimate(pooled, p, unit=unit), len(runs))
    each = [quantile(run, p) for run in runs]
    if not all(math.isfinite(q) and q > 0 for q in each):
        return None
    mean, low, high = t_interval([math.log(q) for q in each])
    pooled_low, pooled_high = quantile_interval(pooled, p)
    return Estimate(
        value=math.exp(mean),
        low=None if pooled_low is None else min(math.exp(low), pooled_low),
        high=None if pooled_high is None else max(math.exp(high), pooled_high),
        n=len(runs),
        unit=unit,
        method=f"t-interval on the logarithms of {len(runs)} runs, united with the order statistics of all requests",
    )


def _named(estimate: Estimate | None, runs: int) -> Estimate | None:
    if estimate is None or runs == 1:
        return estimate
    method = f"order statistics of {estimate.n} requests of {runs} runs; the scatter between runs can't be seen"
    return Estimate(
        value=estimate.value, low=estimate.low, high=estimate.high, n=estimate.n, unit=estimate.unit, method=method
    )


def rate_of_batches(items: Array, seconds: Array, *, unit: str) -> Estimate:
    """Throughput of one run from its batches: all items / all seconds, with the scatter of the batches as interval.

    items, seconds: (batches,) how many items each batch held and how long it took until the next could follow.
    The ratio estimator's variance is that of the residuals seconds - items / rate; fewer than three batches give
    open ends. Runs differ more than batches, and the method says so.
    """
    from scipy.stats import t

    total_items, total_s = float(items.sum()), float(seconds.sum())
    rate, n = total_items / total_s, len(items)
    method = f"scatter of {n} batches within one run; runs differ more"
    if n < 3:
        return Estimate(value=rate, low=None, high=None, n=1, unit=unit, method=method)
    residuals = seconds - items / rate
    relative = math.sqrt(n * float(residuals @ residuals) / (n - 1)) / total_s
    half = float(t.ppf(1 - ALPHA / 2, n - 1)) * relative
    return Estimate(value=rate, low=rate * math.exp(-half), high=rate * math.exp(half), n=1, unit=unit, method=method)
