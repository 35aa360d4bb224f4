"""Curves by bucket of lengths, from a trace whose service times follow a known rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis.by_length import batches, buckets, by_length
from accel.measurement.trace import Trace


def offline(size: int, lengths: np.ndarray, *, item_s: float = 1e-4, fixed_s: float = 1e-3, n: int = 40) -> Trace:
    """`n` batches of neighbours in length; a batch takes fixed_s + item_s x size x its longest / 10."""
    order = np.argsort(lengths, kind="stable")
    picked = np.concatenate([order[(i * 7) % (len(order) - size + 1) :][:size] for i in range(n)])
    batch = np.repeat(np.arange(n), size)
    longest = lengths[picked].reshape(n, size).max(axis=1)
    took = ((fixed_s + item_s * size * longest / 10) * 1e9).astype(np.int64)
    ends = np.cumsum(took)
    zeros = np.zeros(n * size, np.int64)
    return Trace(
        due=zeros,
        taken=(ends - took)[batch],
        started=(ends - took)[batch],
        finished=ends[batch],
        batch=batch,
        batch_size=zeros + size,
        sample=picked,
        status=zeros,
        warmup=zeros,
    )


LENGTHS = np.repeat(np.array([5, 10, 20, 80]), 50)


def test_each_bucket_has_its_own_curve_and_verdict() -> None:
    """1 ms a call and 0.1 ms for ten tokens: batching pays for short items and hardly for long ones."""
    runs = {size: offline(size, LENGTHS, fixed_s=2e-4) for size in (1, 4, 16)}
    found = by_length("net", runs, LENGTHS, LENGTHS)
    assert [c.bucket for c in found] == [(5, 5), (10, 10), (20, 20), (80, 80)]
    for curve, length in zip(found, (5, 10, 20, 80), strict=True):
        assert [p.size for p in curve.points] == [1, 4, 16]
        for point in curve.points:
            assert point.seconds.value == pytest.approx(2e-4 + 1e-4 * point.size * length / 10, rel=1e-3)
            assert point.items.value == pytest.approx(point.size / point.seconds.value, rel=0.35)
    assert found[0].pays is True
    assert found[0].gain is not None
    assert found[0].gain.value > 3
    assert found[-1].gain is not None
    assert found[-1].gain.value < 1.3


def test_a_batch_belongs_to_the_bucket_of_its_longest() -> None:
    lengths = np.array([3, 9])
    trace = offline(2, lengths, n=5)
    service_s, longest = batches(trace, 2, lengths)
    assert longest.tolist() == [9] * 5
    assert service_s == pytest.approx(1e-3 + 1e-4 * 2 * 9 / 10)


def test_smaller_batches_than_asked_for_are_left_out() -> None:
    trace = offline(4, LENGTHS, n=6)
    assert len(batches(trace, 8, LENGTHS)[0]) == 0
    assert by_length("net", {4: trace}, LENGTHS, LENGTHS) == (), "one size is no curve"


@given(st.lists(st.integers(1, 500), min_size=1, max_size=200))
def test_buckets_hold_every_length_once(lengths: list[int]) -> None:
    found = buckets(np.array(lengths))
    assert 1 <= len(found) <= 4
    for length in lengths:
        assert sum(low <= length <= high for low, high in found) == 1
    assert found == sorted(found)
    assert (found[0][0], found[-1][1]) == (min(lengths), max(lengths))
