"""The experiments about batching on virtual time: a runner that simulates what a measure child would have measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from accel import plugins
from accel.measurement.trace import DROPPED, OK, Trace
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result
from accel.scenarios.server import Server
from accel.simulation.predict import capacity
from accel.simulation.service_times import ServiceTimes
from accel.simulation.simulate import Simulated, simulate
from accel.study.live import Turn
from benchmarks.batching import bucketed, prediction
from benchmarks.batching.candidates import field
from benchmarks.batching.policies import Experiment, busy
from benchmarks.subject import best_size

VARIANT = Variant(name="one", backend=Named("stub"))


def times_like(alpha_ms: float, beta_ms: float, sizes: tuple[int, ...] = (1, 2, 4, 8, 16)) -> ServiceTimes:
    """A batch of b takes alpha + beta b, with a scatter of 3 %."""
    factors = np.exp(np.random.default_rng(5).normal(0, 0.03, 200))
    return ServiceTimes({s: np.round((alpha_ms + beta_ms * s) * 1e6 * factors).astype(np.int64) for s in sizes})


def trace_of(found: Simulated) -> Trace:
    """A simulated run as a run leaves it."""
    n, answered = len(found.due), found.batch >= 0
    sizes = np.where(answered, found.size[found.batch], 0)
    return Trace(
        due=found.due,
        taken=found.taken,
        started=np.where(answered, found.taken, -1),
        finished=found.finished,
        batch=found.batch,
        batch_size=sizes,
        sample=np.arange(n) % 7,
        status=np.where(answered, OK, DROPPED),
        warmup=np.where(found.counted, 0, 1),
    )


class VirtualRunner:
    """Takes turns as a Runner does, each answered by the simulator."""

    def __init__(self, root: Path, times: ServiceTimes) -> None:
        record = SimpleNamespace(seed=3, slo_s=0.05, slo_p=0.99, name="one")
        self.subject = SimpleNamespace(folder=SimpleNamespace(root=root), record=record)
        self.times = times
        self.turns: list[Turn] = []

    def run(self, turn: Turn) -> tuple[Result, Trace]:
        self.turns.append(turn)
        result = Result(
            run_id=turn.run_id,
            study_id="",
            phase=turn.phase,
            variant=VARIANT,
            role="candidate",
            status="ok",
            scenario=turn.scenario,
            batching=turn.batching,
        )
        batcher = plugins.make("batching", turn.batching)
        if turn.scenario.name == "offline":
            due = np.zeros(40 * batcher.largest, np.int64)
            return result, trace_of(simulate(due, batcher, self.times, seed=turn.trial))
        fields: Mapping[str, Any] = turn.scenario.fields
        plan = Server(rate=fields["rate"]).plan(50, seed=3, trial=turn.trial, duration_s=turn.duration_s)
        return result, trace_of(simulate(plan, batcher, self.times, seed=turn.trial))


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> tuple[VirtualRunner, Experiment, Any]:
    """A model for which batching pays: 8 + 0.5 b ms."""
    runner = VirtualRunner(tmp_path_factory.mktemp("virtual"), times_like(8, 0.5))
    experiment = Experiment(runner, seconds=25.0, curve_s=1.0, sizes=(1, 2, 4, 8, 16), rounds=7)  # type: ignore[arg-type]
    return runner, experiment, experiment.trials()


def test_every_policy_meets_the_same_schedules(raced: tuple[VirtualRunner, Experiment, Any]) -> None:
    runner, experiment, found = raced
    names = [c.name for c in experiment.field.candidates]
    assert names == ["single", "early_commit", "window", "dynamic"]
    by_policy = {n: [t.trial for t in runner.turns if t.run_id.startswith(f"policies-{n}-")] for n in names}
    assert by_policy == {n: [3000 + k for k in range(7)] for n in names}
    assert all(len(points) == 7 for _, points in found.values())


def test_policies_take_turns_in_an_order_that_changes(raced: tuple[VirtualRunner, Experiment, Any]) -> None:
    runner, _, _ = raced
    tried = [t.run_id.split("-")[1] for t in runner.turns if t.run_id.startswith("policies-")]
    rounds = [tuple(tried[k : k + 4]) for k in range(0, 28, 4)]
    assert all(sorted(r) == sorted(rounds[0]) for r in rounds)
    assert len(set(rounds)) > 2


def test_the_trials_find_what_the_simulator_knows(raced: tuple[VirtualRunner, Experiment, Any]) -> None:
    runner, experiment, found = raced
    crossings = {}
    for one in experiment.field.candidates:
        truth = capacity(runner.times, one.batching, experiment.field.p, 0.05, requests=20_000)
        conclusion = found[one.name][0].conclusion()
        crossings[one.name] = conclusion.crossing
        assert conclusion.crossing == pytest.approx(truth, rel=0.12), one.name
    assert crossings["dynamic"] > 1.5 * crossings["single"]


def test_overload_shows_what_dropping_is_for(raced: tuple[VirtualRunner, Experiment, Any]) -> None:
    _, experiment, found = raced
    early, none = experiment.overload()
    crossing = found["dynamic"][0].conclusion().crossing
    assert (early.drop, none.drop) == ("early", "none")
    assert early.rate == pytest.approx(2 * experiment.field.saturation, rel=1e-4)
    assert min(early.goodputs) > 0.9 * crossing
    assert max(none.goodputs) < 0.3 * crossing
    assert early.simulated == pytest.approx(np.mean(early.goodputs), rel=0.1)


def test_who_takes_part_is_settled_once(raced: tuple[VirtualRunner, Experiment, Any]) -> None:
    runner, experiment, _ = raced
    again = Experiment(runner, seconds=1.0, curve_s=1.0, sizes=(1, 2), rounds=3)  # type: ignore[arg-type]
    assert again.field == experiment.field


@pytest.mark.parametrize(("seconds", "p"), [(60.0, 0.99), (20.0, 0.95), (10.0, 0.9), (2.0, 0.5)])
def test_the_percentile_is_the_highest_that_a_trial_carries(seconds: float, p: float) -> None:
    """Batches take as long as their items alone, 50 ms each: a little less than 20/s within two seconds."""
    found = field(times_like(0, 50, (1, 2)), wanted_p=0.99, slo_s=2.0, seconds=seconds, seed=0)
    assert found.p == p


def test_what_no_trial_carries_is_refused() -> None:
    with pytest.raises(ValueError, match="Use longer ones: --seconds"):
        field(times_like(0, 50, (1, 2)), wanted_p=0.99, slo_s=2.0, seconds=0.5, seed=0)


def test_where_batching_cannot_pay_it_is_measured_all_the_same() -> None:
    found = field(times_like(0, 10), wanted_p=0.9, slo_s=0.5, seconds=10.0, seed=0)
    dynamic = next(c for c in found.candidates if c.name == "dynamic")
    assert found.verdict != ""
    assert dynamic.batching.name == "dynamic"
    assert dynamic.simulated > 0


def hand_made(**columns: list[int]) -> Trace:
    n = len(columns["due"])
    usual = {"taken": columns["due"], "sample": list(range(n)), "status": [OK] * n, "warmup": [0] * n}
    return Trace(**{name: np.array(values, np.int64) for name, values in (usual | columns).items()})


def test_busy_counts_each_batch_once_and_only_while_requests_counted() -> None:
    """Counted from 0 to 100: a batch of two from 10 to 30, another from 90 to 130 of which ten count: 30 of 100."""
    trace = hand_made(
        due=[0, 5, 100],
        started=[10, 10, 90],
        finished=[30, 30, 130],
        batch=[0, 0, 1],
        batch_size=[2, 2, 1],
    )
    assert busy(trace) == pytest.approx(0.3)


def test_padding_is_counted_by_batch() -> None:
    """Lengths 10 and 2 together are computed as 20, length 8 alone as 8: 28 tokens for 20."""
    trace = hand_made(due=[0, 0, 0], started=[0, 0, 5], finished=[5, 5, 9], batch=[0, 0, 1], batch_size=[2, 2, 1])
    assert bucketed.padded(trace, np.array([10, 2, 8])) == pytest.approx(28 / 20)


def test_a_ratio_is_paired_by_block() -> None:
    """Twice as many in each block, however much the blocks differ."""
    found = bucketed.over({"bucketed": [200.0, 20.0, 90.0], "fixed": [100.0, 10.0, 45.0]}, "fixed")
    assert (found.value, found.low, found.high) == (pytest.approx(2), pytest.approx(2), pytest.approx(2))


def test_a_run_that_went_as_simulated_is_predicted_to_the_letter(tmp_path: Path) -> None:
    """Arrivals and service times are taken from the run, so only the policy's decisions are left to foretell."""
    runner = VirtualRunner(tmp_path, times_like(8, 0.5))
    policy = Named("dynamic", {"max_size": 16})
    for number, rate in enumerate((100.0, 300.0)):
        turn = Turn(
            run_id=f"policies-dynamic-{number}",
            phase="search",
            target="online",
            scenario=Named("server", {"rate": rate}),
            batching=policy,
            duration_s=5.0,
            trial=number,
        )
        result, trace = runner.run(turn)
        trace.save(tmp_path / f"{turn.run_id}.npz")
        Result(**{f: getattr(result, f) for f in result.__struct_fields__} | {"trace": f"{turn.run_id}.npz"}).save(
            tmp_path
        )
    found = prediction.predictions(tmp_path, 0.9)
    assert [row.rate for row in found] == [100.0, 300.0]
    assert found[0].busy < found[1].busy
    for row in found:
        assert row.measured_s is not None
        assert math.isclose(row.predicted_s or 0.0, row.measured_s, rel_tol=1e-9)


def test_a_smaller_batch_that_comes_within_2_per_cent_is_preferred() -> None:
    times = {1: 10_000, 4: 20_000, 8: 39_400, 16: 100_000}
    assert best_size({size: np.array([ns]) for size, ns in times.items()}) == 4
    assert best_size({size: np.array([ns]) for size, ns in (times | {8: 39_000}).items()}) == 8
