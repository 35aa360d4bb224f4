"""Batch against online: throughput of a job and latency of a service, for the original and the winners.

Each round drives a measure child, so the times of pytest-benchmark's table include what a round costs around the
engine; the figures to read are in `extra_info`, each computed from the Result the round left behind:
items_per_s (offline), and p50_ms, p90_ms, p99_ms from schedule with `goodput_per_s` (server, open loop). The Results
lie in `benchmark/runs` of the study's folder.

ACCEL_BENCH_ROUNDS and ACCEL_BENCH_SECONDS make it shorter or longer: rounds, and counted seconds of each.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest

import accel
from accel.analysis.online import goodput, latencies_s
from accel.analysis.percentiles import carries, quantile
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.study.artefacts import find_prepared
from accel.study.folder import StudyFolder
from accel.study.live import Live, Turn, items_per_second
from accel.study.profiles import profile

ROUNDS = int(os.environ.get("ACCEL_BENCH_ROUNDS", "5"))
COUNTED_S = float(os.environ.get("ACCEL_BENCH_SECONDS", "1"))
Role = Literal["baseline", "batch winner", "online winner"]


class Driver:
    """One variant in a measure child, with the numbers of the runs it has made.

    test: of the benchmark's own name; no two of them may write the same Results.
    """

    def __init__(self, study: accel.Study, role: Role, test: str) -> None:
        name = name_of(study, role)
        prepared = find_prepared(study.folder, name)
        if prepared is None:
            pytest.skip(f"the artefact of `{name}` is gone; run a new study")
        self.study, self.name, self.role = study, name, role
        self.test = re.sub(r"[^\w.]+", "-", test).strip("-")
        self.folder = StudyFolder(study.folder / "benchmark")
        for folder in (self.folder.runs, self.folder.log):
            folder.mkdir(parents=True, exist_ok=True)
        self.folder.samples = study.folder / "samples"
        self.live = Live(prepared, self.folder, profile("quick"), seed=study.record.seed, tag="benchmark")
        self._numbers = itertools.count()

    def run(self, target: Literal["batch", "online"], scenario: Named, batching: Named) -> Result:
        """One run with a Result of its own on disk; rounds of one number share their schedule."""
        number = next(self._numbers)
        turn = Turn(
            run_id=f"{self.test}-{number}",
            phase="measure",
            role="baseline" if self.name == self.study.record.baseline else "candidate",
            target=target,
            scenario=scenario,
            batching=batching,
            duration_s=COUNTED_S,
            trial=number,
        )
        return self.live.run(turn, reference=None, check_limit=1e-3, common=self._result)

    def _result(self, fields: dict[str, Any]) -> Result:
        return Result(study_id=self.study.record.study_id, env_id=self.study.record.env_id, **fields)

    def trace(self, result: Result) -> Trace:
        """What happened in a run."""
        return Trace.load(self.folder.runs / str(result.trace))


def name_of(study: accel.Study, role: Role) -> str:
    """Which variant plays a role in this study."""
    return study.record.baseline if role == "baseline" else study.best("batch" if "batch" in role else "online").name


@pytest.fixture(params=["baseline", "batch winner", "online winner"])
def driver(request: pytest.FixtureRequest, study: accel.Study) -> Iterator[Driver]:
    found = Driver(study, request.param, request.node.name)
    yield found
    found.live.close()


def size_of(study: accel.Study, name: str) -> int:
    """The variant's best batch size in the study; 1 where none was measured."""
    return study.conclusion.row(name).batch_size or 1


def test_batch(benchmark: Any, study: accel.Study, driver: Driver) -> None:
    """A job of a fixed number of items, at the variant's best batch size."""
    row = study.conclusion.row(driver.name)
    size = size_of(study, driver.name)
    per_s = row.throughput.value if row.throughput else 100.0
    items = max(size, round(per_s * COUNTED_S / size) * size)
    offline, fixed = Named("offline", {"samples": items}), Named("fixed", {"size": size})
    results: list[Result] = []
    benchmark.group = "batch"  # read when the rounds are over, so it can't be set later
    benchmark.pedantic(
        lambda: results.append(driver.run("batch", offline, fixed)), rounds=ROUNDS, iterations=1, warmup_rounds=1
    )
    rates = sorted(items_per_second(driver.trace(r)) for r in results[1:])
    benchmark.extra_info.update(
        variant=driver.name,
        role=driver.role,
        batch_size=size,
        items=items,
        items_per_s=rates[len(rates) // 2],
        items_per_s_min=rates[0],
        items_per_s_max=rates[-1],
        validity=[r.validity for r in results[1:]],
        results=[r.run_id for r in results[1:]],
    )
    assert all(r.status == "ok" for r in results)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_online(benchmark: Any, study: accel.Study, driver: Driver, load: float) -> None:
    """Requests that arrive by themselves, at a share of what the *original* carries in batch mode, the same for all."""
    base = study.conclusion.row(study.record.baseline)
    rate = float(f"{load * (base.throughput.value if base.throughput else 100.0):.4g}")
    policy = next(
        (r.batching for r in study.results if r.variant.name == driver.name and r.target == "online" and r.batching),
        Named("dynamic"),
    )
    results: list[Result] = []
    server = Named("server", {"rate": rate})
    benchmark.group = f"online at {load:.0%} of the original's batch throughput"
    benchmark.pedantic(
        lambda: results.append(driver.run("online", server, policy)), rounds=ROUNDS, iterations=1, warmup_rounds=1
    )
    traces = [driver.trace(r) for r in results[1:]]
    benchmark.extra_info.update(
        variant=driver.name,
        role=driver.role,
        policy=str(policy),
        rate_per_s=rate,
        goodput_per_s=[goodput(t.counted(), study.record.slo_s or 1.0) for t in traces],
        validity=[r.validity for r in results[1:]],
        results=[r.run_id for r in results[1:]],
        **{f"p{p}_ms": [_shown_ms(t, p / 100) for t in traces] for p in (50, 90, 99)},
    )
    assert all(r.latency == "from schedule" for r in results)


def _shown_ms(trace: Trace, p: float) -> float | None:
    """A quantile of latency from schedule in ms, or None where the round's sample doesn't carry it."""
    latencies = latencies_s(trace)
    return 1e3 * quantile(latencies, p) if carries(len(latencies), p) else None
