"""Does the suite's table say what the Results say? Every figure is computed again from the traces on disk."""

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

from accel.result import Result
from benchmarks import page
from tests import small_models

ROOT = Path(__file__).parents[1]
RECIPE = 'name = "dense"\nmodel = "dense.onnx"\nsamples = "samples.npz"\nslo = "p90=50ms"\n'
SMALL = {
    "BACKENDS": "openvino",
    "COMPRESSIONS": "none",
    "ROUNDS": "2",
    "SECONDS": "0.3",
    "TRIALS": "2",
    "TRIAL_SECONDS": "0.5",
    "SIZES": "1,4",
}

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
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    network(folder)
    np.savez(folder / "samples.npz", x=np.random.default_rng(4).normal(size=(96, 256)).astype(np.float32))
    (folder / "dense.toml").write_text(RECIPE)
    return folder


def run_suite(place: Path, out: Path) -> Benchmarks:
    given = {f"ACCEL_BENCH_{name}": value for name, value in SMALL.items()}
    given |= {"ACCEL_BENCH_MODELS": str(place / "dense.toml"), "ACCEL_BENCH_OUT": str(place / "out")}
    suite = "benchmarks/test_batch_versus_online.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", suite, "-q", "-p", "no:cacheprovider", f"--benchmark-json={out}"],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | given,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: Benchmarks = json.loads(out.read_text())["benchmarks"]
    return found


@pytest.fixture(scope="module")
def table(place: Path) -> Benchmarks:
    return run_suite(place, place / "first.json")


@pytest.fixture(scope="module")
def runs(place: Path, table: Benchmarks) -> Path:
    return place / "out" / "suite" / "dense" / "runs"


def figures(runs: Path, extra: dict[str, Any]) -> dict[str, list[Any]]:
    """What extra_info must hold, from the Results it names; from the raw columns, by none of accel's own arithmetic."""
    results = [Result.load(runs / f"{name}.json") for name in extra["results"]]
    assert {r.variant.name for r in results} == {extra["variant"]}
    columns = {r.run_id: np.load(runs / str(r.trace)) for r in results}
    if "items_per_s" in extra:
        counted = [(int((c["warmup"] == 0).sum()), int(c["finished"].max()), c) for c in columns.values()]
        assert {int(c["batch_size"].max()) for _, _, c in counted} == {extra["size"]}
        return {"items_per_s": [n / (end / 1e9) for n, end, _ in counted]}
    alone = [columns[r.run_id] for r in results if r.target == "latency"]
    found = {"alone_s": [float(np.median((c["finished"] - c["due"])[c["warmup"] == 0])) / 1e9 for c in alone]}
    there = [columns[name] for name in extra["fresh"]]
    for name, p in (("there_p50_s", 0.5), ("there_s", extra["p"])):
        waited = [np.where(c["status"] == 0, c["finished"] - c["due"], np.inf)[c["warmup"] == 0] / 1e9 for c in there]
        found[name] = [float(np.quantile(w, p, method="inverted_cdf")) for w in waited]
    return found


def differences(table: Benchmarks, runs: Path) -> list[str]:
    """Every figure of the table that isn't the one its Results give."""
    wrong = []
    for benchmark in table:
        extra = benchmark["extra_info"]
        for name, expected in figures(runs, extra).items():
            if len(expected) != len(extra[name]) or not np.allclose(expected, extra[name], rtol=1e-6, atol=0):
                wrong.append(f"{benchmark['name']}: {name} is {extra[name]}, but the Results give {expected}")
    return wrong


def test_every_figure_is_the_one_its_results_give(table: Benchmarks, runs: Path) -> None:
    assert differences(table, runs) == []


def test_the_table_has_both_halves_of_every_variant(table: Benchmarks) -> None:
    found = {(b["group"], b["extra_info"]["variant"], b["extra_info"]["original"]) for b in table}
    groups = ("dense · batch", "dense · online")
    assert found == {(g, v, v == "onnxruntime") for g in groups for v in ("onnxruntime", "openvino")}
    assert len(table) == 4


def test_the_times_are_the_engines_own(table: Benchmarks) -> None:
    """Seconds an item and seconds a request, so that comparing two tables compares engines."""
    for benchmark in table:
        extra = benchmark["extra_info"]
        told = [1 / r for r in extra["items_per_s"]] if "items_per_s" in extra else extra["alone_s"]
        assert benchmark["stats"]["data"] == pytest.approx(told, rel=1e-6)


def test_a_server_says_its_limit_and_what_to_think_of_the_rate(table: Benchmarks) -> None:
    online = [b["extra_info"] for b in table if b["group"] == "dense · online"]
    assert len({(e["p"], e["slo_s"]) for e in online}) == 1
    for extra in online:
        assert extra["slo_s"] == 0.05
        assert extra["wanted_p"] == 0.9
        assert extra["level"] in ("valid", "unstable", "invalid")
        assert extra["crossing"].keys() >= {"value", "low", "high"}
        assert extra["trials"] == len(extra["results"]) - 2


def test_what_is_finished_is_read_and_not_measured_again(place: Path, table: Benchmarks, runs: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in runs.iterdir()}
    again = run_suite(place, place / "second.json")
    assert {path.name: path.stat().st_mtime_ns for path in runs.iterdir()} == before
    assert [b["extra_info"] for b in again] == [b["extra_info"] for b in table]
    assert [b["stats"]["data"] for b in again] == [pytest.approx(b["stats"]["data"]) for b in table]


@pytest.mark.parametrize("figure", ["items_per_s", "alone_s"])
def test_a_planted_change_is_noticed(table: Benchmarks, runs: Path, figure: str) -> None:
    changed = copy.deepcopy(table)
    extra = next(b["extra_info"] for b in changed if figure in b["extra_info"])
    extra[figure] = [extra[figure][0] * 1.001, *extra[figure][1:]]
    assert [figure in line for line in differences(changed, runs)] == [True]


def test_a_changed_trace_is_noticed(table: Benchmarks, runs: Path) -> None:
    """A round in which every answer came 10 % earlier has another throughput."""
    extra = next(b["extra_info"] for b in table if "items_per_s" in b["extra_info"])
    path = runs / str(Result.load(runs / f"{extra['results'][-1]}.json").trace)
    kept = path.read_bytes()
    columns = dict(np.load(path))
    columns["finished"] = (columns["finished"] * 0.9).astype(np.int64)
    np.savez(path, **columns)
    try:
        assert any("items_per_s" in line for line in differences(table, runs))
    finally:
        path.write_bytes(kept)


def test_the_page_shows_every_cell(place: Path, table: Benchmarks) -> None:
    cells = page.collected(place / "out" / "suite")
    text = page.render(cells)
    assert text == page.render(cells)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    for cell in cells:
        assert cell.batch is not None
        assert cell.online is not None
        assert f'<span class="name">{cell.variant}</span>' in text
    assert text.count("<svg") == 2
