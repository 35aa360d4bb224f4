"""Points of the load curve from traces with known content."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.analysis.load_curve import LoadPoint, loads, point
from accel.analysis.runs import Run
from accel.measurement.trace import DROPPED, OK, Trace
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result

SLO_S = 0.010
SINGLE = Named("single")


def run(
    latency_s: list[float],
    *,
    rate: float = 100.0,
    policy: Named = SINGLE,
    trial: int = 0,
    instances: int = 1,
    **other: Any,
) -> Run:
    """Requests 1/rate apart, each in a batch of its own that takes 4 ms; inf: dropped."""
    n = len(latency_s)
    due = (np.arange(n) / rate * 1e9).astype(np.int64)
    good = np.isfinite(latency_s)
    finished = np.where(good, due + (np.where(good, latency_s, 0) * 1e9).astype(np.int64), -1)
    started = np.where(good, finished - 4_000_000, -1)
    ones = np.ones(n, np.int64)
    trace = Trace(
        due=due,
        taken=np.maximum(started, due),
        started=started,
        finished=finished,
        batch=np.arange(n),
        batch_size=ones,
        sample=0 * ones,
        status=np.where(good, OK, DROPPED),
        warmup=0 * ones,
    )
    result = Result(
        run_id=f"load-{trial}",
        study_id="s",
        phase="load",
        variant=Variant(name="net", backend=Named("eager"), instances=instances),
        role="candidate",
        status="ok",
        scenario=Named("server", {"rate": rate}),
        batching=policy,
        trial=trial,
        **other,
    )
    latency = np.asarray(latency_s, np.float64)
    return Run(
        result=result, latency_s=latency, items=ones.astype(float), seconds=ones.astype(float),
        service_s=0.004 * ones, trace=trace,
    )  # fmt: skip


def test_a_point_by_hand() -> None:
    """200 requests at 100/s: 160 in 5 ms, 30 in 12 ms, 10 dropped."""
    found = point([run([0.005] * 160 + [0.012] * 30 + [math.inf] * 10)], p=0.9, slo_s=SLO_S)
    assert (found.rate, found.label, found.n, found.trials) == (100.0, "single", 200, 1)
    assert found.quantile_s == pytest.approx(0.012), "the 180th of 200"
    assert found.p50_s == pytest.approx(0.005)
    assert found.dropped == pytest.approx(0.05)
    assert found.goodput == pytest.approx(80.0), "160 in time in 2 s"
    assert (found.low, found.high) == (None, None), "one trial has no interval"
    assert not found.simulated


def test_a_quantile_among_the_dropped_is_above_every_limit() -> None:
    found = point([run([0.005] * 170 + [math.inf] * 30)], p=0.9, slo_s=SLO_S)
    assert found.quantile_s is None
    assert found.p50_s == pytest.approx(0.005)


def test_utilisation_is_the_share_of_time_in_service_of_each_instance() -> None:
    """4 ms of service every 10 ms."""
    one = point([run([0.004] * 300)], p=0.9, slo_s=SLO_S)
    assert one.utilisation == pytest.approx(0.4, abs=0.01)
    two = point([run([0.004] * 300, instances=2)], p=0.9, slo_s=SLO_S)
    assert two.utilisation == pytest.approx(0.2, abs=0.01)
    assert two.instances == 2


def test_where_nothing_was_answered_nothing_is_known_but_the_drops() -> None:
    found = point([run([math.inf] * 100)], p=0.9, slo_s=SLO_S)
    assert (found.quantile_s, found.p50_s, found.utilisation) == (None, None, None)
    assert (found.goodput, found.dropped) == (0.0, 1.0)


def test_three_trials_have_an_interval_over_trials() -> None:
    found = point([run([s] * 200, trial=i) for i, s in enumerate((0.004, 0.005, 0.00625))], p=0.9, slo_s=SLO_S)
    assert found.quantile_s == pytest.approx(0.005), "the geometric mean"
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.004 < 0.00625 < found.high, "t with two degrees of freedom is wide"
    assert (found.trials, found.n) == (3, 600)


def test_invalid_trials_are_left_out_and_named_where_there_are_no_others() -> None:
    good, bad = run([0.005] * 200), run([0.5] * 200, trial=1, validity="invalid")
    assert point([good, bad], p=0.9, slo_s=SLO_S).quantile_s == pytest.approx(0.005)
    assert point([good, bad], p=0.9, slo_s=SLO_S).level == "valid"
    assert point([bad], p=0.9, slo_s=SLO_S).level == "invalid"


def test_points_are_by_policy_and_rate_and_simulated_ones_fill_the_gaps() -> None:
    drops = Named("dynamic", {"max_size": 8, "drop": "early", "curve": [[1, 0.004]], "slo_s": SLO_S})
    guess = LoadPoint(
        variant="net", policy=drops, label="", rate=100.0, quantile_s=0.1, p50_s=0.1, goodput=1.0, simulated=True
    )
    more = msgspec.structs.replace(guess, rate=400.0)
    found = loads([run([0.005] * 50, policy=drops), run([0.005] * 50)], (guess, more), p=0.9, slo_s=SLO_S)
    assert [(p.policy.name, p.rate, p.simulated) for p in found] == [
        ("dynamic", 100.0, False),
        ("dynamic", 400.0, True),
        ("single", 100.0, False),
    ]
    assert found[0].label == "dynamic ≤ 8, drops"
    assert loads([], (guess,), p=0.9, slo_s=None) == ()


def test_a_run_of_another_phase_is_no_point() -> None:
    other = run([0.005] * 50)
    other = msgspec.structs.replace(other, result=msgspec.structs.replace(other.result, phase="search"))
    assert loads([other], (), p=0.9, slo_s=SLO_S) == ()
