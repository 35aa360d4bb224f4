"""Who goes with whom by length: by hand, and what must hold whatever the lengths are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.batching import Decision, Waiting
from accel.batching.bucketed import Bucketed
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.loop import run
from accel.measurement.trace import OK
from accel.scenarios import Plan
from tests.measurement.simulated import Pool, Spin


def picked(costs: list[int], **fields: float) -> tuple[int, ...]:
    policy = Bucketed(**{"max_size": 4, "padding": 1.0, **fields})  # type: ignore[arg-type]
    found = policy.decide(Waiting.of(due_ns=list(range(len(costs))), costs=costs), len(costs))
    assert found.drop == 0
    assert found.recheck_ns is None
    return found.pick if found.pick is not None else tuple(range(found.take))


@pytest.mark.parametrize(
    ("costs", "fields", "pick"),
    [
        ([30], {}, (0,)),
        ([30, 9, 28, 31, 90, 27], {}, (0, 2, 3, 5)),
        ([30, 9, 28, 31, 90, 27], {"max_size": 2}, (0, 3)),
        ([30, 9, 28], {"max_size": 1}, (0,)),
        ([5, 5, 5, 5, 5, 5], {}, (0, 1, 2, 3)),  # all alike: the oldest
        ([30, 28, 32, 31], {"tokens": 64}, (0, 3)),  # 62 with 31; a third would make 93
        ([30, 29, 34, 20], {"tokens": 64}, (0, 1)),  # 2 x 34 = 68 is too much; 29 is nearer anyway
        ([30, 20, 34], {"tokens": 64}, (0, 1)),  # the nearer one is too long for the budget, the shorter one isn't
        ([500, 9], {"tokens": 64}, (0,)),  # alone it may exceed what no batch may
        ([200, 10], {"padding": 0.25}, (0,)),  # 190 of 400 would be padding
        ([10, 200], {"padding": 0.25}, (0,)),
        ([100, 60], {"padding": 0.25}, (0, 1)),  # 40 of 200
        ([100, 60, 60], {"padding": 0.25}, (0, 1)),  # 80 of 300 is more than a quarter
        ([100, 161, 40], {"padding": 0.25}, (0, 1)),  # 60 of 200 for the nearer one is too much, 61 of 322 isn't
        ([7, 8, 7], {"padding": 0.0}, (0, 2)),
        ([30, 90, 90, 30], {"window": 3, "max_size": 2}, (0, 1)),  # the fourth is outside of the window
    ],
)
def test_who_goes_together(costs: list[int], fields: dict[str, float], pick: tuple[int, ...]) -> None:
    assert picked(costs, **fields) == pick


def test_requests_without_lengths_are_taken_in_turn() -> None:
    assert Bucketed(max_size=3).decide(Waiting.of(due_ns=[0] * 9), 1) == Decision(3)


def test_those_passed_over_come_with_their_lengths() -> None:
    """The loop's own view: 2 and 5 were passed over, 7 and 8 came since."""
    lengths = [0, 0, 40, 0, 0, 11, 0, 12, 41]
    waiting = Waiting(count=4, dues=list(range(9)), costs=lengths, head=7, loose=[2, 5], oldest_due_ns=2)
    assert waiting.first_costs(4) == [40, 11, 12, 41] == [waiting.cost(i) for i in range(4)]
    assert waiting.first_costs(1) == [40]
    assert [waiting.due_ns(i) for i in range(4)] == [2, 5, 7, 8]
    assert Bucketed(max_size=2).decide(waiting, 9).pick == (0, 3)


@given(
    costs=st.lists(st.integers(1, 512), min_size=1, max_size=60),
    tokens=st.sampled_from([0, 300, 2000]),
    padding=st.sampled_from([0.0, 0.25, 1.0]),
    size=st.integers(1, 9),
)
def test_no_batch_exceeds_its_budget_unless_alone_and_the_oldest_is_in_it(
    costs: list[int], tokens: int, padding: float, size: int
) -> None:
    pick = picked(costs, tokens=tokens, padding=padding, max_size=size)
    together = [costs[i] for i in pick]
    padded = max(together) * len(together)
    assert pick[0] == 0
    assert list(pick) == sorted(set(pick))
    assert len(pick) <= size
    assert len(pick) == 1 or not tokens or padded <= tokens
    assert len(pick) == 1 or padded - sum(together) <= padding * padded + 1e-9
    others = [c for i, c in enumerate(costs) if i not in pick]
    assert not [c for c in others if min(together) < c < max(together)], "nobody in between is left out"


class Long(Pool):
    """Samples of mixed lengths."""

    def __init__(self, seed: int) -> None:
        super().__init__(64)
        self.lengths = {"x": np.random.default_rng(seed).integers(1, 300, 64)}


@settings(max_examples=12)
@given(
    gaps=st.lists(st.integers(0, 400), min_size=1, max_size=100),
    seed=st.integers(0, 99),
    window=st.integers(1, 40),
    tokens=st.sampled_from([0, 600]),
)
def test_nobody_is_passed_over_for_ever_and_everybody_gets_its_own_answer(
    gaps: list[int], seed: int, window: int, tokens: int
) -> None:
    """Each batch holds the oldest of those that waited: so a request waits at most for those before it in line."""
    clock, pool, n = FakeClock(), Long(seed), len(gaps)
    policy = Bucketed(max_size=4, window=window, tokens=tokens)
    plan = Plan(due_ns=np.cumsum(gaps), sample_ids=np.arange(n) % 64)
    engine = Spin(clock, lambda call, size: 700)
    outcome = run(plan, policy, Feed(engine, pool), clock, drain_ns=1 << 60, capture=frozenset(range(n)))
    trace = outcome.trace
    assert (trace.status == OK).all()
    answers = [float(outcome.captured[i][0]["y"][outcome.captured[i][1], 0]) for i in range(n)]
    assert answers == [i % 64 + 0.5 for i in range(n)], "rows and answers stay in the order of the requests"
    lengths = pool.lengths["x"][trace.sample]
    for batch in range(int(trace.batch.max()) + 1):
        mates = np.flatnonzero(trace.batch == batch)
        waited = np.flatnonzero((trace.batch >= batch) & (trace.due <= trace.taken[mates[0]]))
        assert mates[0] == waited[0], "the oldest goes"
        assert set(mates.tolist()) <= set(waited[:window].tolist())
        assert not tokens or len(mates) == 1 or lengths[mates].max() * len(mates) <= tokens
    assert trace.lag_ns().tolist() == [0] * n


def test_where_everything_waits_little_is_padding() -> None:
    """Batch mode: a thousand texts of 1 to 299 tokens; in turn nearly half is padding, by length a few percent."""
    clock, pool = FakeClock(), Long(1)
    plan = Plan(due_ns=np.zeros(1000, np.int64), sample_ids=np.random.default_rng(2).integers(0, 64, 1000))

    def padded(policy: Bucketed) -> float:
        trace = run(plan, policy, Feed(Spin(clock), pool), clock, drain_ns=1 << 60).trace
        lengths = pool.lengths["x"][trace.sample]
        longest = np.array([lengths[trace.batch == b].max() for b in trace.batch])
        return float(1 - lengths.sum() / longest.sum())

    assert padded(Bucketed(max_size=16, window=1)) == 0.0
    assert padded(Bucketed(max_size=16)) < 0.08
    assert padded(Bucketed(max_size=16, window=16, padding=1.0)) > 0.35
