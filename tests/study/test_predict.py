"""The replay that predicts where an SLO breaks, against queueing theory."""

from __future__ import annotations

import numpy as np
import pytest

from accel import plugins
from accel.plugins import Named
from accel.study.predict import ServiceTimes, capacity, latency_quantile_s

MS = 1_000_000


def constant(ms_by_size: dict[int, float]) -> ServiceTimes:
    return ServiceTimes({size: np.full(200, int(ms * MS)) for size, ms in ms_by_size.items()})


@pytest.mark.parametrize(("rho", "p99"), [(0.3, 2.8909), (0.5, 4.3363), (0.7, 7.4855)])
def test_single_reproduces_the_p99_of_md1(rho: float, p99: float) -> None:
    """Sojourn = wait + D; the waits in units of D are those of measurement.md V8, from Crommelin's formula."""
    times = constant({1: 10.0})
    policy = plugins.make("batching", Named("single"))
    found = np.mean([latency_quantile_s(times, policy, rho / 0.01, 0.99, seed=s) for s in range(20)]) / 0.01
    assert found == pytest.approx(p99, rel=0.08)


def test_capacity_of_md1_is_where_theory_puts_it() -> None:
    """An SLO of p99 <= 7.4855 D is met up to rho = 0.7."""
    found = np.mean([capacity(constant({1: 10.0}), Named("single"), 0.99, 0.074855, seed=s) for s in range(10)])
    assert found == pytest.approx(70.0, rel=0.05)


def test_an_slo_below_the_service_time_has_no_capacity() -> None:
    assert capacity(constant({1: 10.0}), Named("single"), 0.9, 0.005) == 0.0


def test_batching_carries_more_where_a_batch_is_cheap_and_no_more_where_it_is_not() -> None:
    cheap = constant({1: 8.5, 2: 9.0, 4: 10.0, 8: 12.0, 16: 16.0})
    linear = constant({1: 8.0, 2: 16.0, 4: 32.0, 8: 64.0, 16: 128.0})
    dynamic = Named("dynamic", {"max_size": 16})
    gain = capacity(cheap, dynamic, 0.9, 0.05) / capacity(cheap, Named("single"), 0.9, 0.05)
    none = capacity(linear, dynamic, 0.9, 0.05) / capacity(linear, Named("single"), 0.9, 0.05)
    assert gain > 3
    assert none < 1.1


def test_medians_are_monotone_in_size_even_if_a_reading_was_not() -> None:
    times = constant({1: 5.0, 2: 4.0, 4: 9.0})
    assert times.median_ns(2) == 5.0 * MS
    assert times.median_ns(3) == 7.0 * MS
    assert times.largest == 4
