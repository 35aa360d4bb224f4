"""Rates of a run, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accel.analysis.online import goodput, keeps_up, waits_s
from accel.analysis.serving import serving
from accel.measurement.trace import DROPPED, ERROR, OK, UNFINISHED, Trace

S = 10**9


def trace(due: list[float], started: list[float], finished: list[float], **more: list[int]) -> Trace:
    n = len(due)
    times = {"due": due, "started": started, "finished": finished, "taken": started}
    columns = {k: np.array([round(t * S) if t >= 0 else -1 for t in v], np.int64) for k, v in times.items()}
    rest = {c: np.array(more.get(c, [0] * n), np.int64) for c in ("sample", "status", "warmup")}
    return Trace(**columns, batch=np.arange(n), batch_size=np.ones(n, np.int64), **rest)


LATE = trace(
    due=[0.0, 1.0, 2.0, 3.0, 4.0],
    started=[0.0, 1.0, 2.0, 3.5, 5.0],
    finished=[0.5, 1.5, 3.5, 5.0, 6.0],
    warmup=[1, 0, 0, 0, 0],
)


def test_rates_are_what_came_was_answered_and_was_answered_in_time() -> None:
    found = serving(LATE, requested=1.1, slo_s=1.6)
    # Four counted requests 1 s apart: a window of 4 s from the first of them; by 5 s two have ended (the third at 5.0).
    assert found.requested == 1.1
    assert found.offered == 1.0
    assert found.completed == 0.5
    assert found.goodput == 0.5  # latencies 0.5, 1.5, 2.0 and 2.0
    assert (found.early_wait_s, found.late_wait_s, found.drain_s) == (0.0, 1.0, 2.0)


def test_a_known_window_is_used() -> None:
    found = serving(LATE, slo_s=1.6, window_s=8.0)
    assert (found.offered, found.completed, found.goodput) == (0.5, 0.5, 0.25)
    assert found.requested is None


def test_warmup_answers_in_the_window_are_completed_but_not_offered() -> None:
    made = trace([0.0, 1.0, 2.0], [0.0, 1.2, 2.2], [1.1, 2.1, 2.4], warmup=[1, 0, 0])
    assert serving(made).completed == 1.5
    assert serving(made).offered == 1.0


def test_failed_and_unanswered_requests_are_no_goodput() -> None:
    made = trace([0.0, 1.0, 2.0], [0.0, 1.0, -1], [0.1, 1.1, -1], status=[OK, ERROR, UNFINISHED])
    found = serving(made, slo_s=5.0)
    assert found.goodput == pytest.approx(1 / 3)
    assert found.completed == pytest.approx(1 / 3)
    assert not found.keeps_up


def test_dropped_requests_are_said() -> None:
    made = trace([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, -1, 3.0], [0.1, 1.1, -1, 3.1], status=[OK, OK, DROPPED, OK])
    found = serving(made, slo_s=5.0)
    assert (found.dropped, found.keeps_up, found.goodput) == (0.25, True, 0.75)
    assert found.sentence.endswith("25 % were given up, since their answers would have come too late.")
    assert serving(LATE).dropped == 0.0
    assert "given up" not in serving(LATE).sentence


def test_without_a_limit_there_is_no_goodput() -> None:
    assert serving(LATE).goodput is None


def test_a_growing_queue_is_said_with_its_figures() -> None:
    due = [i * 0.001 for i in range(400)]
    start = [i * 0.002 for i in range(400)]
    found = serving(trace(due, start, [s + 0.002 for s in start]), requested=1000.0, slo_s=0.1)
    assert not found.keeps_up
    assert found.early_wait_s == pytest.approx(0.0495, abs=1e-3)
    assert found.late_wait_s == pytest.approx(0.3495, abs=1e-3)
    assert found.drain_s == pytest.approx(0.401, abs=1e-3)
    assert "the wait grew from 49" in found.sentence
    assert "401 ms more" in found.sentence


def test_the_figures_are_those_that_decide() -> None:
    """Rule 29 written out a second time."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        due = np.sort(rng.uniform(0, 1, 40))
        start = due + rng.exponential(rng.uniform(0.0001, 0.003), 40) * np.linspace(1, rng.uniform(1, 4), 40)
        made = trace(due.tolist(), start.tolist(), (start + 0.001).tolist())
        first, last, drain = waits_s(made)
        for slo in (0.0, 0.004, 0.1):
            assert keeps_up(made, slo) == (last <= max(2 * first + 0.001, slo / 2) and drain <= 1)


def test_a_run_without_answers_has_no_figures() -> None:
    found = serving(trace([0.0, 1.0], [-1, -1], [-1, -1], status=[UNFINISHED] * 2), slo_s=1.0)
    assert (found.offered, found.completed, found.goodput) == (1.0, 0.0, 0.0)
    assert all(math.isnan(x) for x in (found.early_wait_s, found.late_wait_s, found.drain_s))
    nothing = serving(trace([], [], []), slo_s=1.0)
    assert math.isnan(nothing.offered)
    assert goodput(trace([], [], []), 1.0) == 0.0


def busy(overhead_ns: int, service_ns: int, gap_ns: int, n: int = 4000) -> Trace:
    """A server behind which the loop takes `overhead_ns` for each turn."""
    due = np.arange(n) * gap_ns
    started, free = np.empty(n, np.int64), 0
    for i, at in enumerate(due.tolist()):
        started[i] = max(at, free) + overhead_ns
        free = int(started[i]) + service_ns
    seconds = [(column * 1e-9).tolist() for column in (due, started, started + service_ns)]
    return trace(*seconds)


@pytest.mark.parametrize(
    ("overhead_ns", "service_ns", "gap_ns", "limited"),
    [(2000, 3000, 4000, True), (2000, 100_000, 90_000, False), (2000, 3000, 9000, False)],
)
def test_a_loop_that_is_too_slow_is_not_the_servers_fault(
    overhead_ns: int, service_ns: int, gap_ns: int, limited: bool
) -> None:
    found = serving(busy(overhead_ns, service_ns, gap_ns))
    assert found.generator_limited == limited
    assert found.keeps_up == (gap_ns > overhead_ns + service_ns)
    if not found.keeps_up:
        assert found.overhead == pytest.approx(overhead_ns / service_ns)
    assert ("It was the harness" in found.sentence) == limited
