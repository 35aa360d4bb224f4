"""The search asks where it should, for any kind of server, and says what it could not find out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis.online import Trial
from accel.study.max_qps import FRESH, MOST, REFINING, SPREAD, START, Search

SLO = 0.02


def curve(truth: float, slope: float = 3.0) -> Callable[[float], Trial]:
    """A server without noise whose quantile meets the limit at `truth`."""
    return lambda rate: Trial(rate=rate, quantile_s=SLO * (rate / truth) ** slope, n=4000)


def searched(server: Callable[[float], Trial], predicted: float, seed: int = 0, **more: Any) -> Search:
    search = Search(0.99, SLO, predicted, seed, **more)
    while (rate := search.ask()) is not None:
        search.tell(server(rate))
    return search


def test_a_right_prediction_takes_two_nine_one_and_six() -> None:
    search = searched(curve(100.0), 100.0)
    rates = [t.rate for t in search.trials]
    assert len(rates) == 2 + REFINING + 1 + FRESH
    assert rates[:2] == pytest.approx([100 * (1 - START), 100 * (1 + START)])
    assert all(abs(math.log(rate / 100)) <= SPREAD * 1.01 for rate in rates[2:11])
    assert rates[11] == pytest.approx(25.0, rel=0.01)
    assert [t.phase for t in search.trials] == ["search"] * 12 + ["confirmation"] * 6
    assert rates[12:] == pytest.approx([100.0] * 6, rel=0.01)


def test_without_noise_the_crossing_is_the_truth() -> None:
    found = searched(curve(140.0), 100.0).conclusion()
    assert found is not None
    assert found.crossing == pytest.approx(140.0, rel=1e-3)
    assert found.flags == ()
    assert found.lowest_fail is not None
    assert found.lowest_fail > 139


@given(truth=st.floats(1, 1e5), wrong=st.floats(0.05, 20), slope=st.floats(0.8, 8), seed=st.integers(0, 99))
def test_any_rising_server_is_bracketed_within_twenty_trials(
    truth: float, wrong: float, slope: float, seed: int
) -> None:
    search = searched(curve(truth, slope), truth * wrong, seed)
    assert len(search.trials) <= MOST
    found = search.conclusion()
    assert found is not None
    assert not found.nonmonotone
    if 0.2 <= wrong <= 5:
        assert found.crossing == pytest.approx(truth, rel=0.1)


def test_the_same_trials_give_the_same_next_rate() -> None:
    done = searched(curve(90.0), 100.0, seed=4)
    for made in range(len(done.trials)):
        again = Search(0.99, SLO, 100.0, 4)
        for trial in done.trials[:made]:
            again.tell(trial)
        assert again.ask() == done.trials[made].rate


def test_other_seeds_try_other_rates() -> None:
    first, second = (searched(curve(100.0), 100.0, seed) for seed in (1, 2))
    assert [t.rate for t in first.trials[2:11]] != [t.rate for t in second.trials[2:11]]


def test_a_study_leaves_the_fresh_trials_to_its_confirmation() -> None:
    search = searched(curve(100.0), 100.0, fresh=0, most=MOST - FRESH)
    assert len(search.trials) == 2 + REFINING + 1
    assert all(t.phase == "search" for t in search.trials)


def test_a_server_that_carries_nothing_within_the_limit_claims_nothing() -> None:
    search = searched(lambda rate: Trial(rate=rate, quantile_s=1.0, n=4000), 100.0)
    found = search.conclusion()
    assert found is not None
    assert found.claim == 0.0
    assert all(t.phase == "search" for t in search.trials)


def test_a_growing_queue_fails_whatever_its_quantile() -> None:
    def server(rate: float) -> Trial:
        return Trial(rate=rate, quantile_s=0.5 * SLO, n=4000, keeps_up=rate < 80)

    found = searched(server, 100.0).conclusion()
    assert found is not None
    assert found.claim < 80


def test_what_was_invalid_is_made_once_more_and_is_no_failure() -> None:
    search = Search(0.99, SLO, 100.0, 0)
    first = search.ask()
    assert first is not None
    search.tell(Trial(rate=first, quantile_s=9.0, n=4000, level="invalid"))
    assert search.ask() == first
    search.tell(Trial(rate=first, quantile_s=0.5 * SLO, n=4000))
    assert (search.ask() or 0) > first


def test_a_generator_late_once_is_tried_again_and_late_twice_is_obeyed() -> None:
    search = Search(0.99, SLO, 100.0, 0)
    late = Trial(rate=85.0, quantile_s=9.0, n=4000, level="invalid", generator_late=True)
    search.tell(late)
    assert search.ask() == 85.0
    search.tell(late)
    while (rate := search.ask()) is not None:
        assert rate <= 0.7 * 85 * 1.0001
        search.tell(curve(100.0)(rate))
    found = search.conclusion()
    assert found is not None
    assert found.generator_limited
    assert found.lowest_fail is None


def test_lateness_below_a_rate_that_was_on_time_is_the_machines() -> None:
    late = iter((False, False, True, True, True, *[False] * 20))

    def server(rate: float) -> Trial:
        lags = next(late)
        return Trial(
            rate=rate,
            quantile_s=SLO * (rate / 100) ** 3,
            n=4000,
            level="invalid" if lags else "valid",
            generator_late=lags,
        )

    found = searched(server, 100.0).conclusion()
    assert found is not None
    assert not found.generator_limited
    assert found.crossing == pytest.approx(100.0, rel=1e-3)


def test_a_server_slow_at_low_rates_is_called_nonmonotone() -> None:
    """It waits 2 / rate for batch mates: late below 125/s, in time up to 300/s."""

    def server(rate: float) -> Trial:
        return Trial(rate=rate, quantile_s=2 / rate + 0.004 * (rate / 230) ** 6, n=4000)

    for predicted in (60.0, 150.0, 280.0):
        found = searched(server, predicted).conclusion()
        assert found is not None
        assert found.nonmonotone, predicted
        assert "nonmonotone" in found.flags


def test_fresh_trials_above_the_limit_unconfirm_the_claim() -> None:
    calls: list[float] = []

    def server(rate: float) -> Trial:
        calls.append(rate)
        return Trial(rate=rate, quantile_s=SLO * (rate / 100) ** 3 * (1.3 if len(calls) > 12 else 1.0), n=4000)

    found = searched(server, 100.0).conclusion()
    assert found is not None
    assert found.fresh_failed
    assert found.flags[0] == "unconfirmed"


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="prediction above 0"):
        Search(0.99, SLO, 0.0, 1)
