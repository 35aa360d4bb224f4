"""Does the benchmarks' table say what the Results say? Every figure is computed again from the traces on disk."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import accel
from accel.result import Result
from tests import small_models

ROOT = Path(__file__).parents[1]
TABLE = ("test_batch", "test_online[baseline-0.3]", "test_online[baseline-0.7]", "test_online[online winner-0.3]")

Benchmarks = list[dict[str, Any]]


def network(folder: Path) -> Path:
    """y (batch, 4) of x (batch, 256) by three dense layers: heavy enough that the loop around it is small beside it."""
    rng = np.random.default_rng(3)
    weights = [
        small_models._weights(rng, "w1", 256, 1024),
        small_models._weights(rng, "w2", 1024, 1024),
        small_models._weights(rng, "w3", 1024, 4),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
        helper.make_node("MatMul", ["a", "w2"], ["b"], name="second"),
        helper.make_node("MatMul", ["b", "w3"], ["y"], name="third"),
    ]
    return small_models.save(folder / "dense.onnx", nodes, weights, ["batch", 256], ["batch", 4], 17)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> accel.Study:
    folder = tmp_path_factory.mktemp("benchmarks")
    x = np.random.default_rng(4).normal(size=(96, 256)).astype(np.float32)
    return accel.bench(
        network(folder),
        samples={"x": x},
        backend=["openvino"],
        defaults=False,
        batch=[1, 4],
        budget="8s",
        slo="p90=50ms",
        out=folder / "study",
    )


@pytest.fixture(scope="module")
def table(study: accel.Study) -> Benchmarks:
    out = study.folder / "table.json"
    small = {"ACCEL_BENCH_STUDY": str(study.folder), "ACCEL_BENCH_ROUNDS": "2", "ACCEL_BENCH_SECONDS": "0.3"}
    chosen = [f"benchmarks/test_batch_versus_online.py::{name}" for name in TABLE]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *chosen, "-q", "-p", "no:cacheprovider", f"--benchmark-json={out}"],
        cwd=ROOT,
        env=os.environ | small,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: Benchmarks = json.loads(out.read_text())["benchmarks"]
    return found


def figures(runs: Path, extra: dict[str, Any], slo_s: float) -> dict[str, Any]:
    """What extra_info must hold, from the Results it names; from the raw columns, by none of accel's own arithmetic."""
    results = [Result.load(runs / f"{name}.json") for name in extra["results"]]
    found: dict[str, Any] = {"variant": {r.variant.name for r in results}, "validity": [r.validity for r in results]}
    columns = [np.load(runs / str(r.trace)) for r in results]
    latencies = []
    for c in columns:
        counted = c["warmup"] == 0
        late = (c["status"] != 0)[counted]
        latencies.append(np.where(late, np.inf, (c["finished"] - c["due"])[counted] / 1e9))
    if "items_per_s" in extra:
        rates = sorted(len(q) / (c["finished"].max() / 1e9) for q, c in zip(latencies, columns, strict=True))
        sizes = {int(r.batching.fields["size"]) for r in results if r.batching}
        found |= {"items_per_s": rates[len(rates) // 2], "items_per_s_min": rates[0], "items_per_s_max": rates[-1]}
        found |= {"batch_size": sizes, "items": {len(q) for q in latencies}}
        return found
    for p in (50, 90, 99):
        beyond = [len(q) * min(p, 100 - p) / 100 for q in latencies]
        shown = [1e3 * float(np.quantile(q, p / 100, method="inverted_cdf")) for q in latencies]
        found[f"p{p}_ms"] = [value if n >= 10 else None for value, n in zip(shown, beyond, strict=True)]
    found["rate_per_s"] = {float(r.scenario.fields["rate"]) for r in results if r.scenario}
    found["policy"] = {str(r.batching) for r in results}
    found["goodput_per_s"] = []
    for q, c in zip(latencies, columns, strict=True):
        due = c["due"][c["warmup"] == 0] / 1e9
        window = (due.max() - due.min()) * len(due) / (len(due) - 1)
        found["goodput_per_s"].append(float(np.sum(q <= slo_s) / window))
    return found


def differences(table: Benchmarks, study: accel.Study) -> list[str]:
    """Every figure of the table that isn't the one its Results give."""
    wrong = []
    for benchmark in table:
        extra = benchmark["extra_info"]
        for name, expected in figures(study.folder / "benchmark" / "runs", extra, study.record.slo_s or 1.0).items():
            if isinstance(expected, set):
                same = expected == {extra[name]}
            elif isinstance(expected, list):
                same = len(expected) == len(extra[name]) and all(map(alike, expected, extra[name]))
            else:
                same = alike(expected, extra[name])
            if not same:
                wrong.append(f"{benchmark['name']}: {name} is {extra[name]}, but the Results give {expected}")
    return wrong


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=1e-6))
    return bool(one == other)


