from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from accel.analysis.online import enough, goodput, keeps_up, near_saturation, read_trial
from accel.measurement.trace import Trace

SLO = 0.02


def trace(due_ms: Any, started_ms: Any, finished_ms: Any, status: Any = None) -> Trace:
    n = len(due_ms)
    columns = {"due": due_ms, "taken": started_ms, "started": started_ms, "finished": finished_ms}
    ns = {k: np.asarray(np.asarray(v) * 1e6, np.int64) for k, v in columns.items()}
    zeros = np.zeros(n, np.int64)
    return Trace(
        **ns,
        batch=np.arange(n),
        batch_size=zeros + 1,
        sample=zeros,
        status=zeros if status is None else np.asarray(status),
        warmup=zeros,
    )


def test_unanswered_requests_are_infinitely_late() -> None:
    due = np.arange(100) * 10.0
    status = np.zeros(100, np.int64)
    status[:20] = 2
    found = read_trial(trace(due, due, due + 5, status), rate=100, p=0.9, slo_s=SLO, level="valid")
    assert found.quantile_s == math.inf
    assert not found.passes(SLO)
    assert read_trial(trace(due, due, due + 5), rate=100, p=0.9, slo_s=SLO, level="valid").quantile_s == 0.005


def test_a_growing_queue_does_not_keep_up() -> None:
    due = np.arange(100) * 10.0
    assert keeps_up(trace(due, due + 1, due + 5), SLO)
    growing = due + np.arange(100) * 2.0
    assert not keeps_up(trace(due, growing, growing + 5), SLO)
    unfinished = np.where(np.arange(100) == 99, -1e-6, due + 5)
    assert not keeps_up(trace(due, due + 1, unfinished), SLO)


def test_goodput_counts_only_what_was_in_time() -> None:
    due = np.arange(100) * 10.0
    late = np.where(np.arange(100) < 25, 50.0, 5.0)
    assert goodput(trace(due, due, due + late), SLO) == pytest.approx(75.0)


def test_near_saturation_is_above_85_percent_of_batch_throughput() -> None:
    assert near_saturation(90, 100)
    assert not near_saturation(80, 100)
    assert not near_saturation(80, None)


def test_requests_that_an_honest_interval_needs() -> None:
    assert [enough(p) for p in (0.5, 0.9, 0.99, 0.999)] == [1000, 1000, 4000, 40_000]
    due = np.arange(1500) * 10.0
    assert read_trial(trace(due, due, due + 5), rate=100, p=0.9, slo_s=SLO, level="valid").ample
    assert not read_trial(trace(due, due, due + 5), rate=100, p=0.99, slo_s=SLO, level="valid").ample
