"""`early_commit` and `window`: what the two timers of other servers make of known arrivals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.batching import Decision, Waiting
from accel.batching.early_commit import EarlyCommit
from accel.batching.window import Window
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.loop import run
from accel.scenarios import Plan
from tests.measurement.simulated import Pool, Spin

MS = 1_000_000
EARLY = EarlyCommit(size=3, timeout_s=0.010)
COLLECT = Window(size=3, timeout_s=0.010)


def waiting(due_ms: list[float], since_ms: float = 0.0, draining: bool = False) -> Waiting:
    return Waiting.of(due_ns=[round(d * MS) for d in due_ms], since_ns=round(since_ms * MS), draining=draining)


@pytest.mark.parametrize(
    ("due_ms", "now_ms", "draining", "decision"),
    [
        ([5], 6, False, Decision(0, 15 * MS)),
        ([5], 15, False, Decision(1)),
        ([5], 6, True, Decision(1)),
        ([5, 6, 7], 7, False, Decision(3)),  # full
        ([5, 6, 7, 8], 9, False, Decision(3)),
        ([5, 15, 16], 16, False, Decision(2)),  # due when it closes: still in; after: in the next one
        ([5, 16, 17, 18], 100, False, Decision(1)),  # closed long ago; those that came later are a batch of their own
    ],
)
def test_early_commit(due_ms: list[float], now_ms: float, draining: bool, decision: Decision) -> None:
    assert EARLY.decide(waiting(due_ms, draining=draining), round(now_ms * MS)) == decision


@pytest.mark.parametrize(
    ("due_ms", "since_ms", "now_ms", "draining", "decision"),
    [
        ([5], 2, 6, False, Decision(0, 15 * MS)),  # the worker was free already: from the first request on
        ([5], 8, 9, False, Decision(0, 18 * MS)),  # the worker came later: from then on, whoever waited longer
        ([5, 6], 8, 18, False, Decision(2)),
        ([5, 6, 7], 8, 9, False, Decision(3)),
        ([5, 6, 7, 8], 8, 9, False, Decision(3)),
        ([5], 8, 9, True, Decision(1)),
    ],
)
def test_window(due_ms: list[float], since_ms: float, now_ms: float, draining: bool, decision: Decision) -> None:
    assert COLLECT.decide(waiting(due_ms, since_ms, draining), round(now_ms * MS)) == decision


def starts(policy: EarlyCommit | Window, due_ns: list[int], service_ns: int) -> tuple[list[int], list[int], list[int]]:
    """When each batch started and how many it held; and the harness's own lag, which a timer must not be."""
    clock = FakeClock()
    # One more, far away, so that nobody is let go early since nobody else will come.
    plan = Plan(due_ns=np.array([*due_ns, due_ns[-1] + 10**12]), sample_ids=np.zeros(len(due_ns) + 1, np.int64))
    feed = Feed(Spin(clock, lambda call, n: service_ns), Pool())
    trace = run(plan, policy, feed, clock, drain_ns=1 << 60).trace
    _, first = np.unique(trace.batch, return_index=True)
    return trace.started[first][:-1].tolist(), trace.batch_size[first][:-1].tolist(), trace.lag_ns().tolist()


ARRIVALS = st.lists(st.integers(0, 8 * MS), min_size=1, max_size=40).map(
    lambda gaps: [sum(gaps[: i + 1]) for i in range(len(gaps))]
)


@settings(max_examples=12)
@given(ARRIVALS, st.integers(1, 30 * MS))
def test_early_commit_is_batches_closed_by_size_or_timer_whoever_is_free(due: list[int], service: int) -> None:
    """A batch closes at its first request + T or with its last place taken; it starts then or when a worker is free."""
    expected, sizes, free, i = [], [], 0, 0
    while i < len(due):
        batch = [d for d in due[i : i + 3] if d <= due[i] + 10 * MS]
        close = batch[-1] if len(batch) == 3 else due[i] + 10 * MS
        expected.append(max(close, free))
        sizes.append(len(batch))
        free = expected[-1] + service
        i += len(batch)
    found, found_sizes, lag = starts(EARLY, due, service)
    assert (found, found_sizes) == (expected, sizes)
    assert set(lag) == {0}


@settings(max_examples=12)
@given(ARRIVALS, st.integers(1, 30 * MS))
def test_window_collects_from_when_a_worker_is_free_and_somebody_waits(due: list[int], service: int) -> None:
    expected, sizes, free, i = [], [], 0, 0
    while i < len(due):
        begun = max(free, due[i])
        batch = [d for d in due[i : i + 3] if d <= begun + 10 * MS]
        expected.append(max(begun, batch[-1]) if len(batch) == 3 else begun + 10 * MS)
        sizes.append(len(batch))
        free = expected[-1] + service
        i += len(batch)
    found, found_sizes, lag = starts(COLLECT, due, service)
    assert (found, found_sizes) == (expected, sizes)
    assert set(lag) == {0}
