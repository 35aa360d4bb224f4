"""The simulation that predicts where an SLO breaks, against queueing theory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accel import plugins
from accel.plugins import Named
from accel.simulation.predict import capacity, goodput, latency_quantile_s, poisson, saturation
from accel.simulation.service_times import ServiceTimes

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
    rate = 2 * rho * mu
    found = np.mean(
        [latency_quantile_s(times, policy, rate, 0.99, seed=s, workers=2, requests=20_000) for s in range(20)]
    )
    assert tail(float(found)) == pytest.approx(0.01, abs=0.002)


def test_two_workers_carry_twice_as_much_and_more() -> None:
    one, two = (capacity(constant({1: 10.0}), Named("single"), 0.99, 0.05, workers=c) for c in (1, 2))
    assert 2.0 < two / one < 2.8


def test_a_policy_larger_than_what_was_measured_is_not_extrapolated() -> None:
    times = constant({1: 10.0, 4: 12.0})
    small, large = (capacity(times, Named("dynamic", {"max_size": size}), 0.9, 0.1) for size in (4, 64))
    assert large == pytest.approx(small, rel=0.01)


def test_a_right_guess_changes_nothing_and_a_wrong_one_hardly() -> None:
    times = constant({1: 10.0})
    plain = capacity(times, Named("single"), 0.99, 0.05)
    for factor in (0.3, 0.95, 1.0, 1.05, 1.3):
        assert capacity(times, Named("single"), 0.99, 0.05, near=factor * plain) == pytest.approx(plain, rel=0.011)


@pytest.mark.parametrize("near", [None, 50.0, 104.0, 1000.0])
def test_a_limit_longer_than_the_simulation_carries_no_more_than_the_engine_does(near: float | None) -> None:
    """In 20 s nobody of 2,000 requests is late at any rate; the engine answers 100 a second."""
    found = capacity(constant({1: 10.0}), Named("single"), 0.99, 20.0, requests=2000, near=near)
    assert found == pytest.approx(105.0, rel=0.011)


def test_arrivals_are_the_same_at_every_rate_but_for_the_scale() -> None:
    slow, fast = poisson(10.0, seed=3, requests=50), poisson(40.0, seed=3, requests=50)
    assert slow / 4 == pytest.approx(fast, abs=1.0)
    assert slow[0] != poisson(10.0, seed=4, requests=50)[0]


def test_goodput_is_the_rate_while_everybody_is_in_time_and_nothing_once_nobody_is() -> None:
    times = constant({1: 10.0})
    policy = plugins.make("batching", Named("single"))
    assert goodput(times, policy, 10.0, 1.0) == pytest.approx(10.0, rel=0.05)
    # 200/s into a server of 100/s: of 4,000 requests in 20 s the wait passes 50 ms after some tens.
    assert goodput(times, policy, 200.0, 0.05) < 5
    assert saturation(times, 1, workers=3) == pytest.approx(300)
