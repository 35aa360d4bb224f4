"""What the loop makes of policies that drop, pick and know lengths; and of workers with an engine each."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from accel.batching import Decision, Waiting
from accel.batching.bucketed import Bucketed
from accel.batching.dynamic import Dynamic
from accel.batching.single import Single
from accel.batching.window import Window
from accel.compilation import Arrays
from accel.errors import VariantError
from accel.measurement import loop
from accel.measurement.clock import FakeClock, SystemClock
from accel.measurement.feeding import Feed, InstanceLost, lengths_of
from accel.measurement.loop import Outcome, run
from accel.measurement.trace import DROPPED, OK, UNFINISHED
from accel.scenarios import Plan
from tests.measurement.simulated import Pool, Spin, VirtualTime


class Says:
    """A policy that decides what it is told, one decision after the other, and notes what it saw."""

    largest = 8

    def __init__(self, *decisions: Decision | Callable[[Waiting, int], Decision]) -> None:
        self._decisions = list(decisions)
        self.saw: list[tuple[list[int], int]] = []

    def decide(self, waiting: Waiting, now_ns: int) -> Decision:
        base = waiting.dues[0]
        self.saw.append(([waiting.due_ns(i) - base for i in range(waiting.count)], now_ns - base))
        assert waiting.oldest_due_ns == waiting.due_ns(0)
        said = self._decisions.pop(0) if self._decisions else Decision(1)
        return said if isinstance(said, Decision) else said(waiting, now_ns)


def open_plan(due: list[int], **more: int) -> Plan:
    return Plan(due_ns=np.array(due, np.int64), sample_ids=np.arange(len(due)) % 64, **more)  # type: ignore[arg-type]


def go(plan: Plan, batcher: object, *, service: int = 100, drain_ns: int = 1 << 60) -> Outcome:
    clock = FakeClock()
    everybody = frozenset(range(len(plan.sample_ids)))
    feed = Feed(Spin(clock, lambda call, n: service), Pool())
    return run(plan, batcher, feed, clock, drain_ns=drain_ns, capture=everybody)  # type: ignore[arg-type]


def test_picked_requests_go_and_the_others_stay_in_their_order() -> None:
    policy = Says(Decision(2, pick=(1, 3)), Decision(1), Decision(2, pick=(0, 2)))
    outcome = go(open_plan([0, 0, 0, 0, 5, 5]), policy)
    assert [seen for seen, _ in policy.saw] == [[0, 0, 0, 0], [0, 0, 5, 5], [0, 5, 5], [5]]
    trace = outcome.trace
    assert trace.batch.tolist() == [1, 0, 2, 0, 3, 2]
    assert trace.started.tolist() == [100, 0, 200, 0, 300, 200]
    assert trace.batch_size.tolist() == [1, 2, 2, 2, 1, 2]
    assert trace.lag_ns().tolist() == [0] * 6
    answers = [float(outcome.captured[i][0]["y"][outcome.captured[i][1], 0]) for i in range(6)]
    assert answers == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]


def test_the_oldest_are_dropped_and_the_next_taken() -> None:
    policy = Says(Decision(2), Decision(2, drop=1), Decision(1, drop=1, pick=(2,)))
    trace = go(open_plan([0, 1, 2, 3, 4, 5, 6, 7]), policy).trace
    # One at once; then seven wait: one is dropped, two go; four wait: one dropped, the third goes; two are left.
    assert trace.status.tolist() == [OK, DROPPED, OK, OK, DROPPED, OK, OK, OK]
    assert trace.taken.tolist() == [0, 100, 100, 100, 200, 300, 200, 400]
    assert trace.started.tolist() == [0, -1, 100, 100, -1, 300, 200, 400]
    assert trace.finished[[1, 4]].tolist() == [-1, -1]
    assert trace.batch.tolist() == [0, -1, 1, 1, -1, 3, 2, 4]
    assert trace.batch_size.tolist() == [1, 0, 2, 2, 0, 1, 1, 1]
    assert trace.lag_ns().tolist() == [0] * 8


def test_a_policy_that_only_drops_is_asked_again_at_once() -> None:
    policy = Says(Decision(0, drop=1), Decision(0, drop=5), Decision(1))
    trace = go(open_plan([0, 0, 0, 50]), policy).trace
    assert policy.saw == [([0, 0, 0], 0), ([0, 0], 0), ([50], 50)]
    assert trace.status.tolist() == [DROPPED] * 3 + [OK]
    assert trace.taken.tolist() == [0, 0, 0, 50]


def test_no_more_is_dropped_or_taken_than_waits() -> None:
    trace = go(open_plan([0, 0, 0]), Says(Decision(9, drop=1))).trace
    assert trace.status.tolist() == [DROPPED, OK, OK]
    assert trace.batch_size.tolist() == [0, 2, 2]


def test_everybody_may_be_dropped() -> None:
    trace = go(open_plan([0, 0, 10]), Says(Decision(0, drop=2), Decision(0, drop=1))).trace
    assert trace.status.tolist() == [DROPPED] * 3


def test_early_drop_keeps_a_server_at_its_capacity_in_overload() -> None:
    """10 ms a batch of up to four, twice as many requests as that allows: half is dropped, the rest is in time."""
    curve = ((1, 0.010), (4, 0.010))
    policy = Dynamic(max_size=4, slo_s=0.030, drop="early", curve=curve)
    due = [i * 1_250_000 for i in range(4000)]  # 800/s against 400/s
    trace = go(open_plan(due), policy, service=10_000_000).trace
    ok = trace.ok()
    assert ok.latency_ns.max() <= 30_000_000
    assert len(ok) == pytest.approx(2000, rel=0.02)
    assert trace.status[trace.status != OK].tolist() == [DROPPED] * (4000 - len(ok))
    patient = go(open_plan(due), Dynamic(max_size=4), service=10_000_000).trace
    assert (patient.latency_ns <= 30_000_000).sum() < 100, "without it nearly everybody is late"


def test_a_dropped_request_of_a_closed_loop_issues_the_next_one() -> None:
    plan = Plan(due_ns=None, sample_ids=np.arange(8), outstanding=2, gap_ns=30)
    trace = go(plan, Says(Decision(1, drop=1), Decision(1), Decision(0, drop=1)), service=100).trace
    # 0 is dropped at 0, so 2 is due at 30; 1 is answered at 100, so 3 is due at 130. 2 runs until 200, and so on.
    assert trace.due.tolist()[:5] == [0, 0, 30, 130, 230]
    assert trace.status.tolist() == [DROPPED, OK, OK, DROPPED, OK, OK, OK, OK]
    assert trace.taken[3] == 200
    assert trace.due[5] == 230, "3 was dropped at 200, 30 later somebody asks again"


def test_a_policy_knows_since_when_the_worker_is_free() -> None:
    since: list[int] = []

    class Looks(Single):
        def decide(self, waiting: Waiting, now_ns: int) -> Decision:
            since.append(waiting.since_ns - waiting.dues[0])
            return super().decide(waiting, now_ns)

    go(open_plan([0, 10, 500]), Looks())
    assert since == [0, 100, 200]


def test_a_policy_knows_how_long_requests_are() -> None:
    pool = Pool()
    pool.lengths = {"a": np.arange(64) * 10, "b": np.full(64, 25)}  # type: ignore[attr-defined]
    seen: list[list[int]] = []

    class Looks(Single):
        def decide(self, waiting: Waiting, now_ns: int) -> Decision:
            seen.append([waiting.cost(i) for i in range(waiting.count)])
            return super().decide(waiting, now_ns)

    clock = FakeClock()
    plan = Plan(due_ns=np.zeros(3, np.int64), sample_ids=np.array([5, 1, 3]))
    run(plan, Looks(), Feed(Spin(clock), pool), clock, drain_ns=1 << 60)
    assert seen == [[50, 25, 30], [25, 30], [30]], "the longest of its inputs"
    assert lengths_of(Pool()) is None
    go(plan, Looks())
    assert seen[3] == [1, 1, 1]


def test_a_timer_that_held_a_batch_back_is_in_the_trace_and_no_lag() -> None:
    trace = go(open_plan([0, 30, 1000, 1010]), Window(size=2, timeout_s=50e-9), service=10).trace
    assert trace.started.tolist() == [30, 30, 1010, 1010]
    assert trace.held is None, "both were full before the time was up"
    trace = go(open_plan([0, 70, 80, 1000]), Window(size=3, timeout_s=50e-9), service=10).trace
    assert trace.started.tolist() == [50, 120, 120, 1000]
    assert trace.held is not None
    assert trace.held.tolist() == [50, 120, 120, 0]
    assert trace.lag_ns().tolist() == [0] * 4


def test_those_passed_over_at_a_limit_are_in_no_row() -> None:
    """Only what was taken appears; what was kept of the answers moves with the rows."""
    plan = open_plan([0] * 6, limit_ns=150)
    outcome = go(plan, Says(Decision(2, pick=(1, 4)), Decision(1, pick=(2,))))
    assert outcome.trace.sample.tolist() == [1, 3, 4]
    assert outcome.trace.batch.tolist() == [0, 1, 0]
    answers = {row: float(out["y"][at, 0]) for row, (out, at) in outcome.captured.items()}
    assert answers == {0: 1.5, 1: 3.5, 2: 4.5}


def test_those_passed_over_at_the_drain_limit_are_unfinished() -> None:
    trace = go(open_plan([0, 0, 0]), Says(Decision(1, pick=(1,))), drain_ns=50).trace
    assert trace.status.tolist() == [UNFINISHED, OK, UNFINISHED]


def test_a_picked_batch_is_no_larger_than_the_engine_takes() -> None:
    clock = FakeClock()
    engine = Spin(clock, sizes=(1, 2))
    policy = Says(Decision(3, pick=(0, 2, 3)))
    trace = run(open_plan([0] * 4), policy, Feed(engine, Pool()), clock, drain_ns=1 << 60).trace
    assert trace.batch.tolist() == [0, 1, 0, 2]
    assert (trace.status == OK).all()


@pytest.mark.parametrize(
    "decision",
    [
        Decision(2, pick=(0, 0)),
        Decision(2, pick=(1, 0)),
        Decision(2, pick=(0,)),
        Decision(1, pick=()),
        Decision(1, pick=(3,)),
        Decision(1, pick=(-1,)),
        Decision(1, drop=1, pick=(0,)),
    ],
)
def test_a_policy_that_picks_who_is_not_there_is_an_error(decision: Decision) -> None:
    with pytest.raises(VariantError, match="picked"):
        go(open_plan([0, 0, 0]), Says(decision))


def test_each_worker_has_its_own_engine_and_enters_it_in_its_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    time = VirtualTime()
    monkeypatch.setattr(loop, "Lock", time.lock)
    monkeypatch.setattr(loop, "Thread", time.thread)
    entered: list[int] = []

    class Own(Feed):
        def enter(self) -> None:
            entered.append(threading.get_ident())

    engines = [Spin(time, lambda call, n: 100), Spin(time, lambda call, n: 300)]
    feeds = [Own(engine, Pool()) for engine in engines]
    trace = run(open_plan([0] * 4), Single(), feeds, time, workers=2, drain_ns=1 << 60).trace
    assert sorted(trace.finished.tolist()) == [100, 200, 300, 300], "whoever comes first"
    assert [len(engine.batches) for engine in engines] == [3, 1]
    assert len(set(entered)) == 2


def test_feeds_are_as_many_as_workers() -> None:
    clock = FakeClock()
    feed = Feed(Spin(clock), Pool())
    with pytest.raises(ValueError, match="3 workers need one feed or 3, but 2"):
        run(open_plan([0]), Single(), [feed, feed], clock, workers=3, drain_ns=0)


def test_outputs_that_are_kept_are_kept_by_the_feed_that_made_them() -> None:
    class Keeps(Feed):
        def keep(self, outputs: Arrays) -> Arrays:
            return {"y": -outputs["y"]}

    clock = FakeClock()
    feed = Keeps(Spin(clock), Pool())
    outcome = run(open_plan([0, 0]), Single(), feed, clock, drain_ns=1 << 60, capture=frozenset({1}))
    assert {r: float(o["y"][at, 0]) for r, (o, at) in outcome.captured.items()} == {1: -1.5}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_lost_instance_ends_the_run(workers: int) -> None:
    class Gone(Spin):
        def run(self, inputs):  # type: ignore[no-untyped-def]
            raise InstanceLost("instance 1 of 2 died")

    clock = SystemClock(spin_ns=0)
    with pytest.raises(InstanceLost, match="died"):
        run(open_plan([0] * 50), Single(), Feed(Gone(clock), Pool()), clock, workers=workers, drain_ns=1 << 60)


def test_buckets_pick_by_the_lengths_of_the_pool() -> None:
    pool = Pool()
    pool.lengths = {"x": np.array([9, 1, 8, 2] * 16)}  # type: ignore[attr-defined]
    clock = FakeClock()
    engine = Spin(clock)
    trace = run(open_plan([0] * 8), Bucketed(max_size=4), Feed(engine, pool), clock, drain_ns=1 << 60).trace
    assert trace.batch.tolist() == [0, 1, 0, 2, 0, 1, 0, 2]
