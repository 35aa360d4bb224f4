"""The choice of a policy: what it must find on curves whose answer is known, and when it must say no."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accel import plugins
from accel.batching.dynamic import Dynamic
from accel.plugins import Named
from accel.simulation.policies import choose
from accel.simulation.predict import capacity, goodput, latency_quantile_s, saturation
from accel.simulation.service_times import ServiceTimes


def line(alpha_ms: float, beta_ms: float, largest: int = 64) -> ServiceTimes:
    sizes = [2**k for k in range(8) if 2**k <= largest]
    return ServiceTimes({b: np.array([round((alpha_ms + beta_ms * b) * 1e6)]) for b in sizes})


@pytest.mark.parametrize(
    ("alpha", "beta", "slo_s", "least"), [(8, 0.5, 0.050, 1200), (2, 2, 0.050, 390), (8, 0.5, 0.025, 530)]
)
def test_it_finds_what_a_hand_tuned_policy_reaches(alpha: float, beta: float, slo_s: float, least: float) -> None:
    times = line(alpha, beta)
    found = choose(times, p=0.99, slo_s=slo_s)
    assert found.verdict == ""
    assert found.policy.name == "dynamic"
    assert found.rate >= least
    policy = plugins.make("batching", found.policy)
    fresh = [capacity(times, policy, 0.99, slo_s, seed=seed) for seed in (1, 2, 3)]
    assert np.mean(fresh) == pytest.approx(found.rate, rel=0.06), "not the luck of one seed"
    assert found.overload >= 0.95
    size = policy.largest
    assert goodput(times, policy, 2 * saturation(times, size), slo_s, seed=7) >= 0.95 * np.mean(fresh)


def test_the_policy_is_plain_data_that_rebuilds_itself() -> None:
    found = choose(line(8, 0.5), p=0.99, slo_s=0.05)
    again = plugins.plain(plugins.make("batching", found.policy))
    assert again == found.policy
    assert found.policy.fields["slo_s"] == 0.05


@pytest.mark.parametrize(
    ("times", "slo_s", "said"),
    [
        (line(0.2, 8), 0.1, "In a batch of 64 each request takes only 2% less of the engine's time than alone."),
        (line(0, 8), 0.1, "In a batch of 2 each request takes no less of the engine's time than alone."),
        (line(8, 0.5, largest=1), 0.1, "It was only measured one request at a time."),
        (line(8, 4), 0.013, "Two requests together take 16 ms, longer than the limit."),
    ],
)
def test_where_batching_does_not_pay_it_says_why(times: ServiceTimes, slo_s: float, said: str) -> None:
    found = choose(times, p=0.9, slo_s=slo_s)
    assert found.policy == Named("single")
    assert found.verdict == said
    assert found.rate == found.single > 0


def test_a_limit_too_tight_for_batches_that_pay_is_said() -> None:
    """A pair takes 16 ms of 17: it saves half of the time, but the limit leaves no room to wait for a free worker."""
    found = choose(line(8, 4), p=0.99, slo_s=0.0165)
    assert found.policy == Named("single")
    assert found.verdict.startswith("Batches that fit within 16.5 ms carry ")


def test_not_even_a_lone_request_in_time_is_a_rate_of_nothing() -> None:
    assert choose(line(8, 0.5), p=0.9, slo_s=0.005).rate == 0.0


def test_several_workers_carry_more() -> None:
    one, two = (choose(line(8, 0.5, 8), p=0.9, slo_s=0.05, workers=k) for k in (1, 2))
    assert 1.8 * one.rate < two.rate < 2.6 * one.rate


def test_a_plain_choice_neither_drops_nor_defers() -> None:
    times = line(8, 0.5, 8)
    plain, best = (choose(times, p=0.9, slo_s=0.03, workers=2, plain=plain) for plain in (True, False))
    assert set(plain.policy.fields) == {"max_size"}
    assert plain.rate < best.rate
    assert plain.overload < 0.5 < best.overload


def test_why_a_claim_needs_a_plain_policy() -> None:
    """Beyond what it carries a policy that drops has no latency left to draw a line through; a plain one has."""
    times, p, slo_s = line(4, 0.5, 32), 0.9, 0.03
    dropping = Dynamic(max_size=32, target=16, slo_s=slo_s, drop="early", curve=times.curve())
    plain = Dynamic(max_size=16)
    for policy, beyond in ((dropping, math.isinf), (plain, math.isfinite)):
        rate = capacity(times, policy, p, slo_s)
        assert latency_quantile_s(times, policy, 0.98 * rate, p) <= slo_s
        assert beyond(latency_quantile_s(times, policy, 1.1 * rate, p))


def test_the_same_seed_gives_the_same_choice() -> None:
    assert choose(line(8, 0.5, 8), p=0.9, slo_s=0.03) == choose(line(8, 0.5, 8), p=0.9, slo_s=0.03)
