from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis.percentiles import (
    carries,
    interval_ranks,
    quantile,
    quantile_estimate,
    quantile_interval,
    rank,
    required,
)


@pytest.mark.parametrize(
    ("n", "low", "point", "high"), [(1000, 983, 990, 997), (10_000, 9880, 9900, 9920), (100_000, 98938, 99000, 99062)]
)
def test_ranks_of_p99_are_the_specification_s(n: int, low: int, point: int, high: int) -> None:
    assert (interval_ranks(n, 0.99)[0], rank(n, 0.99), interval_ranks(n, 0.99)[1]) == (low, point, high)


def test_upper_end_of_p99_exists_from_368_values_on() -> None:
    assert interval_ranks(367, 0.99)[1] is None
    assert interval_ranks(368, 0.99)[1] == 368
    assert interval_ranks(3687, 0.999)[1] is None
    assert interval_ranks(3688, 0.999)[1] == 3688


@given(st.lists(st.floats(0.0, 1e9), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]))
def test_quantile_is_numpy_s_inverted_cdf(values: list[float], p: float) -> None:
    assert quantile(values, p) == np.quantile(values, p, method="inverted_cdf")


@given(st.lists(st.integers(0, 10**12), min_size=20, max_size=200), st.floats(0.05, 0.95))
def test_a_quantile_was_observed_and_lies_in_its_interval(values: list[int], p: float) -> None:
    low, high = quantile_interval(values, p)
    assert quantile(values, p) in values
    assert low is None or low <= quantile(values, p)
    assert high is None or quantile(values, p) <= high


def test_a_percentile_the_sample_does_not_carry_is_not_printed() -> None:
    assert [required(p) for p in (0.5, 0.9, 0.99, 0.999)] == [20, 100, 1000, 10_000]
    assert not carries(999, 0.99)
    assert carries(1000, 0.99)
    assert quantile_estimate(np.arange(1.0, 1000.0), 0.99, unit="s") is None
    found = quantile_estimate(np.arange(1.0, 1001.0), 0.99, unit="s")
    assert found is not None
    assert (found.low, found.value, found.high) == (983.0, 990.0, 997.0)


@pytest.mark.parametrize(("n", "p"), [(400, 0.5), (400, 0.9), (1000, 0.99)])
def test_interval_covers_the_truth_of_independent_values(n: int, p: float) -> None:
    rng = np.random.default_rng(7)
    truth, hits = -np.log(1 - p), 0
    for _ in range(500):
        low, high = quantile_interval(rng.exponential(size=n), p)
        hits += (low is None or low <= truth) and (high is None or truth <= high)
    assert 0.93 <= hits / 500 <= 0.995


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="at least one"):
        quantile([], 0.5)
