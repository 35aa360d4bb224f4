"""A million requests through the real loop: each answer belongs to its request, none lost, none doubled, memory flat.

Random batch sizes, drops, picks, waits and failing engines; one to four workers in real threads, an engine each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.measurement import loop
from accel.measurement.clock import FakeClock, SystemClock
from accel.measurement.feeding import Feed
from accel.measurement.loop import Outcome, run
from accel.measurement.trace import DROPPED, ERROR, OK, UNFINISHED
from accel.scenarios import Plan
from tests.measurement.erratic import Doubles, Erratic, Numbered
from tests.measurement.simulated import VirtualTime

EACH = 125_000
EIGHT_RUNS = [(workers, kept) for workers in (1, 2, 3, 4) for kept in ("all", "few")]


@pytest.fixture(autouse=True)
def _threads_that_interrupt_each_other_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    yield
    sys.setswitchinterval(before)


def assert_nothing_is_lost(outcome: Outcome, engines: list[Doubles], kept: frozenset[int]) -> None:
    """Every request has one fate, the engines saw exactly those that ran, and each answer is its request's own."""
    trace = outcome.trace
    ran = (trace.status == OK) | (trace.status == ERROR)
    seen = sum(engine.seen for engine in engines)
    assert np.array_equal(seen[trace.sample], ran.astype(np.int64)), "lost or doubled"
    assert int(seen.sum()) == int(ran.sum()), "somebody was answered who is in no row"
    assert ((trace.batch >= 0) == ran).all()
    sizes = np.bincount(trace.batch[ran])
    assert (sizes > 0).all()
    assert np.array_equal(sizes[trace.batch[ran]], trace.batch_size[ran])
    gone = trace.status == DROPPED
    assert (trace.taken[gone] >= trace.due[gone]).all()
    assert (trace.started[~ran] == -1).all()
    assert (trace.finished[~ran] == -1).all()
    assert (trace.due[ran] <= trace.taken[ran]).all()
    assert (trace.taken[ran] <= trace.started[ran]).all()
    rows = np.flatnonzero(trace.status == OK)
    assert set(outcome.captured) == kept & set(rows.tolist())
    rows = np.array(sorted(outcome.captured), np.int64)
    answers = np.array([outcome.captured[r][0]["y"][outcome.captured[r][1], 0] for r in rows.tolist()])
    assert np.array_equal(answers, 2.0 * trace.sample[rows] + 1.0), "an answer to another request"


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(("workers", "kept"), EIGHT_RUNS)
def test_a_million_requests_come_through(workers: int, kept: str) -> None:
    order = np.random.default_rng(workers).permutation(EACH).astype(np.int64)
    plan = Plan(due_ns=np.arange(EACH, dtype=np.int64) * 1000, sample_ids=order)
    pool = Numbered(EACH)
    engines = [Doubles(EACH, seed, fails=0.02) for seed in range(workers)]
    feeds = [Feed(engine, pool) for engine in engines]
    capture = frozenset(range(EACH)) if kept == "all" else frozenset(range(0, EACH, 500))
    outcome = run(
        plan,
        Erratic(workers),
        feeds,
        SystemClock(spin_ns=0, yields=workers > 1),
        workers=workers,
        drain_ns=60 * 10**9,
        capture=capture,
    )
    assert len(outcome.trace) == EACH
    counts = np.bincount(outcome.trace.status, minlength=4)
    assert counts[UNFINISHED] == 0
    assert min(counts[OK], counts[ERROR], counts[DROPPED]) > 100, "all three fates occur"
    assert_nothing_is_lost(outcome, engines, capture)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc")
def test_memory_stays_flat_while_requests_go_through() -> None:
    """Between the first and the last quarter of the run no more than what is written down of a request may be touched:
    three columns of 8 bytes and a flag, and 1 MB for the allocator's own ends.
    """
    at: list[int] = []

    class Looks(Doubles):
        calls = 0

        def run(self, inputs):  # type: ignore[no-untyped-def]
            before, self.calls = self.calls, self.calls + inputs["x"].shape[0]
            if before * 4 // EACH != self.calls * 4 // EACH:
                at.append(resident_bytes())
            return super().run(inputs)

    engine = Looks(EACH, 1, fails=0.02)
    feed = Feed(engine, Numbered(EACH))
    plan = Plan(due_ns=np.arange(EACH, dtype=np.int64) * 1000, sample_ids=np.arange(EACH, dtype=np.int64))
    run(plan, Erratic(5, drops=False), feed, SystemClock(spin_ns=0), drain_ns=60 * 10**9)
    assert len(at) == 4
    assert at[-1] - at[0] < 0.75 * EACH * 25 + 1_000_000, at


plans = st.builds(
    lambda gaps, warmup, tail, limit: Plan(
        due_ns=np.cumsum(gaps), sample_ids=np.arange(len(gaps)), warmup=warmup, tail=tail, limit_ns=limit
    ),
    st.lists(st.integers(0, 3000), min_size=1, max_size=120),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([None, None, 20_000, 100_000]),
) | st.builds(
    lambda n, outstanding, gap, limit: Plan(
        due_ns=None, sample_ids=np.arange(n), outstanding=outstanding, gap_ns=gap, limit_ns=limit
    ),
    st.integers(1, 120),
    st.integers(1, 9),
    st.sampled_from([0, 700]),
    st.sampled_from([None, 30_000]),
)


class _NoCollector:
    collect = freeze = unfreeze = staticmethod(lambda: None)


def in_virtual_time(
    plan: Plan, seed: int, clock: FakeClock | VirtualTime, workers: int
) -> tuple[Outcome, list[Doubles]]:
    n = len(plan.sample_ids)

    class Takes(Doubles):
        def run(self, inputs):  # type: ignore[no-untyped-def]
            clock.wait_until(clock.now_ns() + self._dice.randint(1, 5000))
            return super().run(inputs)

    engines: list[Doubles] = [Takes(n, seed + i, fails=0.1) for i in range(workers)]
    feeds = [Feed(engine, Numbered(n)) for engine in engines]
    everybody = frozenset(range(n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "gc", _NoCollector)  # a tenth of a second for each of hundreds of runs
        return run(plan, Erratic(seed), feeds, clock, workers=workers, drain_ns=1 << 60, capture=everybody), engines


@settings(max_examples=150)
@given(plans, st.integers(0, 10**6))
def test_nothing_is_lost_with_one_worker_whatever_the_plan(plan: Plan, seed: int) -> None:
    outcome, engines = in_virtual_time(plan, seed, FakeClock(), 1)
    assert_nothing_is_lost(outcome, engines, frozenset(range(len(plan.sample_ids))))
    if plan.limit_ns is None:
        assert outcome.trace.sample.tolist() == list(range(len(plan.sample_ids)))
        assert UNFINISHED not in outcome.trace.status
    assert (np.diff(outcome.trace.sample) > 0).all(), "one row a request, in due order"


@settings(max_examples=20)
@given(plans, st.integers(0, 10**6), st.integers(2, 4))
def test_nothing_is_lost_with_several_workers_whatever_the_plan(plan: Plan, seed: int, workers: int) -> None:
    time = VirtualTime()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "Lock", time.lock)
        patch.setattr(loop, "Thread", time.thread)
        patch.setattr(loop, "Event", time.event)
        outcome, engines = in_virtual_time(plan, seed, time, workers)
    assert_nothing_is_lost(outcome, engines, frozenset(range(len(plan.sample_ids))))
