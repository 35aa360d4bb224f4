from __future__ import annotations

import math

import numpy as np
import pytest

from accel.analysis.estimates import across_runs, quantile_across, rate_of_batches, t_interval
from accel.analysis.percentiles import quantile_interval


def test_t_interval_by_hand() -> None:
    # mean 2, s = 1, t(0.975, 2) = 4.302653
    mean, low, high = t_interval([1.0, 2.0, 3.0])
    assert (mean, low, high) == pytest.approx((2.0, 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))


def test_across_runs_is_the_geometric_mean() -> None:
    found = across_runs([1.0, 10.0, 100.0], unit="1/s")
    assert found.value == pytest.approx(10.0)
    assert found.low is not None
    assert found.high is not None
    assert found.low * found.high == pytest.approx(100.0)
    assert found.n == 3


def test_one_run_has_no_interval() -> None:
    found = across_runs([5.0], unit="1/s")
    assert (found.value, found.low, found.high) == (5.0, None, None)
    assert "no interval" in found.method


def test_quantile_across_unites_the_runs_interval_with_the_pooled_one() -> None:
    rng = np.random.default_rng(3)
    runs = [rng.lognormal(0, 0.1, 200) for _ in range(4)]
    found = quantile_across(runs, 0.5, unit="s")
    pooled = quantile_interval(np.concatenate(runs), 0.5)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert pooled[0] is not None
    assert pooled[1] is not None
    assert found.low <= pooled[0]
    assert found.high >= pooled[1]
    assert found.n == 4


def test_runs_that_differ_widen_the_interval_that_requests_alone_would_give() -> None:
    rng = np.random.default_rng(3)
    runs = [scale * rng.lognormal(0, 0.01, 200) for scale in (1.0, 1.2, 0.8, 1.1)]
    found = quantile_across(runs, 0.5, unit="s")
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.high / found.low > 1.3


def test_quantile_is_null_if_one_run_is_too_short() -> None:
    assert quantile_across([np.ones(100), np.ones(99), np.ones(100)], 0.9, unit="s") is None
    assert quantile_across([np.ones(100)] * 3, 0.9, unit="s") is not None
    assert quantile_across([], 0.9, unit="s") is None
    assert quantile_across([np.full(100, np.inf)] * 3, 0.9, unit="s") is None


def test_two_runs_fall_back_to_order_statistics_and_say_so() -> None:
    found = quantile_across([np.arange(1.0, 101.0)] * 2, 0.5, unit="s")
    assert found is not None
    assert "can't be seen" in found.method


def test_rate_counts_the_last_smaller_batch_too() -> None:
    found = rate_of_batches(np.array([8.0, 8.0, 4.0]), np.array([1.0, 1.0, 0.5]), unit="1/s")
    assert found.value == pytest.approx(8.0)
    assert found.low == pytest.approx(8.0)
    assert rate_of_batches(np.array([8.0]), np.array([2.0]), unit="1/s").low is None


def test_rate_interval_covers_the_truth() -> None:
    rng, hits = np.random.default_rng(5), 0
    for _ in range(400):
        found = rate_of_batches(np.full(30, 8.0), rng.gamma(25, 1 / 25, 30), unit="1/s")
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 8.0 <= found.high
    assert hits >= 0.92 * 400
