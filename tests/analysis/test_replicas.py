from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis import Estimate
from accel.analysis.burstiness import burstiness
from accel.analysis.fleet import hours, paid, replica_hours
from accel.analysis.replicas import Scaling, autoscaled, count, growth_of, lost_one, needed, split_dispersion


def carries(value: float, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=5, unit="1/s", method="given")


# --- how many ------------------------------------------------------------------------------------------------------


def test_counts_at_the_claim_and_at_both_ends() -> None:
    # 5000 requests/s: 12.5 at 400, 15.6 at 320, 10 at 500.
    found = count(5000, carries(400, 320, 500), Scaling())
    assert (found.count, found.fewest, found.most) == (13, 10, 16)
    assert found.utilisation.value == pytest.approx(5000 / (13 * 400))
    assert found.utilisation.low == pytest.approx(5000 / (13 * 500))
    assert found.utilisation.high == pytest.approx(5000 / (13 * 320))


def test_headroom_and_spare_are_not_added_up() -> None:
    # 80 % full is 16; one to spare is 14: the larger has room for both, though not at once.
    assert needed(5000, 400, Scaling(headroom=0.8, spare=1)) == 16
    assert needed(5000, 400, Scaling(headroom=0.95, spare=2)) == 15


def test_an_open_interval_leaves_the_most_unknown() -> None:
    assert count(100, carries(50, None, 60), Scaling()).most is None


@given(
    rate=st.floats(0.1, 1e6),
    capacity=st.floats(0.5, 5000),
    headroom=st.floats(0.3, 1),
    spare=st.integers(0, 3),
)
def test_the_rest_carry_the_rate_when_the_spares_are_gone(
    rate: float, capacity: float, headroom: float, spare: int
) -> None:
    scaling = Scaling(headroom=headroom, spare=spare)
    found = needed(rate, capacity, scaling)
    assert (found - spare) * capacity >= rate * (1 - 1e-6)
    assert found * headroom * capacity >= rate * (1 - 1e-6)
    if spare:
        assert lost_one(rate * (1 - 1e-6), found, capacity, scaling) == pytest.approx(0, abs=1e-3 * rate)


def test_costs_of_a_fleet_by_hand() -> None:
    found = count(5000, carries(400, 320, 500), Scaling())
    million, day = paid(found, 0.36)
    assert million.value == pytest.approx(13 * 0.36 / 3600 / 5000 * 1e6)
    assert (million.low, million.high) == pytest.approx((10 * 0.02, 16 * 0.02))
    assert day.value == pytest.approx(13 * 24 * 0.36)
    assert paid(found, None)[1].value == 13 * 86400


# --- over time -----------------------------------------------------------------------------------------------------


def test_an_autoscaler_is_late_by_the_metric_window_and_the_start() -> None:
    # One replica carries 100. From window 2 on 250 come and go on coming. Seen at the end of window 2, ordered,
    # ready 30 s later, in the middle of window 3: late are 150 x 60 s + 150 x 60 s - two replicas for 30 s.
    rates = [80.0, 80.0, 250.0, 250.0, 250.0]
    found = autoscaled(rates, 100, Scaling(start_s=30, window_s=60))
    assert found.ready == (1, 1, 1, 3, 3)
    # In window 3 two replicas help for half of it, so one on average: 250 - 200 = 50 a second are late.
    assert found.late == pytest.approx(150 * 60 + 50 * 60)
    assert found.requests == sum(rates) * 60
    assert (found.most, found.fewest, found.changes) == (3, 1, 1)


def test_a_start_longer_than_a_window_is_waited_for() -> None:
    found = autoscaled([80.0, *[250.0] * 5], 100, Scaling(start_s=120, window_s=60))
    # Ordered at 120 s, ready at 240 s, so window 4 (from 240 s on) is the first with three.
    assert found.ready == (1, 1, 1, 1, 3, 3)
    assert found.late == pytest.approx(3 * 150 * 60)


def test_replicas_are_paid_from_their_order_on() -> None:
    found = autoscaled([80.0, *[250.0] * 5], 100, Scaling(start_s=120, window_s=60))
    # One in windows 0 and 1, three (two of them starting) in 2 to 5.
    assert found.replica_hours == pytest.approx((1 + 1 + 3 + 3 + 3 + 3) / 60)


def test_scaling_in_waits_for_the_cool_down() -> None:
    rates = [250.0, *[50.0] * 12]
    found = autoscaled(rates, 100, Scaling(window_s=60, cool_down_s=600))
    # Three until ten windows in a row (600 s) needed one: windows 1 to 10.
    assert found.ready == (*[3] * 10, 1, 1, 1)
    assert found.late == 0


