"""How long does a batch take? Measured service times by size, and by length where it matters, to draw from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from accel.batching._curve import Curve

Int64 = npt.NDArray[np.int64]
Service = Callable[[Sequence[int], int], int]
"""(requests of a batch, oldest first; the longest of their lengths) -> its service time in ns."""

_OWN_SCATTER = 30
"""With fewer measurements a size borrows its scatter from the nearest smaller one that has as many, else the first."""


class ServiceTimes:
    """Measured service times (ns) by batch size; between sizes the median lies on a line, as does it between lengths.

    Medians never fall with the size (running maximum, as a larger batch can be padded). What one size scatters around
    its median is resampled.

    >>> times = ServiceTimes({1: np.array([8, 10, 12]), 4: np.array([20])})
    >>> times.median_ns(2), times.largest
    (13.333333333333334, 4)
    """

    def __init__(self, by_size: Mapping[int, Int64]) -> None:
        if not by_size:
            raise ValueError("service times of at least one batch size are needed")
        self._lengths: tuple[int, ...] = (0,)
        self._curves: tuple[_Curve, ...] = (_Curve(by_size),)

    @classmethod
    def by_length(cls, measured: Mapping[tuple[int, int], Int64]) -> ServiceTimes:
        """From times keyed by (size, padded length); beyond the lengths measured, the nearest one's count."""
        lengths = tuple(sorted({length for _, length in measured}))
        if not lengths:
            raise ValueError("service times of at least one batch size are needed")
        times = cls({size: found for (size, length), found in measured.items() if length == lengths[0]})
        times._lengths = lengths
        times._curves = tuple(_Curve({s: v for (s, n), v in measured.items() if n == length}) for length in lengths)
        return times

    @property
    def largest(self) -> int:
        """The largest batch size that was measured (at every length); nothing is extrapolated beyond it."""
        return min(curve.largest for curve in self._curves)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that were measured, ascending."""
        return tuple(int(size) for size in self._curves[0].sizes if size <= self.largest)

    def median_ns(self, size: int, length: int | None = None) -> float:
        """Median service time of a batch of `size`, padded to `length` (None: the longest measured)."""
        if len(self._lengths) == 1 or length is None:
            return self._curves[-1].median(size)
        return float(np.interp(length, self._lengths, [curve.median(size) for curve in self._curves]))

    def curve(self, p: float = 0.5) -> Curve:
        """(size, seconds) at the p-quantile of each size's scatter, never falling, for the longest inputs measured.

        Four significant digits, since a policy that holds it is written into every Result.
        """
        found = self._curves[-1]
        points = [(size, found.median(size) * found.factor(size, p) * 1e-9) for size in self.sizes]
        top = np.maximum.accumulate([seconds for _, seconds in points])
        return tuple((size, float(f"{seconds:.4g}")) for (size, _), seconds in zip(points, top, strict=True))

    def drawn(self, n: int, rng: np.random.Generator) -> Service:
        """Service times for up to `n` requests: the median times a factor that was measured at that size.

        The luck belongs to a batch's oldest request, so that policies and rates can be compared under the same luck.
        """
        luck = rng.random(n).tolist()
        known: dict[tuple[int, int], tuple[float, list[float]]] = {}

        def takes(requests: Sequence[int], longest: int) -> int:
            key = len(requests), longest
            found = known.get(key)
            if found is None:
                found = known[key] = self.median_ns(*key), self._at(longest).scatter(key[0]).tolist()
            median, scatter = found
            return round(median * scatter[int(luck[requests[0]] * len(scatter))])

        return takes

    def _at(self, length: int) -> _Curve:
        return self._curves[min(int(np.searchsorted(self._lengths, length)), len(self._curves) - 1)]


class _Curve:
    """The times of one length."""

    def __init__(self, by_size: Mapping[int, Int64]) -> None:
        self.sizes = np.array(sorted(by_size))
        self._medians = np.maximum.accumulate([float(np.median(by_size[s])) for s in self.sizes])
        own = {int(s): np.sort(by_size[s] / np.median(by_size[s])) for s in self.sizes if len(by_size[s])}
        rich = [s for s, found in own.items() if len(found) >= _OWN_SCATTER] or [int(self.sizes[0])]
        self._scatter = [(size, own[size]) for size in rich]

    @property
    def largest(self) -> int:
        return int(self.sizes[-1])

    def median(self, size: int) -> float:
        return float(np.interp(size, self.sizes, self._medians))

    def scatter(self, size: int) -> npt.NDArray[np.float64]:
        """Factors around the median, ascending."""
        chosen = self._scatter[0][1]
        for _, (larger, found) in pairwise(self._scatter):
            if larger <= size:
                chosen = found
        return chosen

    def factor(self, size: int, p: float) -> float:
        return float(np.quantile(self.scatter(size), p, method="inverted_cdf"))
