"""Why batches went, for runs whose every batch is known."""

from __future__ import annotations

import numpy as np
import pytest

from accel.analysis.released import released
from accel.batching import Batcher
from accel.batching.dynamic import Dynamic
from accel.batching.early_commit import EarlyCommit
from accel.batching.fixed import Fixed
from accel.batching.window import Window
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.loop import run
from accel.measurement.trace import Trace
from accel.scenarios import Plan
from tests.measurement.simulated import Pool, Spin


def trace_of(policy: Batcher, due: list[int], service: int) -> Trace:
    clock = FakeClock()
    plan = Plan(due_ns=np.array(due, np.int64), sample_ids=np.arange(len(due)))
    return run(plan, policy, Feed(Spin(clock, lambda call, n: service), Pool()), clock, drain_ns=1 << 60).trace


@pytest.mark.parametrize(
    ("policy", "due", "expected"),
    [
        # One alone at once, then three in full, the seventh with the eighth, and the ninth when all had come.
        (Dynamic(max_size=3), [0, 1, 2, 3, 4, 150, 350], {"full": 1, "held": 0, "last": 1, "free": 2}),
        (Fixed(size=2), [0, 10, 20, 500, 600], {"full": 2, "held": 0, "last": 1, "free": 0}),
        # Full at 2; from 102 to 152 one is collected alone; the one at 900 is the last.
        (Window(size=3, timeout_s=50e-9), [0, 1, 2, 90, 900], {"full": 1, "held": 1, "last": 1, "free": 0}),
        # Closed at 50 with two; the next at 110 with one, which waits for the worker; then the last.
        (EarlyCommit(size=3, timeout_s=50e-9), [0, 30, 60, 900], {"full": 0, "held": 1, "last": 1, "free": 1}),
    ],
)
def test_reasons(policy: Batcher, due: list[int], expected: dict[str, int]) -> None:
    made = trace_of(policy, due, service=100)
    assert released(made, policy.largest) == expected
    assert sum(expected.values()) == int(made.batch.max()) + 1


def test_a_run_in_which_nothing_ran_has_no_reasons() -> None:
    made = trace_of(Dynamic(), [0], service=1)
    assert released(made.where(made.batch < 0), 16) == {"full": 0, "held": 0, "last": 0, "free": 0}
