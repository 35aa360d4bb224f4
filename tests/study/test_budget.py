"""How a study spends its time, on a clock that only moves when told."""

from __future__ import annotations

from accel.study.budget import Budget
from accel.study.profiles import PROFILES

QUICK = PROFILES["quick"]


class Watch:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_earlier_attempts_took_counts() -> None:
    watch = Watch()
    budget = Budget(300.0, spent_s=120.0, now=watch)
    watch.now += 30
    assert budget.elapsed_s() == 150.0
    assert budget.left_s() == 150.0


def test_screening_ends_before_it_starves_the_comparison() -> None:
    watch = Watch()
    budget = Budget(300.0, now=watch)
    assert budget.allows_screening(slow=True)
    watch.now += 61
    assert not budget.allows_screening(slow=True)
    assert budget.allows_screening()
    watch.now += 75
    assert not budget.allows_screening()
    assert budget.allows_tuning()


def test_a_block_starts_only_if_one_of_the_usual_length_still_fits() -> None:
    watch = Watch()
    budget = Budget(300.0, now=watch)
    assert budget.allows_block(0, QUICK)
    with budget.block():
        watch.now += 40
    watch.now += 170
    assert budget.left_s() == 90.0
    assert budget.allows_block(1, QUICK)
    watch.now += 10
    assert not budget.allows_block(1, QUICK)


def test_the_first_block_is_made_even_when_late_so_that_there_is_an_answer() -> None:
    assert Budget(10.0, spent_s=50.0, now=Watch()).allows_block(0, QUICK)


def test_finalists_shrink_with_the_time_that_is_left_but_never_to_none() -> None:
    watch = Watch()
    many = Budget(3000.0, now=watch).finalists(QUICK)
    few = Budget(300.0, spent_s=250.0, now=watch).finalists(QUICK)
    assert (many, few) == (QUICK.finalists, 1)


def test_a_server_trial_is_long_enough_for_its_percentile_within_the_profiles_limit() -> None:
    budget = Budget(300.0, now=Watch())
    assert budget.server_s(QUICK, 100, rate=1000.0) == QUICK.server_s
    assert budget.server_s(QUICK, 1000, rate=400.0) == 1000 * 1.1 / 400.0
    assert budget.server_s(QUICK, 1000, rate=10.0) == QUICK.server_max_s
