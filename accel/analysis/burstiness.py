"""How bursty are recorded arrivals? Fitted numbers, apart from slow changes of the rate."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
_LOCAL = 200
_LEAST_WINDOWS, _LEAST_COUNT = 20, 5.0
_WINDOWS_S = (0.01, 0.1, 1.0, 10.0, 60.0)


class Burstiness(msgspec.Struct, frozen=True, kw_only=True):
    """cv: standard deviation of the gaps over their mean, each gap taken relative to the rate around it; 1 for Poisson
    arrivals, above 1 in bursts, 0 for even ones.

    dispersion: (window in s, Allan factor) of the counts in windows: E[(N_{k+1} - N_k)^2] / (2 E[N]), the index of
    dispersion that a slowly changing rate leaves alone (Allan 1966; Lowen and Teich 1996); 1 for Poisson arrivals.
    n: how many arrivals they rest on.
    """

    cv: float
    dispersion: tuple[tuple[float, float], ...]
    n: int

    @property
    def worst(self) -> float:
        """The largest index of dispersion of all windows; 1 where none was wide enough to tell."""
        return max((found for _, found in self.dispersion), default=1.0)


def burstiness(offsets_s: Float) -> Burstiness:
    """Fit both to (n,) ascending arrival times in seconds, n >= 3."""
    return Burstiness(cv=_cv(offsets_s), dispersion=tuple(_dispersions(offsets_s)), n=len(offsets_s))


def _cv(offsets_s: Float) -> float:
    gaps = np.diff(offsets_s)
    parts = np.array_split(gaps, max(1, len(gaps) // _LOCAL))
    relative = np.concatenate([part / part.mean() for part in parts if part.mean() > 0])
    return float(relative.std()) if relative.size else 0.0


def _dispersions(offsets_s: Float) -> list[tuple[float, float]]:
    found = []
    for window_s in _WINDOWS_S:
        edges = np.arange(offsets_s[0], offsets_s[-1], window_s)
        if len(edges) < _LEAST_WINDOWS + 1 or len(edges) > 20 * len(offsets_s):
            continue
        counts = np.histogram(offsets_s, edges)[0].astype(np.float64)
        if counts.mean() >= _LEAST_COUNT:
            found.append((window_s, float(np.mean(np.diff(counts) ** 2) / (2 * counts.mean()))))
    return found
