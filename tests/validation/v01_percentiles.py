"""V1: is the printed percentile an observed value of the right rank, and its interval the right pair of ranks?

The truth is the rank itself, counted in whole numbers (fractions, not floats), and numpy's `inverted_cdf`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.analysis import percentiles
from accel.analysis.runs import Run
from tests.validation.experiment import Row
from tests.validation.virtual import run_of

Float = npt.NDArray[np.float64]
LEVELS = ("0.5", "0.9", "0.95", "0.99", "0.999")
SIZES = (100, 101, 999, 1000, 10_000, 100_000)
PUBLISHED = {1000: (983, 990, 997), 10_000: (9880, 9900, 9920), 100_000: (98_938, 99_000, 99_062)}
"""Ranks of the lower end, the p99 and the upper end, by number of requests (rule 24)."""
SHAPES: dict[str, Callable[[np.random.Generator, int], Float]] = {
    "exponential": lambda rng, n: rng.exponential(1.0, n),
    "lognormal": lambda rng, n: rng.lognormal(0.0, 1.0, n),
    "Pareto": lambda rng, n: rng.pareto(1.5, n) + 1.0,
    "two points": lambda rng, n: np.where(rng.random(n) < 0.97, 1.0, 20.0),
}


def quick() -> list[Row]:
    """Exact, so its full size is this one."""
    return [_points(), _ranks(), _through_a_run()]


def full() -> Iterator[Row]:
    """The same: nothing is drawn that more repeats would make surer."""
    yield from quick()


def _points() -> Row:
    rng = np.random.default_rng(1)
    wrong, checked = [], 0
    for shape, draw in SHAPES.items():
        for n in SIZES:
            values = draw(rng, n)
            ordered = sorted(values.tolist())
            for level in LEVELS:
                found = percentiles.quantile(values, float(level))
                expected = ordered[math.ceil(Fraction(level) * n) - 1]
                checked += 1
                if found != expected or found != np.quantile(values, float(level), method="inverted_cdf"):
                    wrong.append(f"{shape}, n = {n}, p = {level}: {found} for {expected}")
    return _row(
        f"percentiles of {len(SHAPES)} distributions, {SIZES[0]} to {SIZES[-1]:,} values",
        "every one equals the value of rank ceil(n p) and numpy's inverted_cdf",
        wrong,
        f"{checked} of {checked} equal",
    )


def _ranks() -> Row:
    wrong = []
    for n, (low, middle, high) in PUBLISHED.items():
        found = (percentiles.interval_ranks(n, 0.99), percentiles.rank(n, 0.99))
        if found != ((low, high), middle):
            wrong.append(f"n = {n}: {found}")
    for n, closed in ((367, False), (368, True), (3687, False), (3688, True)):
        p = 0.99 if n < 1000 else 0.999
        if (percentiles.interval_ranks(n, p)[1] is not None) != closed:
            wrong.append(f"upper end of p = {p} at n = {n}")
    return _row("ranks of p99 and of its interval", "the check values of rule 24", wrong, "all equal")


def _through_a_run() -> Row:
    """The median that a comparison reads and the p99 that a page prints, of runs with an even number of requests."""
    rng, wrong = np.random.default_rng(2), []
    for n in (20, 998, 1000, 4000):
        run: Run = run_of("one", rng.lognormal(0.0, 1.0, n))
        ordered: list[Any] = sorted(run.latency_s.tolist())
        if run.median_s != ordered[n // 2 - 1]:
            wrong.append(f"median of {n}")
        printed = percentiles.quantile_estimate(run.latency_s, 0.99, unit="s")
        if (printed is not None) != (n >= 1000) or (printed and printed.value != ordered[math.ceil(n * 0.99) - 1]):
            wrong.append(f"p99 of {n}")
    return _row(
        "the median a comparison reads, the p99 a page prints",
        "the value of that rank; no p99 of fewer than 1000 requests",
        wrong,
        "all equal",
    )


def _row(what: str, criterion: str, wrong: list[str], right: str) -> Row:
    return Row(
        experiment="V1",
        what=what,
        criterion=criterion,
        measured=f"{len(wrong)} differ: {wrong[0]}" if wrong else right,
        passed=not wrong,
        kind="virtual",
    )
