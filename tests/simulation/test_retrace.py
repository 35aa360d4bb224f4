"""A measured run through the simulation: where nothing but the policy decides, the run comes out again."""

from __future__ import annotations

import numpy as np
import pytest

from accel.batching import Batcher
from accel.batching.dynamic import Dynamic
from accel.batching.single import Single
from accel.measurement import loop
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.trace import ERROR, Trace
from accel.scenarios import Plan
from accel.simulation.retrace import predicted_from_trace, times_of
from tests.measurement.simulated import Pool, Spin


def run_of(policy: Batcher, *, overhead: int = 0, fail: int = -1) -> Trace:
    """500 requests on a fake clock; batches scatter by a third. overhead: ns that taking a batch takes."""
    rng = np.random.default_rng(0)
    due = np.cumsum(rng.integers(0, 1800, 500))
    scatter = rng.uniform(0.8, 1.2, 500)
    clock = FakeClock()
    plan = Plan(due_ns=due, sample_ids=np.arange(500), warmup=50, tail=20)

    class Slow(Feed):
        def call(self, ids):  # type: ignore[no-untyped-def]
            clock.advance(overhead)
            return super().call(ids)

    engine = Spin(clock, lambda call, n: int(scatter[call] * (500 + 300 * n)), fail=lambda call: call == fail)
    feed = Slow(engine, Pool(500))
    feed.alone = False
    return loop.run(plan, policy, feed, clock, drain_ns=1 << 60).trace


@pytest.mark.parametrize("policy", [Single(), Dynamic(max_size=4)])
@pytest.mark.parametrize("overhead", [0, 100])
def test_the_run_comes_out_again(policy: Batcher, overhead: int) -> None:
    trace = run_of(policy, overhead=overhead)
    found = predicted_from_trace(trace, policy)
    assert found.batch.tolist() == trace.batch.tolist()
    assert found.finished.tolist() == trace.finished.tolist()
    assert found.latency_s == pytest.approx(trace.counted().latency_ns * 1e-9)


def test_another_policy_takes_as_long_as_the_runs_own_curve_says() -> None:
    """Run one by one, simulated in batches: nothing is known about batches, so they take as long as one request."""
    trace = run_of(Single())
    found = predicted_from_trace(trace, Dynamic(max_size=2))
    assert found.size.max() == 2
    median = float(np.median(trace.finished - trace.taken))
    assert float(np.median(found.service)) == pytest.approx(median, rel=0.05)


def test_a_failed_batch_is_simulated_with_a_median_one() -> None:
    trace = run_of(Single(), fail=7)
    assert trace.status[7] == ERROR
    found = predicted_from_trace(trace, Single())
    ok = trace.ok()
    assert found.service[7] == pytest.approx(np.median(ok.finished - ok.taken), abs=1)


def test_times_are_those_of_what_counted() -> None:
    trace = run_of(Dynamic(max_size=4))
    times = times_of([trace, trace])
    counted = trace.counted()
    firsts = np.unique(counted.batch, return_index=True)[1]
    alone = counted.service_ns[firsts][counted.batch_size[firsts] == 1]
    assert times.median_ns(1) == np.median(alone)
    assert times.largest == counted.batch_size.max()