def test_every_figure_is_the_one_its_results_give(table: Benchmarks, study: accel.Study) -> None:
    assert differences(table, study) == []


def test_the_table_has_every_role_with_its_own_variant(table: Benchmarks, study: accel.Study) -> None:
    names = {
        "baseline": study.record.baseline,
        "batch winner": study.best("batch").name,
        "online winner": study.best("online").name,
    }
    for group in ("batch", "online at 30% of the original's batch throughput"):
        found = {b["extra_info"]["role"]: b["extra_info"]["variant"] for b in table if b["group"] == group}
        assert found == {role: names[role] for role in found}, group
        assert set(names) - set(found) <= {"batch winner" if group != "batch" else ""}
    for benchmark in table:
        for name in benchmark["extra_info"]["results"]:
            result = Result.load(study.folder / "benchmark" / "runs" / f"{name}.json")
            assert (result.role == "baseline") == (result.variant.name == study.record.baseline)
            assert result.target == ("batch" if benchmark["group"] == "batch" else "online")


def test_each_round_has_a_result_of_its_own(table: Benchmarks) -> None:
    named = [name for benchmark in table for name in benchmark["extra_info"]["results"]]
    assert len(table) == 6
    assert len(named) == len(set(named)) == 2 * len(table)


def test_the_rates_are_shares_of_what_the_original_does_in_batch(table: Benchmarks, study: accel.Study) -> None:
    throughput = study.conclusion.row(study.record.baseline).throughput
    assert throughput is not None
    rates = {b["extra_info"]["rate_per_s"] for b in table if b["group"].startswith("online")}
    assert sorted(rate / throughput.value for rate in rates) == pytest.approx([0.3, 0.7], rel=1e-3)


@pytest.mark.parametrize(
    "figure", ["items_per_s", "items_per_s_max", "p50_ms", "p90_ms", "goodput_per_s", "rate_per_s", "variant"]
)
def test_a_planted_change_is_noticed(table: Benchmarks, study: accel.Study, figure: str) -> None:
    changed = copy.deepcopy(table)
    extra = next(b["extra_info"] for b in changed if figure in b["extra_info"])
    value = extra[figure]
    if isinstance(value, list):
        extra[figure] = [value[0] * 1.001, *value[1:]]
    else:
        extra[figure] = "another" if isinstance(value, str) else value * 1.001
    assert [figure in line for line in differences(changed, study)] == [True]


def test_a_changed_trace_is_noticed(table: Benchmarks, study: accel.Study) -> None:
    """A round in which every answer came 10 % earlier has another throughput."""
    extra = next(b["extra_info"] for b in table if b["group"] == "batch")
    runs = study.folder / "benchmark" / "runs"
    path = runs / str(Result.load(runs / f"{extra['results'][-1]}.json").trace)
    kept = path.read_bytes()
    columns = dict(np.load(path))
    columns["finished"] = (columns["finished"] * 0.9).astype(np.int64)
    np.savez(path, **columns)
    try:
        assert any("items_per_s" in line for line in differences(table, study))
    finally:
        path.write_bytes(kept)
