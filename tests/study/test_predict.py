"""The replay that predicts where an SLO breaks, against queueing theory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accel import plugins
from accel.measurement import loop
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.plugins import Named
from accel.scenarios import Plan, generator
from accel.study.predict import ServiceTimes, capacity, latency_quantile_s
from tests.measurement.simulated import Pool, Spin

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


@pytest.mark.parametrize("policy", [Named("single"), Named("dynamic", {"max_size": 4}), Named("fixed", {"size": 4})])
def test_the_replay_does_what_the_loop_does(policy: Named) -> None:
    """The same arrivals through the loop on a fake clock, 10 ms a batch whatever its size."""
    batcher = plugins.make("batching", policy)
    due = np.rint(np.cumsum(generator(5, 1, 0).exponential(1e9 / 80, 4000))).astype(np.int64)
    clock = FakeClock()
    plan = Plan(due_ns=due, sample_ids=np.zeros(4000, np.int64))
    feed = Feed(Spin(clock, lambda call, n: 10 * MS), Pool())
    trace = loop.run(plan, batcher, feed, clock, drain_ns=1 << 60).trace
    times = constant({1: 10.0, 2: 10.0, 4: 10.0})
    for p in (0.5, 0.99):
        expected = float(np.quantile(trace.latency_ns, p, method="inverted_cdf")) * 1e-9
        assert latency_quantile_s(times, batcher, 80.0, p, seed=5) == pytest.approx(expected, abs=1e-7)


def test_two_workers_reproduce_the_p99_of_mm2() -> None:
    """P(T > t) = e^(-mu t) + C mu (e^(-mu t) - e^(-th t)) / (th - mu), th = 2 mu - lambda (measurement.md V8)."""
    services = np.random.default_rng(0).exponential(10.0, 20_000)
    times = ServiceTimes({1: np.rint(services * MS).astype(np.int64)})
    mean_s = float(services.mean()) / 1000
    mu, rho, c = 1 / mean_s, 0.7, 0.5765
    th = 2 * mu - 2 * rho * mu

    def tail(t: float) -> float:
        return math.exp(-mu * t) + c * mu * (math.exp(-mu * t) - math.exp(-th * t)) / (th - mu)

    policy = plugins.make("batching", Named("single"))
    found = np.mean([latency_quantile_s(times, policy, 2 * rho * mu, 0.99, seed=seed, workers=2) for seed in range(20)])
    assert tail(float(found)) == pytest.approx(0.01, abs=0.002)


def test_two_workers_carry_twice_as_much_and_more() -> None:
    one, two = (capacity(constant({1: 10.0}), Named("single"), 0.99, 0.05, workers=c) for c in (1, 2))
    assert 2.0 < two / one < 2.8


def test_a_policy_larger_than_what_was_measured_is_not_extrapolated() -> None:
    times = constant({1: 10.0, 4: 12.0})
    small, large = (capacity(times, Named("dynamic", {"max_size": size}), 0.9, 0.1) for size in (4, 64))
    assert large == pytest.approx(small, rel=0.01)
