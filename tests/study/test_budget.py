"""How a study spends its time, on a clock that only moves when told."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.study.budget import Budget, BudgetEnded, turn_s
from accel.study.profiles import PROFILES
from accel.study.reference import reference_count

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


@pytest.mark.parametrize(("total_s", "grace_s"), [(10.0, 15.0), (150.0, 15.0), (300.0, 30.0), (3600.0, 360.0)])
def test_whatever_runs_is_cut_so_that_closing_ends_within_the_grace(total_s: float, grace_s: float) -> None:
    watch = Watch()
    budget = Budget(total_s, now=watch)
    watch.now += budget.cut_s()
    assert budget.cut_s() == 0.0
    assert budget.elapsed_s() + budget.wrap_up_s == pytest.approx(total_s + grace_s)


def test_what_has_a_share_of_its_own_is_cut_at_its_end() -> None:
    watch = Watch()
    budget = Budget(300.0, now=watch)
    with budget.within(50.0):
        watch.now += 20
        assert budget.cut_s() == 30.0
        assert budget.preparing_s() == 30.0
        with budget.within(100.0):
            assert budget.cut_s() == 30.0, "the nearer end counts"
        watch.now += 40
        assert budget.cut_s() == 0.0
    assert budget.cut_s() == pytest.approx(300 + 30 - 60 - budget.wrap_up_s)
    with pytest.raises(KeyError), budget.within(1.0):
        raise KeyError
    with pytest.raises(BudgetEnded, match="its share ended while measuring"), budget.within(1.0, "its share"):
        raise BudgetEnded("measuring")
    with pytest.raises(BudgetEnded, match="the budget ended"), budget.within(math.inf, "its share"):
        raise BudgetEnded("measuring")
    assert budget.cut_s() > 100


def test_closing_that_takes_long_moves_the_cut_forward() -> None:
    budget = Budget(300.0, now=Watch())
    before = budget.cut_s()
    budget.keep_for_closing(20.0)
    assert before - budget.cut_s() == pytest.approx(12.0)
    budget.keep_for_closing(1e9)
    assert budget.cut_s() == pytest.approx(300.0 + 30.0 - 27.0), "the budget itself is never touched"
    budget.keep_for_closing(0.1)
    assert budget.cut_s() == before


def test_an_attempt_on_a_study_whose_time_is_up_has_the_grace_alone() -> None:
    budget = Budget(100.0, spent_s=10_000.0, now=Watch())
    assert budget.left_s() == 0.0
    assert budget.cut_s() == pytest.approx(15.0 - budget.wrap_up_s)
    assert budget.allows_rest(1.0)
    assert not budget.allows_block(1, QUICK, 1.0)
    assert not budget.allows_screening(QUICK)
    assert not budget.allows_confirmation(1.0)


def test_screening_ends_before_it_starves_the_comparison() -> None:
    watch = Watch()
    budget = Budget(300.0, now=watch)
    watch.now += 61
    assert budget.allows_screening(QUICK)
    watch.now += 75
    assert not budget.allows_screening(QUICK)
    assert budget.allows_tuning(QUICK, 30.0)
    assert not budget.allows_tuning(QUICK, 40.0), "36 s are left of its share"


def test_slow_compilers_together_take_a_fifth() -> None:
    budget = Budget(300.0, now=Watch())
    assert budget.allows_compiling([]), "one takes half a minute at least"
    assert not Budget(140.0, now=Watch()).allows_compiling([])
    assert budget.allows_compiling([30.0])
    assert not budget.allows_compiling([31.0])
    assert budget.allows_compiling([15.0, 20.0])
    assert not budget.allows_compiling([5.0, 28.0])
    assert Budget(600.0, now=Watch()).allows_compiling([42.0])


def test_a_compiler_may_take_half_of_what_is_left_but_never_the_comparisons_time() -> None:
    watch = Watch()
    budget = Budget(300.0, now=watch)
    assert budget.preparing_s() == pytest.approx(195.0)
    watch.now += 130
    assert budget.preparing_s() == pytest.approx(85.0)
    watch.now += 60
    assert budget.preparing_s() == pytest.approx(55.0)


def after_a_block(then_s: float) -> tuple[Budget, Watch]:
    """300 s, of which a block took the first 40 and something else the next `then_s`."""
    watch = Watch()
    budget = Budget(300.0, now=watch)
    assert budget.allows_block(0, QUICK, 1.0)
    with budget.step("block"):
        watch.now += 40
    watch.now += then_s
    return budget, watch


def test_a_block_starts_only_if_one_of_the_usual_length_still_fits() -> None:
    budget, watch = after_a_block(170)
    assert budget.left_s() == 90.0
    assert budget.allows_block(3, QUICK, 1.0)
    watch.now += 10
    assert not budget.allows_block(3, QUICK, 1.0)


def test_a_second_block_is_begun_only_if_the_third_fits_too() -> None:
    """Blocks of 40 s, 48 s of 300 kept for confirmations: two more need 128 s, the third alone 88 s."""
    budget, watch = after_a_block(132)
    assert budget.left_s() == 128.0
    assert budget.allows_block(1, QUICK, 1.0)
    watch.now += 1
    assert not budget.allows_block(1, QUICK, 1.0)
    assert budget.allows_block(2, QUICK, 1.0), "as the last of three"
    brief = msgspec.structs.replace(QUICK, blocks=2)
    assert budget.allows_block(1, brief, 1.0), "where no more than two are wanted"


def test_the_first_block_may_use_the_grace_but_not_more() -> None:
    watch = Watch()
    budget = Budget(60.0, now=watch)
    watch.now += 55
    assert budget.allows_block(0, QUICK, 60 + 15 - 55 - budget.wrap_up_s)
    assert not budget.allows_block(0, QUICK, 60 + 15 - 55 - budget.wrap_up_s + 1)


def test_a_step_that_was_cut_says_nothing_about_the_next() -> None:
    watch = Watch()
    budget = Budget(300.0, now=watch)

    def cut_short() -> None:
        with budget.step("block"):
            watch.now += 100
            raise BudgetEnded("measuring")

    with pytest.raises(BudgetEnded, match="the budget ended while measuring"):
        cut_short()
    assert budget.usual_s("block", 7.0) == 7.0


def test_profiles_that_search_keep_room_for_it() -> None:
    for name in ("shared", "quiet", "gpu"):
        profile = PROFILES[name]
        budget = Budget(3600.0, spent_s=3600 * (1 - profile.search_share - profile.confirming_share), now=Watch())
        assert not budget.allows_block(1, profile, 1.0)
        assert budget.allows_search(profile, 60.0)
        assert profile.search_share > 0.3
    spent = Budget(3600.0, spent_s=3600 * 0.95, now=Watch())
    assert not spent.allows_search(PROFILES["shared"], 60.0)
    assert spent.allows_confirmation(60.0)


def test_the_load_curve_has_its_share_kept_and_takes_no_more_than_an_eighth() -> None:
    """Of 1,000 s: confirmations end 50 s before the end; trials may take 120 s from the phase's begin on."""
    watch, shared = Watch(), PROFILES["shared"]
    budget = Budget(1000.0, now=watch)
    watch.now += 900
    assert budget.allows_confirmation(50.0, load_share=shared.load_share)
    assert not budget.allows_confirmation(51.0, load_share=shared.load_share)
    assert budget.allows_load(shared, 900.0, 100.0)
    assert not budget.allows_load(shared, 900.0, 101.0), "that is beyond the end"
    assert budget.allows_load(shared, 800.0, 20.0)
    assert not budget.allows_load(shared, 800.0, 21.0), "100 s of 120 s are spent"
    assert QUICK.load_share == 0.0, "a quick study keeps no time for it"


