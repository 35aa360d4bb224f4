"""What does the harness itself cost? Run `python benchmarks/harness.py [--seconds 2] [--rounds 3] [--json FILE]`.

Three questions, each asked in child processes that take turns, so that a noisy machine disturbs all alike:
- the `null` backend in `single_stream` and `server`: time per query, lag behind the schedule;
- `mlcommons-loadgen` on the same null system: the yardstick;
- accel's `single_stream` p50 against a bare loop around the same ONNX Runtime session: what accel adds to a real model.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from accel.batching.single import Single
from accel.compilation._artefact import Artefact
from accel.compilation.null import NullEngine
from accel.measurement.clock import SystemClock
from accel.measurement.feeding import Feed
from accel.measurement.loop import Outcome, run
from accel.model.types import Tensor
from accel.scenarios import Plan
from accel.scenarios.server import Server
from accel.scenarios.single_stream import SingleStream

RATE = 1000.0
POOL = 300
PAIRS = 12
Figures = dict[str, float]


class RowPool:
    """A few hundred small inputs."""

    count = POOL

    def __init__(self) -> None:
        self._x = np.random.default_rng(1).normal(size=(POOL, 64)).astype(np.float32)

    def row(self, i: int) -> dict[str, Any]:
        return {"x": self._x[i : i + 1]}

    def batch(self, ids: Any) -> dict[str, Any]:
        return {"x": self._x[np.asarray(ids)]}


def null_engine() -> NullEngine:
    x, y = Tensor("x", "float32", ("batch", 64)), Tensor("y", "float32", ("batch", 10))
    return NullEngine(Artefact(file="", inputs=(x,), outputs=(y,), sizes=None))


def in_microseconds(values: Any, prefix: str) -> Figures:
    return {f"{prefix}_p{p}_us": float(np.percentile(values, p, method="inverted_cdf")) / 1e3 for p in (50, 90, 99)}


def accel_null(seconds: float) -> Figures:
    """The loop with the null engine: gap between successive due times, and lag at 1,000 requests per second."""
    feed = Feed(null_engine(), RowPool())

    def go(plan: Plan) -> Outcome:
        return run(plan, Single(), feed, SystemClock(), drain_ns=10**9)

    stream = go(SingleStream(limit=round(400_000 * seconds)).plan(POOL, seed=1, trial=0, duration_s=seconds))
    single = stream.trace.counted()
    every = go(Server(rate=RATE, tail_s=0.1).plan(POOL, seed=1, trial=0, duration_s=seconds)).trace
    server = every.counted()
    return {
        "gap_us": float(np.median(np.diff(single.due))) / 1e3,
        "mean_gap_us": float(np.mean(np.diff(single.due))) / 1e3,
        **in_microseconds(single.latency_ns, "single"),
        **in_microseconds(server.latency_ns, "server"),
        **in_microseconds(every.lag_ns()[every.warmup == 0], "lag"),
    }


def loadgen_null(seconds: float) -> Figures:
    """MLPerf's load generator with the same null engine behind its Python interface."""
    single, server = loadgen_run("SingleStream", seconds), loadgen_run("Server", seconds)
    with_overhead = re.search(r"QPS w/ loadgen overhead\s*:\s*([\d.]+)", single)
    assert with_overhead is not None
    return {
        "mean_gap_us": 1e6 / float(with_overhead[1]),
        **summary_percentiles(single, "single"),
        **summary_percentiles(server, "server"),
    }


def summary_percentiles(text: str, prefix: str) -> Figures:
    found = re.findall(r"^(\d\d)\.00 percentile latency \(ns\)\s*:\s*(\d+)", text, re.MULTILINE)
    return {f"{prefix}_p{p}_us": int(ns) / 1e3 for p, ns in found if p in ("50", "90", "99")}


def loadgen_run(scenario: str, seconds: float) -> str:
    import mlperf_loadgen as lg

    engine, pool = null_engine(), RowPool()
    rows = [pool.row(i) for i in range(POOL)]

    def issue(samples: list[Any]) -> None:
        for sample in samples:
            engine.run(rows[sample.index])
        lg.QuerySamplesComplete([lg.QuerySampleResponse(s.id, 0, 0) for s in samples])

    settings = lg.TestSettings()
    settings.mode, settings.scenario = lg.TestMode.PerformanceOnly, getattr(lg.TestScenario, scenario)
    settings.min_duration_ms, settings.min_query_count = round(seconds * 1e3), 1000
    settings.single_stream_expected_latency_ns = 5000
    settings.server_target_qps, settings.server_target_latency_ns = RATE, 100_000_000
    with tempfile.TemporaryDirectory() as folder:
        logs = lg.LogSettings()
        output = lg.LogOutputSettings()
        output.outdir, output.copy_summary_to_stdout = folder, False
        logs.log_output, logs.enable_trace = output, False
        sut = lg.ConstructSUT(issue, lambda: None)
        library = lg.ConstructQSL(POOL, POOL, lambda _: None, lambda _: None)
        lg.StartTestWithLogSettings(sut, library, settings, logs, str(Path(folder) / "no-audit.config"))
        lg.DestroyQSL(library)
        lg.DestroySUT(sut)
        return (Path(folder) / "mlperf_log_summary.txt").read_text()


