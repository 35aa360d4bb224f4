from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from accel.analysis.online import enough, goodput, keeps_up, near_saturation, read_trial
from accel.measurement.trace import DROPPED, OK, UNFINISHED, Trace

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


def test_dropped_requests_are_infinitely_late_but_the_server_keeps_up() -> None:
    due = np.arange(100) * 10.0
    status = np.where(np.arange(100) % 5 == 0, DROPPED, OK)
    gone = status == DROPPED
    started, finished = np.where(gone, -1e-6, due + 1), np.where(gone, -1e-6, due + 5)
    dropping = trace(due, started, finished, status)
    found = read_trial(dropping, rate=100, p=0.9, slo_s=SLO, level="valid")
    assert found.quantile_s == math.inf
    assert found.keeps_up
    assert not found.passes(SLO)
    assert read_trial(dropping, rate=100, p=0.5, slo_s=SLO, level="valid").quantile_s == 0.005
    assert goodput(dropping, SLO) == pytest.approx(80.0)
    assert found.goodput == pytest.approx(80.0)


def test_growth_breaks_keeping_up_whether_or_not_somebody_is_dropped() -> None:
    due = np.arange(100) * 10.0
    gone = np.arange(100) % 5 == 0
    growing = due + np.arange(100) * 2.0
    columns = np.where(gone, -1e-6, growing), np.where(gone, -1e-6, growing + 5)
    assert not keeps_up(trace(due, *columns, np.where(gone, DROPPED, OK)), SLO)
    assert not keeps_up(trace(due, *columns, np.where(gone, UNFINISHED, OK)), 10.0)
    assert keeps_up(trace(due, *columns, np.where(gone, DROPPED, OK)), 10.0)


@pytest.mark.parametrize(("n", "status", "said"), [(4, DROPPED, False), (40, DROPPED, False), (4, OK, True)])
def test_a_server_that_drops_everybody_does_not_keep_up(n: int, status: int, said: bool) -> None:
    due = np.arange(n) * 10.0
    assert keeps_up(trace(due, due, due + 1, np.full(n, status)), SLO) == said
    some = np.where(np.arange(n) == 0, OK, status)
    assert keeps_up(trace(due, due, due + 1, some), SLO)


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
