"""Where the next server trial is made."""

from __future__ import annotations

import math

import pytest

from accel.study.rates import crossing, requests_needed


def test_without_trials_the_prediction_stands() -> None:
    assert crossing(100.0, [], 0.02) == 100.0


def test_a_trial_on_the_limit_moves_the_centre_to_its_rate() -> None:
    assert crossing(100.0, [(90.0, 0.02)], 0.02) == pytest.approx(90.0)


def test_steps_are_damped_and_go_the_right_way() -> None:
    slower = crossing(100.0, [(100.0, 0.04)], 0.02)
    faster = crossing(100.0, [(100.0, 0.01)], 0.02)
    assert slower == pytest.approx(100.0 * math.exp(-math.log(2) / 3))
    assert faster == pytest.approx(100.0 * math.exp(math.log(2) / 3))
    assert crossing(100.0, [(100.0, 100.0)], 0.02) == pytest.approx(100.0 * math.exp(-0.7))
    assert crossing(100.0, [(100.0, 0.0001)], 0.02) == pytest.approx(100.0 * math.exp(0.35))


def test_it_converges_on_a_known_curve() -> None:
    """q(rate) = 1 / (80 - rate): the limit 0.05 s is met at 60/s."""
    seen: list[tuple[float, float]] = []
    for _ in range(12):
        rate = crossing(70.0, seen, 0.05)
        seen.append((rate, 1 / (80 - min(rate, 79.9))))
    assert crossing(70.0, seen, 0.05) == pytest.approx(60.0, rel=0.03)


@pytest.mark.parametrize(("p", "n"), [(0.5, 20), (0.9, 100), (0.99, 1000), (0.999, 10_000), (0.98, 500)])
def test_requests_a_percentile_needs(p: float, n: int) -> None:
    assert requests_needed(p) == n
