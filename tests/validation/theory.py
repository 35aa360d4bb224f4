"""What queueing theory says about M/D/1 and M/M/c: waits in closed form, in units of the service time."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

_DIGITS = 80


def md1_mean(rho: float) -> float:
    """Mean wait in units of D: rho / (2 (1 - rho)) (Pollaczek and Khinchine)."""
    return rho / (2 * (1 - rho))


def md1_sd(rho: float) -> float:
    """Standard deviation of the wait in units of D."""
    return math.sqrt(rho**2 / (4 * (1 - rho) ** 2) + rho / (3 * (1 - rho)))


def md1_cdf(t: float, rho: float) -> float:
    """P(wait <= t D) after Erlang; the terms alternate and cancel, hence 80 digits."""
    with localcontext() as context:
        context.prec = _DIGITS
        r, x, total = Decimal(rho), Decimal(t), Decimal(0)
        for k in range(math.floor(t) + 1):
            u = r * (x - k)
            total += (-u) ** k / Decimal(math.factorial(k)) * u.exp() if u or k else Decimal(1)
        return float((1 - r) * total)


def md1_quantile(p: float, rho: float) -> float:
    """The wait in units of D that the share p doesn't exceed; 0 where so many don't wait at all."""
    return 0.0 if p <= 1 - rho else _solved(lambda t: md1_cdf(t, rho), p, 200.0)


def mmc_delayed(rho: float, c: int) -> float:
    """Share that has to wait in M/M/c (Erlang C)."""
    a = c * rho
    last = a**c / math.factorial(c) / (1 - rho)
    return last / (math.fsum(a**k / math.factorial(k) for k in range(c)) + last)


def mmc_mean(rho: float, c: int) -> float:
    """Mean wait in units of the mean service time."""
    return mmc_delayed(rho, c) / (c * (1 - rho))


def mmc_quantile(p: float, rho: float, c: int) -> float:
    """The wait in units of the mean service time that the share p doesn't exceed."""
    return max(0.0, math.log(mmc_delayed(rho, c) / (1 - p)) / (c * (1 - rho)))


def _solved(cdf: Callable[[float], float], p: float, high: float) -> float:
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if cdf(middle) < p else (low, middle)
    return (low + high) / 2
