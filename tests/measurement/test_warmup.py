"""Every batch size that can occur has run before anything counts, often and long enough."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from accel.batching import Batcher, Decision, Waiting
from accel.batching.bucketed import Bucketed
from accel.batching.dynamic import Dynamic
from accel.batching.early_commit import EarlyCommit
from accel.batching.fixed import Fixed
from accel.batching.single import Single
from accel.batching.window import Window
from accel.errors import VariantError
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.warmup import sizes_taken, warm_up
from accel.scenarios import Plan
from tests.measurement.simulated import Pool, Spin


def open_plan(n: int, limit_ns: int | None = None) -> Plan:
    return Plan(due_ns=np.zeros(n, np.int64), sample_ids=np.zeros(n, np.int64), limit_ns=limit_ns)


LIMITED = Dynamic(max_size=6, slo_s=0.05, drop="early", curve=((1, 0.001), (6, 0.006)))
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
        (EarlyCommit(size=4), open_plan(50), None, [1, 2, 3, 4]),
        (EarlyCommit(size=4), open_plan(50), 4, [1, 2, 3, 4]),
        (Window(size=4), open_plan(50), 3, [1, 2, 3]),
        (Bucketed(max_size=4), open_plan(50), None, [1, 2, 3, 4]),
        (LIMITED, open_plan(50), 8, [1, 2, 3, 4, 5, 6]),
        (msgspec.structs.replace(LIMITED, drop="age"), open_plan(50), 4, [1, 2, 3, 4]),
        (msgspec.structs.replace(LIMITED, defer=True), open_plan(50), None, [1, 2, 3, 4, 5, 6]),
        (msgspec.structs.replace(LIMITED, slo_s=0.0005), open_plan(50), None, [1]),
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


class Long(Pool):
    """Sample i is i + 1 tokens long."""

    def __init__(self) -> None:
        super().__init__(64)
        self.lengths = {"x": np.arange(64) + 1}


class Sees(Spin):
    """Notes the lengths of each call."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, lambda call, n: 1_000_000)
        self.lengths: list[list[int]] = []

    def run(self, inputs):  # type: ignore[no-untyped-def]
        self.lengths.append((inputs["x"][:, 0].astype(int) + 1).tolist())
        return super().run(inputs)


def test_a_policy_that_picks_by_length_is_warmed_up_with_what_it_puts_together() -> None:
    clock = FakeClock()
    engine = Sees(clock)
    policy = Bucketed(max_size=4, tokens=100)
    ids = np.random.default_rng(0).permutation(64).tolist()
    warm_up(Feed(engine, Long()), [1, 2, 3, 4], set(), ids, clock, iterations=40, s=0.0, batcher=policy)
    # The longest that the budget allows first: 4 x 25, 3 x 33, 2 x 50, 1 x 64 tokens with padding.
    assert engine.lengths[:4] == [[22, 23, 24, 25], [31, 32, 33], [49, 50], [64]]
    assert all(len(c) * max(c) <= 100 for c in engine.lengths)
    assert all(max(c) - min(c) == len(c) - 1 for c in engine.lengths), "neighbours in length"
    fours = [max(c) for c in engine.lengths if len(c) == 4]
    assert len(fours) > 5
    assert min(fours) < 10, "short ones run, too"


def test_a_size_that_a_policy_never_reaches_is_not_run() -> None:
    clock = FakeClock()
    engine = Sees(clock)
    policy = Bucketed(max_size=4, tokens=100)
    warm_up(Feed(engine, Long()), [1, 2, 3, 4], set(), [59, 60, 61, 62], clock, iterations=9, s=0.0, batcher=policy)
    assert {len(c) for c in engine.lengths} == {1}, "two of 60 tokens are more than the budget"


def test_a_policy_that_takes_in_turn_is_warmed_up_in_turn() -> None:
    clock = FakeClock()
    engine = Sees(clock)
    ids = [40, 3, 17]
    warm_up(Feed(engine, Long()), [2], set(), ids, clock, iterations=3, s=0.0, batcher=Dynamic(max_size=2))
    assert engine.lengths == [[41, 4], [4, 18], [18, 41]]
