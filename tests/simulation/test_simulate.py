"""The simulator against the loop itself, which must decide the same, and against what can be counted by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.batching import Batcher, Decision, Waiting
from accel.batching.bucketed import Bucketed
from accel.batching.dynamic import Dynamic
from accel.batching.early_commit import EarlyCommit
from accel.batching.fixed import Fixed
from accel.batching.single import Single
from accel.batching.window import Window
from accel.errors import InputError, VariantError
from accel.measurement import loop
from accel.measurement.clock import Clock, FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.trace import Trace
from accel.scenarios import Plan
from accel.simulation.service_times import ServiceTimes
from accel.simulation.simulate import Simulated, simulate
from tests.measurement.simulated import Pool, Spin, VirtualTime

MS = 1_000_000
CURVE = ((1, 900e-9), (8, 2000e-9))
SLO_S = 4000e-9


def dynamic(drop: Any, *, defer: bool = False, target: int = 5) -> Dynamic:
    return Dynamic(max_size=8, target=target, slo_s=SLO_S, drop=drop, defer=defer, curve=CURVE)


POLICIES: dict[str, Batcher] = {
    "single": Single(),
    "fixed": Fixed(size=3),
    "dynamic": Dynamic(max_size=4),
    "early": dynamic("early"),
    "queue": dynamic("queue"),
    "age": dynamic("age"),
    "defer": dynamic("early", defer=True),
    "early_commit": EarlyCommit(size=4, timeout_s=1500e-9),
    "window": Window(size=4, timeout_s=1500e-9),
    "bucketed": Bucketed(max_size=4, window=6),
    "bucketed, budget": Bucketed(max_size=6, tokens=40, window=8),
}
GAPS = st.lists(st.integers(0, 3000), min_size=1, max_size=60)


class Known(Spin):
    """Takes as long as `service_ns(requests)` says; the first request of a batch is known by its sample."""

    def __init__(self, clock: Clock, service_ns: Callable[[list[int]], int]) -> None:
        super().__init__(clock)
        self._known = service_ns

    def run(self, inputs: Any) -> Any:
        ids = [int(x) for x in inputs["x"][:, 0]]
        self._service = lambda call, n: self._known(ids)
        return super().run(inputs)


def takes(requests: Sequence[int], longest: int = 1) -> int:
    """Any function of who is in the batch; odd, so that hardly two things happen at one instant."""
    return 700 + 171 * len(requests) + 37 * (requests[0] % 11)


def looped(due: list[int], policy: Batcher, costs: list[int] | None, clock: Any, workers: int = 1) -> Trace:
    """What the real loop does."""
    n = len(due)
    plan = Plan(due_ns=np.array(due, np.int64), sample_ids=np.arange(n))
    feed = Feed(Known(clock, takes), Pool(n))
    feed.lengths = None if costs is None else np.array(costs)
    return loop.run(plan, policy, feed, clock, workers=workers, drain_ns=1 << 60).trace


def same(found: Simulated, trace: Trace) -> None:
    assert found.finished.tolist() == trace.finished.tolist()
    assert found.batch.tolist() == trace.batch.tolist()
    assert found.taken.tolist() == trace.taken.tolist()
    answered = found.batch >= 0
    assert found.size[found.batch[answered]].tolist() == trace.batch_size[answered].tolist()


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=12)
@given(gaps=GAPS, data=st.data())
def test_it_decides_as_the_loop_decides(name: str, gaps: list[int], data: st.DataObject) -> None:
    """Same batches, same drops, same times to the nanosecond, whatever the policy."""
    due = list(itertools.accumulate(gaps))
    costs = data.draw(st.lists(st.integers(1, 12), min_size=len(due), max_size=len(due)))
    policy = POLICIES[name]
    given_costs = costs if name.startswith("bucketed") else None
    trace = looped(due, policy, given_costs, FakeClock(start_ns=77))
    found = simulate(np.array(due), policy, takes, costs=given_costs)
    assert len(found.finished) == len(due)
    same(found, trace)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("workers", [2, 3])
def test_several_workers_decide_as_in_the_loop(name: str, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(workers)
    due = np.cumsum(rng.integers(0, 1500, 60)).tolist()
    costs = rng.integers(1, 12, 60).tolist() if name.startswith("bucketed") else None
    time = VirtualTime()
    monkeypatch.setattr(loop, "Lock", time.lock)
    monkeypatch.setattr(loop, "Thread", time.thread)
    trace = looped(due, POLICIES[name], costs, time, workers)
    found = simulate(np.array(due), POLICIES[name], takes, costs=costs, workers=workers)
    assert found.finished.tolist() == trace.finished.tolist()
    assert found.batch.tolist() == trace.batch.tolist()


def test_a_wrong_simulator_would_be_noticed() -> None:
    """Two policies that differ in a detail don't decide the same, so the property above can fail."""
    due = np.cumsum(np.full(60, 150))
    early, queue = (simulate(due, dynamic(rule), takes) for rule in ("early", "queue"))
    assert early.batch.tolist() != queue.batch.tolist()


