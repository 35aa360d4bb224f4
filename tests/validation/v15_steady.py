"""V15: are the labels of steady state right, and is a flat run called flat?

The truth of each series is planted: flat, exponential warm-up, step down, step up in the middle and at 80 %, sawtooth,
drift, under normal, lognormal and heavy-tailed noise, then noise that is correlated as on a shared machine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from accel.measurement.steady import UNSETTLED, label
from tests.validation.experiment import Row

REPEATS_QUICK, REPEATS = 100, 2000
LENGTHS = (60, 200, 1000, 5000)
Float = npt.NDArray[np.float64]

SHAPES: dict[str, tuple[Callable[[Float], Float], set[str]]] = {
    "flat": (lambda t: np.ones_like(t), {"flat"}),
    "exponential warm-up": (lambda t: 1.0 + np.exp(-t / 0.08), {"warmup"}),
    "step down": (lambda t: np.where(t < 0.3, 1.2, 1.0), {"warmup"}),
    "step up": (lambda t: np.where(t < 0.5, 1.0, 1.2), {"slowdown"}),
    "step up at 80 %": (lambda t: np.where(t < 0.8, 1.0, 1.2), {"slowdown", "none"}),
    "sawtooth": (lambda t: 1.0 + 0.4 * (4.0 * t % 1.0), {"none"}),
    "drift": (lambda t: 1.0 + 0.3 * t, {"slowdown", "none"}),
}
NOISES: dict[str, Callable[[np.random.Generator, int, float], Float]] = {
    "normal": lambda rng, n, s: np.maximum(1.0 + s * rng.normal(size=n), 0.2),
    "lognormal": lambda rng, n, s: np.exp(s * rng.normal(size=n)),
    "heavy-tailed": lambda rng, n, s: 1.0 + s * np.abs(rng.standard_t(2, size=n)),
    "with 5 % of calls three times as long": lambda rng, n, s: (
        np.exp(s * rng.normal(size=n)) * np.where(rng.random(n) < 0.05, 3.0, 1.0)
    ),
}


def quick() -> list[Row]:
    return list(rows(REPEATS_QUICK))


def full() -> Iterator[Row]:
    yield from rows(REPEATS)


def rows(repeats: int) -> Iterator[Row]:
    for shape in SHAPES:
        yield labels(shape, repeats)
    for noise in NOISES:
        yield flat(noise, repeats)
    yield weather(repeats)


def labels(shape: str, repeats: int) -> Row:
    """Share of right labels at 1 and 5 % noise (the criterion), at 10 % as information; the worst over the lengths."""
    began = time.perf_counter()
    form, right = SHAPES[shape]
    shares: dict[float, float] = {}
    wrong: Counter[str] = Counter()
    for scatter in (0.01, 0.05, 0.10):
        found = []
        for n in LENGTHS:
            rng = np.random.default_rng([n, round(scatter * 100)])
            series = form(np.arange(n) / n)
            seen = [label(series * np.exp(scatter * rng.normal(size=n))).label for _ in range(repeats)]
            found.append(sum(s in right for s in seen) / repeats)
            wrong.update(f"{s} at {scatter:.0%}, n={n}" for s in seen if s not in right)
        shares[scatter] = min(found)
    texts = [f"{share:.1%} at {scatter:.0%}" for scatter, share in shares.items()]
    mostly = f"; wrong mostly: {wrong.most_common(1)[0][0]}" if wrong else ""
    return Row(
        experiment="V15",
        what=f"{shape}, lognormal noise, n = 60 to 5000 ({repeats} each)",
        criterion="right label in ≥ 95 % at every n for noise ≤ 5 %",
        measured=", ".join(texts) + mostly,
        passed=min(shares[0.01], shares[0.05]) >= 0.95,
        kind="virtual",
        seconds=time.perf_counter() - began,
    )


def flat(noise: str, repeats: int) -> Row:
    """How often nothing is found where nothing is, at 1, 5 and 10 % noise."""
    began = time.perf_counter()
    make = NOISES[noise]
    quiet: dict[tuple[int, float], float] = {}
    for n in LENGTHS:
        for scatter in (0.01, 0.05, 0.10):
            rng = np.random.default_rng([n, round(scatter * 100), 7])
            found = [label(make(rng, n, scatter)) for _ in range(repeats)]
            quiet[n, scatter] = sum(f.label == "flat" for f in found) / repeats
    (n, scatter), worst = min(quiet.items(), key=lambda item: item[1])
    return Row(
        experiment="V15",
        what=f"flat series, {noise} noise of 1, 5 and 10 %, n = 60 to 5000 ({repeats} each)",
        criterion="no change found in ≥ 95 %",
        measured=f"{worst:.1%} at worst (n={n}, {scatter:.0%} noise)",
        passed=worst >= 0.95,
        kind="virtual",
        seconds=time.perf_counter() - began,
    )


def weather(repeats: int) -> Row:
    """Correlated noise (AR(1), sd 5 %) and bursts of half as much again: how many flat runs W10 would call unstable."""
    began = time.perf_counter()
    texts, worst = [], 0.0
    for name, make in {"AR(1) .9": _correlated(0.9), "AR(1) .99": _correlated(0.99), "bursts": _bursts}.items():
        shares, changed = [], []
        for n in LENGTHS:
            rng = np.random.default_rng([n, 11])
            found = [label(make(rng, n, 0.05)) for _ in range(repeats)]
            shares.append(sum(f.label in ("slowdown", "none") and f.change > UNSETTLED for f in found) / repeats)
            changed.append(sum(f.label in ("slowdown", "none") for f in found) / repeats)
        worst = max(worst, *shares)
        texts.append(f"{name}: {max(shares):.1%} (labelled slowdown or none: {max(changed):.0%})")
    return Row(
        experiment="V15",
        what=f"no change of level, but noise correlated from call to call, n = 60 to 5000 ({repeats} each)",
        criterion="W10 unstable in ≤ 5 %",
        measured="; ".join(texts),
        passed=worst <= 0.05,
        kind="virtual",
        seconds=time.perf_counter() - began,
    )


def _correlated(phi: float) -> Callable[[np.random.Generator, int, float], Float]:
    def make(rng: np.random.Generator, n: int, scatter: float) -> Float:
        from scipy.signal import lfilter

        steps = rng.normal(size=n) * np.sqrt(1.0 - phi**2)
        steps[0] = rng.normal()
        return np.exp(scatter * np.asarray(lfilter([1.0], [1.0, -phi], steps)))

    return make


def _bursts(rng: np.random.Generator, n: int, scatter: float) -> Float:
    """Five bursts a run on average, each about 1 % of it long, in which calls take half as long again."""
    series = np.exp(scatter * rng.normal(size=n))
    for start in rng.integers(0, n, rng.poisson(5)):
        series[start : start + 1 + int(rng.exponential(n / 100))] *= 1.5
    return series