def test_a_steady_load_is_never_scaled() -> None:
    found = autoscaled([250.0] * 50, 100, Scaling())
    assert (found.changes, found.late, found.most, found.fewest) == (0, 0, 3, 3)
    assert found.replica_hours == pytest.approx(50 * 3 / 60)


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=40), st.floats(10, 200), st.floats(0, 300))
def test_room_for_the_growth_leaves_nobody_late(rates: list[float], capacity: float, start_s: float) -> None:
    """Replicas as full as 1 / (1 + g D) allows: the steepest growth over D still fits, as the formula promises."""
    scaling = Scaling(start_s=start_s, window_s=60)
    ahead = -(-scaling.delay_s // 60)  # windows until ordered ones are up for the whole of one
    worst = max((b / a for i, a in enumerate(rates) for b in rates[i : i + int(ahead) + 1]), default=1.0)
    roomy = Scaling(start_s=start_s, window_s=60, headroom=1 / worst)
    assert autoscaled(rates, capacity, roomy).late == pytest.approx(0, abs=1e-6 * sum(rates))


def test_growth_is_the_steepest_over_the_delay() -> None:
    assert growth_of([100, 110, 121], 60, 60) == pytest.approx(0.1 / 60)
    assert growth_of([100, 110, 132], 60, 120) == pytest.approx(0.32 / 120)
    assert growth_of([100, 90, 80], 60, 60) == 0
    assert growth_of([100], 60, 60) == 0
    assert growth_of([0, 50], 60, 60) == 0
    # Counted windows scatter: with a variance of a quarter of the rate 130 is 113 at least, 100 is 115 at most.

    assert growth_of([100, 130], 60, 60, noise=0.25) == 0
    assert growth_of([100, 230], 60, 60, noise=0.25) == pytest.approx(((230 - 3 * 57.5**0.5) / 115 - 1) / 60)


def test_stretches_of_a_day_by_hand() -> None:
    rates = [100, 300, 500, 200, 50]
    found = hours(rates, 60, 120, carries(200, 100, 250), Scaling())
    assert [(h.begin_s, h.rate, h.mean, h.count, h.fewest, h.most) for h in found] == [
        (0, 300, 200, 2, 2, 3),
        (120, 500, 350, 3, 2, 5),
        (240, 50, 50, 1, 1, 1),
    ]
    assert found[0].utilisation.value == pytest.approx(200 / 400)
    # Two stretches of two minutes and one of one; three replicas all the time, or two, three and one.
    assert replica_hours(found, rates, 60, 120) == pytest.approx((3 * 5 / 60, (2 * 2 + 3 * 2 + 1) / 60))


# --- burstiness ----------------------------------------------------------------------------------------------------


def test_poisson_arrivals_have_cv_and_dispersion_one() -> None:
    found = burstiness(np.cumsum(np.random.default_rng(0).exponential(0.01, 100_000)))
    assert found.cv == pytest.approx(1, abs=0.02)
    assert {w for w, _ in found.dispersion} == {0.1, 1.0, 10.0}
    assert all(abs(value - 1) < 0.4 for _, value in found.dispersion)


def test_even_arrivals_have_none() -> None:
    found = burstiness(np.arange(10_000) * 0.01)
    assert found.cv == pytest.approx(0, abs=1e-6)
    assert found.worst < 0.1


def test_a_slow_swing_of_the_rate_is_no_burst() -> None:
    rng = np.random.default_rng(1)
    even = np.cumsum(rng.exponential(0.01, 100_000))
    swung = even + 30 * np.sin(even / 400)
    found = burstiness(np.sort(swung))
    assert found.cv == pytest.approx(1, abs=0.03)
    assert dict(found.dispersion)[1.0] == pytest.approx(1, abs=0.15)


def test_gamma_gaps_have_their_cv_and_its_square_as_dispersion() -> None:
    found = burstiness(np.cumsum(np.random.default_rng(2).gamma(1 / 9, 0.09, 300_000)))
    assert found.cv == pytest.approx(3, rel=0.1)
    assert dict(found.dispersion)[10.0] == pytest.approx(9, rel=0.25)


def test_a_random_split_takes_dispersion_away_as_the_formula_says() -> None:
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.gamma(1 / 9, 0.009, 400_000))
    part = times[rng.integers(0, 4, len(times)) == 0]
    whole, split = (dict(burstiness(t).dispersion)[1.0] for t in (times, part))
    assert split == pytest.approx(split_dispersion(whole, 4), rel=0.2)
