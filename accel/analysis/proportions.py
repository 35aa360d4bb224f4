"""How sure is a share, a difference of two paired shares, or a mean of paired differences?

Each interval comes with the number of samples that would narrow it enough to decide against a limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
_MOST_SAMPLES = 10_000_000


def clopper_pearson(successes: float, n: float, alpha: float = 0.05) -> Interval:
    """Exact 1 - alpha interval of a share (Clopper & Pearson 1934); counts may be fractions when planning.

    >>> [round(x, 4) for x in clopper_pearson(368, 368)]
    [0.99, 1.0]
    """
    from scipy.stats import beta

    low = 0.0 if successes <= 0 else float(beta.ppf(alpha / 2, successes, n - successes + 1))
    high = 1.0 if successes >= n else float(beta.ppf(1 - alpha / 2, successes + 1, n - successes))
    return low, high


def paired_drop(lost: float, gained: float, n: float, z: float = 1.959964) -> Interval:
    """95 % interval of (lost - gained) / n, the drop in accuracy on the same n samples.

    lost: right in the reference, wrong in the candidate; gained: the other way round. Score interval of Tango (1998):
    unlike the exact interval on the discordant pairs alone (McNemar) it knows that n samples without a loss do not
    prove that there is none.

    >>> [round(x, 4) for x in paired_drop(0, 0, 380)]
    [-0.01, 0.01]
    """
    centre = (lost - gained) / n

    def score(delta: float) -> float:
        b = -lost - gained + (2 * n - lost + gained) * delta
        c = -gained * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        return (lost - gained - n * delta) / math.sqrt(max(variance, 1e-300))

    return _root(lambda d: score(d) - z, -1.0, centre), _root(lambda d: score(d) + z, centre, 1.0)


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero between two ends, by bisection."""
    for _ in range(80):
        middle = (low + high) / 2
        if f(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def mean_interval(differences: npt.NDArray[np.float64]) -> Interval:
    """95 % t-interval of the mean of paired differences.

    Differences within [-1, 1] of which fewer than ten are not zero say little about how rare the rest are: the
    interval is then united with that of the shares of losses and gains, each taken as a whole point.
    """
    from accel.analysis.estimates import t_interval

    _, low, high = t_interval(differences) if differences.size > 1 else (0.0, -math.inf, math.inf)
    moved = int(np.count_nonzero(differences))
    if moved < 10 and bool(np.all(np.abs(differences) <= 1)):
        lost, gained = int(np.count_nonzero(differences > 0)), int(np.count_nonzero(differences < 0))
        few_low, few_high = paired_drop(lost, gained, differences.size)
        return min(low, few_low), max(high, few_high)
    return low, high


def samples_needed(n: int, decides: Callable[[float], bool]) -> int | None:
    """The fewest samples, rounded up to two digits, at which `decides(samples)` holds if the shares stay as they are.

    None if ten million don't do it: the value lies on the limit.
    """
    low, high = n, max(2 * n, 2)
    while not decides(high):
        low, high = high, high * 2
        if high > _MOST_SAMPLES:
            return None
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    digits = int(10 ** max(0, len(str(high)) - 2))
    return -(-high // digits) * digits