def test_finalists_shrink_with_the_time_that_is_left_but_never_to_none() -> None:
    watch = Watch()
    many = Budget(3000.0, now=watch).finalists(QUICK)
    few = Budget(300.0, spent_s=250.0, now=watch).finalists(QUICK)
    assert (many, few) == (QUICK.finalists, 1)


def test_two_finalists_where_three_blocks_carry_them() -> None:
    """220 s left, 48 s and 15 s kept: 157 s are 23 turns of 6.8 s: 3 in each of six blocks, 7 of three."""
    budget = Budget(300.0, spent_s=80.0, now=Watch())
    assert budget.finalists(QUICK, least=1) == 1
    assert budget.finalists(QUICK) == 2
    assert budget.finalists(QUICK, least=3) == 3


def test_where_three_blocks_carry_not_even_one_the_only_block_takes_whoever_fits() -> None:
    """95 s left, 28 s and 9 s kept: 58 s are 8.6 turns of 6.8 s, nine for one finalist in three blocks."""
    budget = Budget(175.0, spent_s=80.0, now=Watch())
    assert budget.finalists(QUICK) == 2, "two goals have two fastest"
    assert budget.finalists(QUICK, least=3) == 3
    assert budget.finalists(QUICK, least=1) == 1
    assert Budget(175.0, spent_s=115.0, now=Watch()).finalists(QUICK) == 1, "23 s are 3.4 turns, two take four"


