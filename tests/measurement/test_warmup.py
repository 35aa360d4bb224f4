"""Every batch size that can occur has run before anything counts, often and long enough."""

from __future__ import annotations

import numpy as np
import pytest

from accel.batching import Batcher, Decision, Waiting
from accel.batching.dynamic import Dynamic
from accel.batching.fixed import Fixed
from accel.batching.single import Single
from accel.errors import VariantError
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.warmup import sizes_taken, warm_up
from accel.scenarios import Plan
from tests.measurement.simulated import Pool, Spin


def open_plan(n: int, limit_ns: int | None = None) -> Plan:
    return Plan(due_ns=np.zeros(n, np.int64), sample_ids=np.zeros(n, np.int64), limit_ns=limit_ns)


CLOSED = Plan(due_ns=None, sample_ids=np.zeros(100, np.int64))


@pytest.mark.parametrize(
    ("batcher", "plan", "cap", "sizes"),
    [
        (Single(), open_plan(50), None, [1]),
        (Dynamic(max_size=5), open_plan(50), None, [1, 2, 3, 4, 5]),
        (Dynamic(max_size=5), CLOSED, None, [1]),
        (Dynamic(max_size=5), open_plan(3), None, [1, 2, 3]),
        (Dynamic(max_size=5), open_plan(50), 2, [1, 2]),
        (Fixed(size=8), open_plan(80), None, [8]),
        (Fixed(size=8), open_plan(83), None, [3, 8]),
        (Fixed(size=8), open_plan(83, limit_ns=5), None, [8]),
        (Fixed(size=8), open_plan(5), None, [5]),
    ],
)
def test_sizes_are_found_by_asking_the_policy(batcher: Batcher, plan: Plan, cap: int | None, sizes: list[int]) -> None:
    assert sizes_taken(batcher, plan, cap) == sizes


def test_a_policy_that_waits_for_more_than_the_model_takes_is_refused() -> None:
    with pytest.raises(VariantError, match="waits for 8 requests, but the model takes at most 4"):
        sizes_taken(Fixed(size=8), open_plan(80), 4)


def test_a_policy_with_a_timer_is_asked_later_too() -> None:
    class Patient(Fixed):
        def decide(self, waiting: Waiting, now_ns: int) -> Decision:
            full = waiting.count >= self.size or now_ns - waiting.oldest_due_ns > 10**9
            return Decision(min(waiting.count, self.size) if full else 0)

    assert sizes_taken(Patient(size=3), open_plan(9), None) == [1, 2, 3]


def test_unseen_sizes_run_once_then_the_typical_ones_until_both_limits_are_met() -> None:
    clock = FakeClock()
    engine = Spin(clock, lambda call, n: 1_000_000)
    seen: set[int] = {2}
    calls, seconds = warm_up(Feed(engine, Pool()), [1, 2, 3, 4], seen, [0, 1], clock, iterations=10, s=0.012)
    assert engine.batches[:3] == [4, 3, 1], "the largest first: it makes arenas grow once"
    assert set(engine.batches[3:]) == {1, 2, 4}
    assert (calls, len(engine.batches)) == (12, 12)
    assert seconds == pytest.approx(0.012)
    assert seen == {1, 2, 3, 4}


def test_sizes_that_are_padded_to_the_same_run_once() -> None:
    clock = FakeClock()
    engine = Spin(clock, sizes=(2, 8))
    warm_up(Feed(engine, Pool()), [1, 2, 3, 8], set(), [0], clock, iterations=0, s=0.0)
    assert engine.batches == [8, 2]


def test_nothing_more_runs_where_everything_is_warm_already() -> None:
    clock = FakeClock()
    engine = Spin(clock)
    assert warm_up(Feed(engine, Pool()), [1], {1}, [0], clock, iterations=0, s=0.0)[0] == 0


def test_a_slow_model_is_warm_after_three_calls_and_two_seconds() -> None:
    clock = FakeClock()
    engine = Spin(clock, lambda call, n: 900_000_000)
    assert warm_up(Feed(engine, Pool()), [1], {1}, [0], clock, iterations=10, s=0.3)[0] == 3
