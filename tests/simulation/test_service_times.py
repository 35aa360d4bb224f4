"""Service times by size and length: medians by hand, scatter from where it was measured."""

from __future__ import annotations

import numpy as np
import pytest

from accel.simulation.service_times import ServiceTimes


def test_medians_are_monotone_in_size_even_if_a_reading_was_not() -> None:
    times = ServiceTimes({1: np.array([5]), 2: np.array([4]), 4: np.array([9])})
    assert times.median_ns(2) == 5
    assert times.median_ns(3) == 7
    assert (times.largest, times.sizes) == (4, (1, 2, 4))


def test_each_size_scatters_as_it_was_measured_to() -> None:
    wide, narrow = np.tile([50, 100, 150], 20), np.full(60, 400)
    times = ServiceTimes({1: wide, 8: narrow, 16: np.array([800, 900, 1000])})
    takes = times.drawn(3000, np.random.default_rng(0))
    alone = [takes([i], 1) for i in range(3000)]
    assert sorted(set(alone)) == [50, 100, 150]
    assert np.mean(np.array(alone) == 50) == pytest.approx(1 / 3, abs=0.03)
    assert {takes(range(i, i + 8), 1) for i in range(200)} == {400}
    assert {takes(range(i, i + 16), 1) for i in range(200)} == {900}, "three readings are no scatter"


def test_luck_belongs_to_the_oldest_request_whatever_the_size() -> None:
    times = ServiceTimes({1: np.arange(100, 200), 2: np.arange(200, 400, 2)})
    takes = times.drawn(50, np.random.default_rng(1))
    ranks = [sorted(range(50), key=lambda i: takes([i, i + 1][:size], 1)) for size in (1, 2)]
    assert ranks[0] == ranks[1]


def test_lengths_have_curves_of_their_own_with_lines_between() -> None:
    times = ServiceTimes.by_length(
        {(1, 10): np.array([100]), (4, 10): np.array([160]), (1, 30): np.array([300]), (4, 30): np.array([600])}
    )
    assert times.median_ns(1, 10) == 100
    assert times.median_ns(1, 20) == 200
    assert times.median_ns(4, 20) == 380
    assert times.median_ns(4, 99) == times.median_ns(4) == 600
    assert times.drawn(1, np.random.default_rng(0))([0, 0, 0, 0], 20) == 380


def test_the_curve_of_a_policy_is_in_seconds_and_never_falls() -> None:
    times = ServiceTimes({1: np.tile([9_000_000, 10_000_000, 20_000_000], 20), 2: np.full(60, 12_345_678)})
    assert times.curve() == ((1, 0.01), (2, 0.01235))
    assert times.curve(0.95) == ((1, 0.02), (2, 0.02))


def test_no_times_at_all_is_an_error() -> None:
    for make in (ServiceTimes, ServiceTimes.by_length):
        with pytest.raises(ValueError, match="at least one"):
            make({})
