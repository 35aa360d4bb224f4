from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from accel.analysis.proportions import clopper_pearson, mean_interval, paired_drop, samples_needed


def test_clopper_pearson_by_hand() -> None:
    # All of n: the lower end is 0.025^(1/n).
    assert clopper_pearson(10, 10) == pytest.approx((0.025**0.1, 1.0))
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert clopper_pearson(368, 368)[0] >= 0.99 > clopper_pearson(367, 367)[0]


def test_no_difference_in_n_samples_is_not_no_difference() -> None:
    # Without discordant pairs the score interval is +-z^2 / (n + z^2).
    z2 = 1.959964**2
    assert paired_drop(0, 0, 100) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)))


@pytest.mark.parametrize(("lost", "gained", "n"), [(12, 2, 50), (3, 1, 300), (5, 5, 80)])
def test_ends_of_paired_drop_are_where_the_score_test_turns(lost: int, gained: int, n: int) -> None:
    # Oracle: the share of gains that maximises the trinomial likelihood under a given drop, found numerically.
    for end, sign in zip(paired_drop(lost, gained, n), (1, -1), strict=True):

        def unlikely(q: float, end: float = end) -> float:
            cells = np.clip([q + end, q, 1 - 2 * q - end], 1e-300, 1)
            return -float(np.dot([lost, gained, n - lost - gained], np.log(cells)))

        q = minimize_scalar(unlikely, bounds=(max(0.0, -end), (1 - end) / 2), options={"xatol": 1e-12}).x
        statistic = (lost - gained - n * end) / np.sqrt(n * (2 * q + end * (1 - end)))
        assert statistic == pytest.approx(sign * 1.959964, abs=1e-3)


@given(st.integers(0, 30), st.integers(0, 30))
def test_swapping_loss_and_gain_mirrors_the_interval(lost: int, gained: int) -> None:
    low, high = paired_drop(lost, gained, 100)
    other_low, other_high = paired_drop(gained, lost, 100)
    assert (low, high) == pytest.approx((-other_high, -other_low), abs=1e-9)
    assert low <= (lost - gained) / 100 <= high


def test_paired_drop_covers_the_truth() -> None:
    rng, hits = np.random.default_rng(2), 0
    for _ in range(300):
        lost, gained, _same = rng.multinomial(400, [0.02, 0.01, 0.97])
        low, high = paired_drop(lost, gained, 400)
        hits += low <= 0.01 <= high
    assert hits >= 0.92 * 300


def test_mean_interval_does_not_trust_a_few_rare_losses() -> None:
    none_lost = np.zeros(200)
    low, high = mean_interval(none_lost)
    assert high > 0.015
    assert low < -0.015
    wide = np.random.default_rng(0).normal(0.02, 0.01, 200)
    low, high = mean_interval(wide)
    assert low < wide.mean() < high < 0.025


def test_samples_needed_finds_the_first_that_decides() -> None:
    assert samples_needed(100, lambda n: paired_drop(0, 0, n)[1] <= 0.01) == pytest.approx(390, abs=10)
    assert samples_needed(100, lambda n: False) is None
