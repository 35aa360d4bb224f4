"""Latency from schedule and service time at the claimed rate, from traces worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from accel.analysis.online import Trial
from accel.analysis.runs import Run
from accel.analysis.there import there
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result

MS = 1_000_000


def pair(rate: float, *, wait_ms: int, service_ms: int, n: int = 400, goodput: float = 90.0) -> tuple[Run, Trial]:
    """Every request waits `wait_ms`, then is served for `service_ms`."""
    due = np.arange(n, dtype=np.int64) * 100 * MS
    started = due + wait_ms * MS
    zeros = np.zeros(n, np.int64)
    trace = Trace(
        due=due,
        taken=started,
        started=started,
        finished=started + service_ms * MS,
        batch=np.arange(n, dtype=np.int64),
        batch_size=zeros + 1,
        sample=zeros,
        status=zeros,
        warmup=zeros,
    )
    result = Result(
        run_id="r",
        study_id="s",
        phase="blocks",
        variant=Variant(name="v", backend=Named("null")),
        role="candidate",
        status="ok",
    )
    latency_s = trace.latency_ns * 1e-9
    run = Run(result=result, latency_s=latency_s, items=zeros, seconds=zeros, service_s=zeros, trace=trace)
    return run, Trial(rate=rate, quantile_s=0.01, n=n, goodput=goodput)


def test_service_time_stands_beside_latency_from_schedule() -> None:
    found = there([pair(50, wait_ms=1, service_ms=2), pair(90, wait_ms=7, service_ms=3)], claim=95)
    assert found["p50"].value == pytest.approx(0.010)
    assert found["service_p50"].value == pytest.approx(0.003)
    assert found["p99"] is None
    assert found["service_p99"] is None
    assert "too narrow under load" in found["p50"].method
    assert found["keeps_up"]


def test_three_fresh_trials_at_one_rate_speak_together() -> None:
    pairs = [pair(90, wait_ms=w, service_ms=2, goodput=g) for w, g in ((6, 80.0), (7, 90.0), (8, 100.0))]
    found = there(pairs, claim=90)
    assert found["p50"].n == 3
    assert found["p50"].value == pytest.approx((0.008 * 0.009 * 0.010) ** (1 / 3))
    assert found["goodput"].value == pytest.approx((80.0 * 90 * 100) ** (1 / 3))


def test_rates_above_the_claim_say_nothing() -> None:
    assert there([pair(100, wait_ms=1, service_ms=1)], claim=90) == {"p50": None, "p90": None, "p99": None}


def test_no_goodput_is_no_estimate() -> None:
    assert there([pair(90, wait_ms=1, service_ms=1, goodput=0.0)], claim=90)["goodput"] is None