def test_by_hand_two_in_a_batch_and_one_too_late() -> None:
    """A batch takes 10; limit 25 from being due. The figures are in the comments."""

    class OldestTwo(Fixed):
        def decide(self, waiting: Waiting, now_ns: int) -> Decision:
            late = sum(now_ns + 10 > waiting.due_ns(i) + 25 for i in range(waiting.count))
            return Decision(min(2, waiting.count - late), None, late)

    found = simulate(np.array([0, 1, 2, 3, 4, 5, 40]), OldestTwo(), lambda requests, longest: 10)
    # 0 alone at 0; 1, 2 at 10; 3 is dropped at 20 (20 + 10 > 3 + 25), and so is 4 (30 > 29); 5 may go, due by 30.
    assert found.batch.tolist() == [0, 1, 1, -1, -1, 2, 3]
    assert found.finished.tolist() == [10, 20, 20, -1, -1, 30, 50]
    assert found.taken.tolist() == [0, 10, 10, 20, 20, 20, 40]
    assert found.dropped == pytest.approx(2 / 7)
    assert found.busy == pytest.approx(40 / 50)
    assert found.quantile_s(0.5) == pytest.approx(19e-9)
    assert found.quantile_s(0.99) == np.inf
    # Window: 40 ns between the first and the last of seven requests, so seven mean gaps take 46.7 ns.
    assert found.goodput(18.5e-9) == pytest.approx(3 / (40e-9 * 7 / 6))


def test_lead_and_tail_of_a_plan_do_not_count() -> None:
    plan = Plan(due_ns=np.array([0, 10, 20, 30]), sample_ids=np.zeros(4, np.int64), warmup=1, tail=1)
    found = simulate(plan, Single(), lambda requests, longest: 15)
    assert found.latency_s.tolist() == pytest.approx([20e-9, 25e-9])


def test_several_workers_share_the_queue() -> None:
    found = simulate(np.array([0, 0, 0]), Single(), lambda requests, longest: 10, workers=2)
    assert sorted(found.finished.tolist()) == [10, 10, 20]
    assert found.busy == pytest.approx(30 / 40)


def test_the_longest_of_a_batch_sets_its_service_time() -> None:
    found = simulate(np.array([0, 0, 0]), Fixed(size=2), lambda requests, longest: longest, costs=[3, 9, 4])
    assert found.service.tolist() == [9, 4]


def test_nothing_larger_is_simulated_than_what_was_measured() -> None:
    times = ServiceTimes({1: np.full(40, 10), 4: np.full(40, 12)})
    found = simulate(np.zeros(10, np.int64), Dynamic(max_size=64), times)
    assert found.size.tolist() == [4, 4, 2]


def test_closed_plans_and_stuck_policies_are_refused() -> None:
    with pytest.raises(InputError, match="wait for answers"):
        simulate(Plan(due_ns=None, sample_ids=np.zeros(3, np.int64)), Single(), takes)

    class Never(Single):
        def decide(self, waiting: Waiting, now_ns: int) -> Decision:
            return Decision(0)

    with pytest.raises(VariantError, match="takes none of the last 2"):
        simulate(np.array([0, 5]), Never(), takes)


@given(GAPS, st.integers(1, 4), st.sampled_from(sorted(POLICIES)))
def test_nobody_is_lost_nobody_doubled_and_no_two_batches_share_a_worker(
    gaps: list[int], workers: int, name: str
) -> None:
    due = list(itertools.accumulate(gaps))
    found = simulate(np.array(due), POLICIES[name], takes, workers=workers, costs=[1 + i % 7 for i in range(len(due))])
    answered = found.batch >= 0
    assert np.bincount(found.batch[answered], minlength=len(found.size)).tolist() == found.size.tolist()
    assert (found.taken >= found.due).all()
    assert (found.size <= POLICIES[name].largest).all()
    ends = sorted([(int(t), 1) for t in found.start] + [(int(t), -1) for t in found.start + found.service])
    assert max(itertools.accumulate(step for _, step in sorted(ends))) <= workers
    assert found.busy <= 1 + 1e-9


def test_simulated_is_a_value() -> None:
    found = simulate(np.array([0]), Single(), takes)
    with pytest.raises(AttributeError):
        found.workers = 2  # type: ignore[misc]
    assert isinstance(found, msgspec.Struct)
