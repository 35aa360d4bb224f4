"""What one load says about an endpoint, from traces made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accel.analysis import Estimate
from accel.endpoint.driven import Driven, EndpointStudy, Found
from accel.endpoint.rows import failed_row, in_words, row_of, waited
from accel.endpoint.runs import as_answers, busy
from accel.measurement.trace import ERROR, OK, UNFINISHED, Trace
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result, Witness
from accel.slo import Slo

MS = 1_000_000
LIMIT = Slo(0.9, 0.02)


def trace_of(service_ms: list[float], *, gap_ms: float = 10.0, status: list[int] | None = None) -> Trace:
    """One connection: each request starts when it is due and the one before is over."""
    n = len(service_ms)
    due = (np.arange(n) * gap_ms * MS).astype(np.int64)
    started, finished, free = np.empty(n, np.int64), np.empty(n, np.int64), 0
    for i, service in enumerate(service_ms):
        started[i] = max(int(due[i]), free)
        free = finished[i] = started[i] + round(service * MS)
    states = np.array(status or [OK] * n, np.int64)
    unfinished = states == UNFINISHED
    return Trace(
        due=due,
        taken=np.where(unfinished, -1, started),
        started=np.where(unfinished, -1, started),
        finished=np.where(unfinished, -1, finished),
        batch=np.where(unfinished, -1, np.arange(n)),
        batch_size=np.where(unfinished, 0, 1),
        sample=np.zeros(n, np.int64),
        status=states,
        warmup=np.zeros(n, np.int64),
    )


def result(**more: object) -> Result:
    variant = Variant(name="endpoint", backend=Named("endpoint"), instances=1)
    given = {"run_id": "rate-01", "study_id": "s", "phase": "load", "variant": variant, "role": "baseline"}
    return Result(**given, status="ok", **more)  # type: ignore[arg-type]


def row(trace: Trace, *, rate: float | None = 100.0, errors: dict[str, int] | None = None) -> Driven:
    return row_of(
        result(),
        trace,
        load="rate",
        rate=rate,
        seconds=len(trace) * 0.01,
        limit=LIMIT,
        errors=errors or {},
        client_s=0.001,
    )


def test_a_steady_load_by_hand() -> None:
    found = row(trace_of([5.0] * 200))
    assert (found.requests, found.unanswered, found.errors) == (200, 0, {})
    assert found.offered == pytest.approx(100)
    assert found.goodput == pytest.approx(100)
    assert found.p50 is not None
    assert found.p50.value == pytest.approx(0.005)
    assert found.p99 is None  # 200 requests don't carry it
    assert found.slo_s == pytest.approx(0.005)
    assert found.waited == 0.0
    assert found.generator == pytest.approx(0.1)
    assert found.keeps_up


def test_a_stall_is_in_the_wait_of_those_who_come_meanwhile() -> None:
    found = row(trace_of([5.0] * 99 + [505.0] + [5.0] * 100))
    assert found.slo_s is not None
    # The stall ends at 1.495 s; half of each gap is worked off, so 99 more requests wait after the one that met it.
    assert found.slo_s > 0.3
    assert found.waited == pytest.approx(0.5, abs=0.02)


def test_refused_requests_are_late_and_named_and_no_growing_queue() -> None:
    status = [ERROR if i % 4 == 0 else OK for i in range(200)]
    found = row(trace_of([5.0] * 200, status=status), errors={"HTTP 503": 50})
    assert found.unanswered == 50
    assert found.slo_s == math.inf
    assert found.p50 is not None
    assert found.goodput == pytest.approx(75)
    assert found.keeps_up
    assert "late" in in_words(found, LIMIT)
    assert "HTTP 503 50 times" in str(study(found))


def test_a_run_that_was_given_up_says_so() -> None:
    status = [OK] * 30 + [ERROR] * 20 + [UNFINISHED] * 50
    found = row(trace_of([5.0] * 100, status=status), errors={"connection refused": 20})
    assert "Stopped after 20 failures in a row." in found.reason
    assert found.unanswered == 70
    assert "Stopped" not in row(trace_of([5.0] * 100, status=[OK] * 80 + [ERROR] * 20)).reason


def test_waiting_for_a_connection_counts_from_a_millisecond() -> None:
    assert waited(trace_of([10.5] * 4), 1) == pytest.approx(0.25)  # 0, 0.5, 1.0, 1.5 ms


def test_what_a_server_refuses_is_no_fault_of_the_measurement_but_a_late_generator_is() -> None:
    def one(name: str) -> Witness:
        return Witness(id=name, value=9.0, warn=0.1, unstable=0.2, invalid=0.3, level="invalid", sentence="s")

    assert [as_answers(one(name)).level for name in ("W13", "W10", "W9", "W3")] == [
        "warn",
        "warn",
        "invalid",
        "invalid",
    ]
    assert [busy(share).level for share in (0.2, 0.4, 0.7)] == ["ok", "warn", "unstable"]


def study(*rows: Driven, found: Found | None = None) -> EndpointStudy:
    p50 = Estimate(value=0.005, low=0.0049, high=0.0051, n=100, unit="s", method="m")
    return EndpointStudy(
        url="http://127.0.0.1:1/x",
        protocol="plain JSON",
        connections=8,
        local=True,
        samples=3,
        transport=p50,
        transport_call="a connection opened and closed",
        service=p50,
        service_p99=None,
        slo=LIMIT,
        slo_assumed=False,
        found=found,
        rows=rows,
        checked=None,
        notes=("a note",),
        stopped="connection refused",
        interrupted=False,
        folder="/out",
        elapsed_s=1.0,
        env_id="e",
    )


def test_the_table_in_words() -> None:
    nowhere = Found(
        claim=0.0, crossing=0.0, low=None, high=None, lowest_fail=None, flags=(), validity="valid", method=""
    )
    text = str(
        study(row(trace_of([5.0] * 200)), failed_row("rate-02", "rate", 70.0, "connection refused"), found=nowhere)
    )
    assert "rate 70/s" in text
    assert "could not be driven: connection refused" in text
    assert "No rate was within p90 <= 20 ms" in text
    assert "Stopped: connection refused" in text
    assert "Note: a note" in text
    assert max(len(line) for line in text.splitlines()) <= 120
    assert study(failed_row("a", "rate", 1.0, "x")).row("a").rate == 1.0
    with pytest.raises(KeyError):
        study().row("a")


def test_the_json_has_no_nan() -> None:
    import json

    text = study(failed_row("rate-02", "rate", 70.0, "gone")).to_json()
    found = json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert "gone" in json.dumps(found)