def test_a_server_trial_is_long_enough_for_its_percentile_within_the_profiles_limit() -> None:
    budget = Budget(300.0, now=Watch())
    assert budget.server_s(QUICK, 100, rate=1000.0) == QUICK.server_s
    assert budget.server_s(QUICK, 1000, rate=400.0) == 1000 * 1.1 / 400.0
    assert budget.server_s(QUICK, 1000, rate=10.0) == QUICK.server_max_s


@pytest.mark.parametrize(
    ("item_s", "budget_s", "left_s", "count"),
    [
        (0.001, 300.0, 290.0, 15_000),
        (0.1, 300.0, 290.0, 150),
        (0.5, 300.0, 290.0, 64),
        (0.5, 20.0, 18.0, 6),
        (0.5, 10.0, 6.0, 2),
        (100.0, 10.0, 5.0, 2),
    ],
)
def test_the_reference_answers_what_its_share_of_the_time_carries(
    item_s: float, budget_s: float, left_s: float, count: int
) -> None:
    assert reference_count(item_s, budget_s, left_s) == count


@given(
    total_s=st.floats(10.0, 7200.0),
    lengths=st.lists(st.floats(0.1, 2000.0), max_size=60),
    off_by=st.lists(st.floats(0.2, 20.0), min_size=60, max_size=60),
    name=st.sampled_from(sorted(PROFILES)),
)
def test_no_sequence_of_steps_overruns_however_wrong_the_estimates_are(
    total_s: float, lengths: list[float], off_by: list[float], name: str
) -> None:
    """Steps that ask as a study's do, take up to 20 times what was expected, and are cut by their deadline."""
    watch, profile = Watch(), PROFILES[name]
    budget = Budget(total_s, now=watch)
    for i, (seconds, factor) in enumerate(zip(lengths, off_by, strict=False)):
        asks = (
            budget.allows_screening(profile, seconds),
            budget.allows_tuning(profile, seconds),
            budget.allows_block(i % 3, profile, seconds),
            budget.allows_search(profile, seconds),
            budget.allows_confirmation(seconds, load_share=profile.load_share),
            budget.allows_load(profile, 0.9 * budget.elapsed_s(), seconds),
            budget.allows_rest(seconds),
        )
        if asks[i % len(asks)]:
            watch.now += min(seconds * factor, budget.cut_s())
    assert budget.elapsed_s() + budget.wrap_up_s <= total_s + max(15.0, 0.1 * total_s) + 1e-6


def test_the_estimate_of_a_turn_by_hand() -> None:
    """Two closed runs of 1 s with 0.3 s of warm-up and 0.2 s around, a server trial of 2 s with 1.8 s around."""
    assert turn_s(QUICK) == pytest.approx(3.0 + 3.8)
    assert turn_s(QUICK, online=False) == pytest.approx(3.0)
    assert turn_s(QUICK, 12.0) == pytest.approx(12.0 + 3.8), "a slow model's own runs tell more"
