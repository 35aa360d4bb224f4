"""Does the experiment on replicas judge its runs rightly? With made-up traces, so nothing is measured."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

import accel
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result
from benchmarks.batching.replicas import Row, judged
from tests.synthetic import Made, synthetic_study, variant

Round = list[tuple[Result, Trace]]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> accel.CapacityPlan:
    """A rate that takes two replicas within p90 of 15 ms."""
    folder: Path = tmp_path_factory.mktemp("study")
    synthetic_study(folder, variants=[Made(variant=variant("fast", "openvino"), item_s=0.001)], finalists=1, blocks=3)
    capacity = accel.plan(folder, rate=1).chosen.capacity.value
    found = accel.plan(folder, rate=1.5 * capacity)
    assert found.chosen.replicas.count == 2
    return found


def run(seconds: float, *, validity: str = "valid", n: int = 400) -> tuple[Result, Trace]:
    """One replica's run in which every request took `seconds`."""
    due = np.arange(n) * 1_000_000
    columns = {"due": due, "taken": due, "started": due, "finished": due + round(seconds * 1e9), "batch": np.arange(n)}
    columns |= {name: np.zeros(n) for name in ("sample", "status", "warmup")} | {"batch_size": np.ones(n)}
    trace = Trace(**{name: np.asarray(values).astype(np.int64) for name, values in columns.items()})
    result = Result(
        run_id="r",
        study_id="s",
        phase="load",
        variant=Variant(name="fast", backend=Named("openvino")),
        role="candidate",
        status="ok",
    )
    return msgspec.structs.replace(result, validity=validity), trace


def cell(plan: accel.CapacityPlan, replicas: int, rounds: list[Round]) -> Row:
    return judged(plan, plan.rate, replicas, rounds)


def test_two_replicas_within_and_one_beyond_confirm_the_plan(plan: accel.CapacityPlan) -> None:
    two = cell(plan, 2, [[run(0.005), run(0.006)]] * 3)
    one = cell(plan, 1, [[run(0.5)]] * 3)
    assert (two.within, two.holds, two.planned) == ("3 of 3", True, 2)
    assert (one.within, one.holds) == ("0 of 3", True)
    assert two.quantile_ms == pytest.approx((6, 6, 6))


def test_a_plan_that_is_wrong_either_way_does_not_hold(plan: accel.CapacityPlan) -> None:
    assert not cell(plan, 2, [[run(0.5), run(0.5)]] * 3).holds
    assert not cell(plan, 1, [[run(0.005)]] * 3).holds


def test_one_slow_replica_counts_in_the_common_quantile(plan: accel.CapacityPlan) -> None:
    assert cell(plan, 2, [[run(0.005), run(0.05)]]).within == "0 of 1"
    assert cell(plan, 2, [[run(0.005), run(0.05, n=20)]]).within == "1 of 1"


def test_disturbed_rounds_say_nothing(plan: accel.CapacityPlan) -> None:
    found = cell(plan, 2, [[run(0.005), run(0.5, validity="invalid")], [run(0.005), run(0.005)]])
    assert (found.within, found.holds, found.validity) == ("1 of 1", True, "invalid")
    assert not cell(plan, 2, [[run(0.005, validity="invalid"), run(0.005)]]).holds
