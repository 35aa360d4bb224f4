"""single_stream, closed_loop and offline: what their plans say."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from accel.scenarios import sample_order
from accel.scenarios.closed_loop import ClosedLoop
from accel.scenarios.offline import Offline
from accel.scenarios.single_stream import SingleStream


def test_single_stream_is_closed_with_one_outstanding_request() -> None:
    plan = SingleStream(limit=50, warmup=3).plan(10, seed=1, trial=0, duration_s=0.25)
    assert plan.due_ns is None
    assert (plan.outstanding, plan.warmup, plan.limit_ns, len(plan.sample_ids)) == (1, 3, 250_000_000, 53)


def test_single_stream_may_pause_and_its_hash_says_so() -> None:
    tight = SingleStream(limit=50).plan(10, seed=1, trial=0, duration_s=0.25)
    paused = SingleStream(limit=50, gap_s=0.1).plan(10, seed=1, trial=0, duration_s=0.25)
    assert (tight.gap_ns, paused.gap_ns) == (0, 100_000_000)
    assert tight.sample_ids.tolist() == paused.sample_ids.tolist()
    assert tight.sha256 != paused.sha256


def test_the_hash_of_one_request_after_another_is_that_of_its_order() -> None:
    """Results of earlier versions hold this hash."""
    plan = SingleStream(limit=4, warmup=0).plan(4, seed=0, trial=0, duration_s=1.0)
    assert plan.sha256 == hashlib.sha256(plan.sample_ids.astype("<i8").tobytes()).hexdigest()


@pytest.mark.parametrize(("k", "outstanding"), [(1, 1), (8, 8), (100, 53)])
def test_closed_loop_keeps_k_in_flight(k: int, outstanding: int) -> None:
    plan = ClosedLoop(k=k, limit=50, warmup=3).plan(10, seed=1, trial=0, duration_s=0.25)
    assert plan.due_ns is None
    assert (plan.outstanding, plan.warmup, plan.limit_ns) == (outstanding, 3, 250_000_000)
    assert ClosedLoop.latency == "closed loop"


def test_offline_has_everything_due_at_the_start() -> None:
    plan = Offline(samples=37).plan(10, seed=1, trial=0, duration_s=1.0)
    assert plan.due_ns is not None
    assert plan.due_ns.tolist() == [0] * 37
    assert plan.limit_ns is None
    timed = Offline().plan(10, seed=1, trial=0, duration_s=1.5)
    assert timed.limit_ns == 1_500_000_000
    assert len(timed.sample_ids) >= 100_000


@pytest.mark.parametrize(("n", "pool"), [(10, 10), (25, 10), (3, 10), (0, 4), (9, 1)])
def test_inputs_repeat_as_late_as_they_can(n: int, pool: int) -> None:
    order = sample_order(n, pool, seed=5, trial=1)
    assert order.dtype == np.int64
    counts = Counter(order.tolist())
    assert len(order) == n
    assert not n or max(counts.values()) - min(counts.values() if n >= pool else [0]) <= 1
    for start in range(0, n - pool + 1, pool):
        assert sorted(order[start : start + pool]) == list(range(pool))
