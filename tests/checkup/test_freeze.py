"""What theory says of a freeze, held against a queue that is worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from accel.checkup.freeze import Freeze, prove, view
from accel.measurement.trace import Trace

FREEZE = Freeze(service_s=0.002, rate=50.0, duration_s=60.0, stall_s=2.0, after_s=20.0)


def queue(freeze: Freeze) -> Trace:
    """Requests at equal gaps through one worker that stands still from `after_s` for `stall_s` (Lindley)."""
    n = round(freeze.rate * freeze.duration_s)
    due = np.arange(n, dtype=np.int64) * round(1e9 / freeze.rate)
    service = round(freeze.service_s * 1e9)
    begins, ends = round(freeze.after_s * 1e9), round((freeze.after_s + freeze.stall_s) * 1e9)
    started, free = np.zeros(n, np.int64), 0
    for i in range(n):
        start = max(int(due[i]), free)
        started[i] = ends if begins <= start < ends else start
        free = int(started[i]) + service
    none = np.zeros(n, np.int64)
    return Trace(
        due=due,
        taken=started,
        started=started,
        finished=started + service,
        batch=np.arange(n),
        batch_size=none + 1,
        sample=none,
        status=none,
        warmup=none,
    )


def test_theory_is_what_a_queue_with_a_freeze_does() -> None:
    waits = queue(FREEZE).latency_ns * 1e-9
    assert FREEZE.hit == pytest.approx(2 / (0.9 * 60))
    for p in (0.5, 0.9, 0.95, 0.97, 0.99):
        seen = float(np.quantile(waits, p, method="inverted_cdf"))
        # One request is 18 ms of wait further along the ramp.
        assert seen == pytest.approx(FREEZE.quantile_s(p), abs=0.0181)
    assert FREEZE.quantile_s(1.0) == pytest.approx(2.002)
    assert FREEZE.quantile_s(0.95) == 0.002


def test_a_view_counts_who_waited_and_draws_the_ramp() -> None:
    seen = view(queue(FREEZE), FREEZE, "from schedule")
    assert seen.requests == 3000
    # Everybody with more than 20 ms to wait: (2 s + D - 20 ms) / 18 ms of ramp a request.
    assert seen.waited == 111
    assert seen.max_s == pytest.approx(2.002)
    # The run's 60 columns are a second each; the freeze begins in the one of second 20.
    assert seen.line[20] == pytest.approx(2.002)
    assert seen.line[21] == pytest.approx(2.002 - 0.9)
    assert seen.line[19] == seen.line[30] == 0.002


def test_a_real_freeze_hits_the_schedule_and_spares_the_closed_loop() -> None:
    freeze = Freeze(service_s=0.002, rate=50.0, duration_s=1.5, stall_s=0.3, after_s=0.6)
    said: list[str] = []
    proof = prove(freeze, said.append)
    assert len(said) == 3
    assert min(proof.stalled_s) >= 0.3
    assert proof.closed.max_s >= 0.29
    assert proof.closed.p90_s < proof.schedule.p90_s
    assert proof.schedule.p99_s > 0.2
    assert proof.theory_p99_s == pytest.approx(0.3 * (1 - 0.01 / (0.3 / (0.9 * 1.5))) + 0.002)