def onnxruntime_ratio(seconds: float) -> Figures:
    """accel's single_stream p50 over that of a bare loop around the same session, in pairs, ABBA."""
    from accel.compilation.onnxruntime import OnnxRuntime
    from accel.model import Model, describe
    from accel.samples import materialise

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = resources.files("accel.demo") / "digits.onnx"
        model = Model.load(describe(str(path), folder=folder / "source"), folder / "model")
        (folder / "artefact").mkdir()
        OnnxRuntime().build(model, folder / "artefact")
        engine = OnnxRuntime().open(folder / "artefact")
        samples = materialise(None, model.signature, folder / "samples", count=POOL).to_ram()
    feed = Feed(engine, samples)

    def accel_p50() -> float:
        plan = SingleStream().plan(POOL, seed=1, trial=0, duration_s=seconds / 4)
        return float(np.median(run(plan, Single(), feed, SystemClock(), drain_ns=10**9).trace.counted().latency_ns))

    def bare_p50() -> float:
        session, names, now = engine._session, engine._names, time.perf_counter_ns
        times: list[int] = []
        order = SingleStream().plan(POOL, seed=1, trial=0, duration_s=1.0).sample_ids.tolist()
        end = now() + round(seconds / 4 * 1e9)
        while now() < end:
            row = feed.rows[order[len(times)]]
            start = now()
            session.run(names, row)
            times.append(now() - start)
        return statistics.median(times[5:])

    accel_p50(), bare_p50()
    pairs = [turns(accel_p50, bare_p50, first=k % 2 == 0) for k in range(PAIRS)]
    logs = [math.log(a / b) for a, b in pairs]
    # 2.201 is Student's t for 95 % and 11 degrees of freedom.
    half = 2.201 * statistics.stdev(logs) / math.sqrt(PAIRS)
    middle = statistics.mean(logs)
    return {
        "ratio": math.exp(middle),
        "ratio_low": math.exp(middle - half),
        "ratio_high": math.exp(middle + half),
        "accel_p50_us": statistics.median(a for a, _ in pairs) / 1e3,
        "bare_p50_us": statistics.median(b for _, b in pairs) / 1e3,
    }


def turns(one: Callable[[], float], other: Callable[[], float], *, first: bool) -> tuple[float, float]:
    if first:
        a = one()
        return a, other()
    b = other()
    return one(), b


PARTS = {"accel": accel_null, "loadgen": loadgen_null, "onnxruntime": onnxruntime_ratio}


def part_in_child(name: str, seconds: float) -> Figures:
    command = [sys.executable, str(Path(__file__).resolve()), "--part", name, "--seconds", str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def medians(runs: list[Figures]) -> Figures:
    return {name: statistics.median(r[name] for r in runs) for name in runs[0]}


def measure(seconds: float, rounds: int) -> dict[str, Figures]:
    """All parts; accel and loadgen alternate in who goes first."""
    found: dict[str, list[Figures]] = {"accel": [], "loadgen": []}
    for k in range(rounds):
        for name in ("accel", "loadgen") if k % 2 == 0 else ("loadgen", "accel"):
            found[name].append(part_in_child(name, seconds))
    return {
        **{name: medians(runs) for name, runs in found.items()},
        "onnxruntime": part_in_child("onnxruntime", seconds),
    }


def table(found: dict[str, Figures]) -> str:
    rows = [
        ("single_stream, µs per query (median)", "gap_us"),
        ("single_stream, µs per query (mean)", "mean_gap_us"),
        ("single_stream latency p50, µs", "single_p50_us"),
        ("single_stream latency p99, µs", "single_p99_us"),
        ("server 1000/s latency p50, µs", "server_p50_us"),
        ("server 1000/s latency p99, µs", "server_p99_us"),
        ("server 1000/s lag p50, µs", "lag_p50_us"),
        ("server 1000/s lag p99, µs", "lag_p99_us"),
    ]
    lines = [f"{'null system':<40}{'accel':>10}{'loadgen':>10}"]
    for title, key in rows:
        shown = [f"{found[who][key]:10.2f}" if key in found[who] else f"{'–':>10}" for who in ("accel", "loadgen")]
        lines.append(f"{title:<40}{''.join(shown)}")
    ort = found["onnxruntime"]
    lines += [
        "",
        "ONNX Runtime, digits network, single_stream p50: "
        f"accel {ort['accel_p50_us']:.0f} µs, bare loop {ort['bare_p50_us']:.0f} µs, "
        f"ratio {ort['ratio']:.4f} [{ort['ratio_low']:.4f}, {ort['ratio_high']:.4f}]",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print("\n" + json.dumps(PARTS[given.part](given.seconds)))
        return
    found = measure(given.seconds, given.rounds)
    print(table(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
