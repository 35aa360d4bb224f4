"""Which observed value is the p-quantile, how sure is it, and does the sample carry it at all?

Point and interval are order statistics (measurement.md rule 24): nothing is interpolated, nothing assumed about the
shape. The interval takes the requests as independent, which holds for one client at a time, not for a queue.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.analysis import Estimate

ALPHA = 0.05


def required(p: float) -> int:
    """How many requests a run needs before its p-quantile may be printed (rule 22): ten beyond it.

    >>> [required(p) for p in (0.5, 0.9, 0.99, 0.999)]
    [20, 100, 1000, 10000]
    """
    return math.ceil(round(10 / min(p, 1 - p), 6))


def carries(n: int, p: float) -> bool:
    """True if n requests are enough to print their p-quantile with both ends of its interval (rule 22)."""
    if n < required(p):
        return False
    low, high = interval_ranks(n, p)
    return low is not None and high is not None


def rank(n: int, p: float) -> int:
    """The rank k (1-based) of the p-quantile among n sorted values: ceil(n p).

    >>> rank(1000, 0.99)
    990
    """
    # A product such as 1000 x 0.99 must not land a hair above the whole number that is meant.
    return min(n, max(1, math.ceil(round(n * p, 9))))


def interval_ranks(n: int, p: float, alpha: float = ALPHA) -> tuple[int | None, int | None]:
    """Ranks (1-based) of the two ends of the 1 - alpha interval of the p-quantile; None where an end is open.

    Binomial order statistics (rule 24): coverage F(u - 1) - F(l - 1) >= 1 - alpha for independent values.

    >>> interval_ranks(1000, 0.99)
    (983, 997)
    """
    from scipy.stats import binom

    low = int(binom.ppf(alpha / 2, n, p))
    high = int(binom.ppf(1 - alpha / 2, n, p)) + 1
    return (low if low >= 1 else None), (high if high <= n else None)


def quantile(values: npt.ArrayLike, p: float) -> float:
    """x_(ceil(n p)), as numpy's `inverted_cdf`; ValueError without values.

    >>> quantile([3.0, 1.0, 2.0, 4.0], 0.5)
    2.0
    """
    sorted_values = np.sort(np.asarray(values, np.float64))
    if sorted_values.size == 0:
        raise ValueError("a quantile needs at least one value")
    return float(sorted_values[rank(sorted_values.size, p) - 1])


def quantile_interval(values: npt.ArrayLike, p: float, alpha: float = ALPHA) -> tuple[float | None, float | None]:
    """The 1 - alpha order-statistic interval of the p-quantile; None where an end is open."""
    ordered = np.sort(np.asarray(values, np.float64))
    low, high = interval_ranks(ordered.size, p, alpha)
    return (None if low is None else float(ordered[low - 1])), (None if high is None else float(ordered[high - 1]))


def quantile_estimate(values: npt.NDArray[Any], p: float, *, unit: str) -> Estimate | None:
    """The p-quantile of one run's values with its iid interval, or None where the sample doesn't carry it (rule 22)."""
    if not carries(len(values), p) or not math.isfinite(quantile(values, p)):
        return None
    low, high = quantile_interval(values, p)
    return Estimate(
        value=quantile(values, p),
        low=low,
        high=high,
        n=len(values),
        unit=unit,
        method=f"order statistics of {len(values)} requests of one run",
    )
