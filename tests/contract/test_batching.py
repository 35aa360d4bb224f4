"""Every batching policy that the folder holds keeps the contract."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import plugins
from accel.batching import Batcher, Waiting
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.loop import run
from accel.measurement.trace import OK
from accel.plugins import Named
from accel.scenarios import Plan
from tests.measurement.simulated import Pool, Spin

NAMES = plugins.names("batching")


def made(name: str) -> Batcher:
    policy: Batcher = plugins.make("batching", Named(name))
    return policy


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_frozen_struct_with_defaults(name: str) -> None:
    policy = made(name)
    assert isinstance(policy, msgspec.Struct)
    assert policy.__struct_config__.frozen
    assert policy.largest >= 1
    assert type(policy).__doc__


@pytest.mark.parametrize("name", NAMES)
@given(count=st.integers(1, 100), age=st.integers(0, 10**12), idle=st.integers(1, 8), draining=st.booleans())
def test_a_decision_is_within_what_waits_and_its_own_largest(
    name: str, count: int, age: int, idle: int, draining: bool
) -> None:
    policy = made(name)
    waiting = Waiting(count=count, idle_workers=idle, draining=draining, oldest_due_ns=5)
    decision = policy.decide(waiting, 5 + age)
    assert 0 <= decision.take <= min(count, policy.largest)
    assert not draining or decision.take > 0, "nobody else will come: waiting longer would be for ever"
    assert decision.recheck_ns is None or decision.recheck_ns > 5 + age
    assert policy.decide(waiting, 5 + age) == decision, "a policy has no memory"


@pytest.mark.parametrize("name", NAMES)
@given(
    gaps=st.lists(st.integers(0, 50_000_000), min_size=1, max_size=40),
    costs=st.lists(st.integers(1, 512), min_size=40, max_size=40),
    age=st.integers(0, 10**9),
    since=st.integers(0, 10**9),
    draining=st.booleans(),
)
def test_a_decision_about_requests_with_due_times_and_lengths_can_be_carried_out(
    name: str, gaps: list[int], costs: list[int], age: int, since: int, draining: bool
) -> None:
    policy = made(name)
    due = np.cumsum(gaps).tolist()
    waiting = Waiting.of(due_ns=due, costs=costs[: len(due)], since_ns=since, draining=draining, idle_workers=2)
    now = max(due[-1] + age, since)
    decision = policy.decide(waiting, now)
    assert 0 <= decision.drop <= len(due)
    assert 0 <= decision.take <= min(len(due) - decision.drop, policy.largest)
    assert not draining or decision.take + decision.drop > 0
    assert decision.recheck_ns is None or decision.recheck_ns > now
    if decision.pick is not None:
        assert len(decision.pick) == decision.take > 0
        assert list(decision.pick) == sorted(set(decision.pick))
        assert decision.drop <= decision.pick[0] <= decision.pick[-1] < len(due)
    assert policy.decide(waiting, now) == decision, "a policy has no memory"


@pytest.mark.parametrize("name", NAMES)
def test_what_a_result_keeps_of_it_makes_the_same_policy_again(name: str) -> None:
    policy = made(name)
    stored = msgspec.json.encode(plugins.plain(policy))
    assert plugins.make("batching", msgspec.json.decode(stored, type=Named)) == policy


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=6)
@given(
    gaps=st.lists(st.integers(0, 500), min_size=1, max_size=80),
    service=st.integers(1, 2000),
    sizes=st.sampled_from([None, (1,), (1, 8, 64), (4, 16)]),
)
def test_every_request_is_answered_exactly_once_and_with_its_own_answer(
    name: str, gaps: list[int], service: int, sizes: tuple[int, ...] | None
) -> None:
    clock = FakeClock()
    policy = made(name)
    engine = Spin(clock, lambda call, n: service, sizes=sizes)
    n = len(gaps)
    plan = Plan(due_ns=np.cumsum(gaps), sample_ids=np.arange(n) % 64)
    waits = sizes is not None and policy.decide(Waiting(count=max(sizes)), 1 << 60).take == 0
    if waits:
        return  # asks for more than this engine takes; `sizes_taken` refuses that before a run
    outcome = run(plan, policy, Feed(engine, Pool()), clock, drain_ns=1 << 60, capture=frozenset(range(n)))
    trace = outcome.trace
    assert len(trace) == n
    assert (trace.status == OK).all()
    assert (trace.started >= trace.due).all()
    assert (np.diff(trace.started) >= 0).all(), "first come, first served (the pool's samples have no lengths)"
    assert np.bincount(trace.batch).tolist() == trace.batch_size[np.unique(trace.batch, return_index=True)[1]].tolist()
    assert (trace.lag_ns() == 0).all(), "a policy that waits is no late harness"
    answers = [float(outcome.captured[i][0]["y"][outcome.captured[i][1], 0]) for i in range(n)]
    assert answers == [i % 64 + 0.5 for i in range(n)]
