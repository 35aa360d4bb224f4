"""How do a batch's seconds depend on how long its items are? Curves by bucket of padded lengths, from batches of items
about as long as each other.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from accel.analysis import Estimate
from accel.analysis.batch_curve import BatchCurve, batch_curve
from accel.analysis.curves import median_of
from accel.analysis.estimates import rate_of_batches
from accel.measurement.trace import Trace

Int64 = npt.NDArray[np.int64]
BUCKETS = 4
_FEWEST = 3
"""Batches of a size in a bucket before they say anything."""


def buckets(lengths: Int64, most: int = BUCKETS) -> list[tuple[int, int]]:
    """(shortest, longest) of up to `most` buckets with about as many items each; one where all are as long.

    >>> buckets(np.array([3, 4, 5, 6, 7, 8, 9, 90]))
    [(3, 4), (5, 6), (7, 8), (9, 90)]
    """
    ordered = np.sort(lengths)
    ends = sorted({int(ordered[max(0, round(len(ordered) * (i + 1) / most) - 1)]) for i in range(most)})
    starts = [int(ordered[0]), *(int(ordered[ordered > end].min()) for end in ends[:-1])]
    return list(zip(starts, ends, strict=True))


def by_length(variant: str, runs: Mapping[int, Trace], lengths: Int64, among: Int64) -> tuple[BatchCurve, ...]:
    """One curve for each bucket in which two sizes were seen.

    runs: by batch size, the trace of an offline run whose batches hold items of like length. lengths: (samples,) length
    of every sample; among: those of the samples that were run, which make the buckets. A batch belongs to the bucket of
    its longest item, which is what it is padded to.
    """
    found = []
    for bucket in buckets(among):
        seconds: dict[int, Estimate] = {}
        items: dict[int, Estimate] = {}
        for size, trace in sorted(runs.items()):
            service_s, longest = batches(trace, size, lengths)
            inside = service_s[(longest >= bucket[0]) & (longest <= bucket[1])]
            middle = median_of([inside])
            if len(inside) >= _FEWEST and middle is not None:
                seconds[size] = middle
                items[size] = rate_of_batches(np.full(len(inside), float(size)), inside, unit="1/s")
        curve = batch_curve(variant, seconds, items, bucket=bucket)
        if curve is not None and len(curve.points) > 1:
            found.append(curve)
    return tuple(found)


def batches(trace: Trace, size: int, lengths: Int64) -> tuple[npt.NDArray[np.float64], Int64]:
    """Service time (s) and longest item of every full batch that was answered and counted."""
    done = trace.counted().ok()
    if not len(done):
        return np.empty(0), np.empty(0, np.int64)
    _, first, inverse = np.unique(done.batch, return_index=True, return_inverse=True)
    longest = np.zeros(len(first), np.int64)
    np.maximum.at(longest, inverse, lengths[done.sample])
    full = done.batch_size[first] == size
    return (done.service_ns[first][full] * 1e-9).astype(np.float64), longest[full]
