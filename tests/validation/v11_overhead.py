"""V11: what the harness itself costs a request, and how many a second it can offer; MLPerf's LoadGen beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from accel.analysis.online import keeps_up
from accel.analysis.serving import serving
from accel.batching.single import Single
from accel.measurement import loop, noise
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.trace import Trace
from accel.plugins import Named, make
from tests.measurement.simulated import Pool, Spin
from tests.validation.experiment import Row
from tests.validation.servers import stub

STREAM_S, SERVER_S, LOADGEN_S = 3.0, 10.0, 5.0
COST_S = 2e-6
SUSTAINED = 3000.0
FURTHER = (10_000.0, 20_000.0)
READS = 2
HARNESS = Path(__file__).parents[2] / "benchmarks" / "harness.py"
Kind = Literal["virtual", "real"]


class _Counting(FakeClock):
    """Counts how often it is read; each read takes 1 µs."""

    reads = 0

    def now_ns(self) -> int:
        self.reads += 1
        self.advance(1000)
        return super().now_ns()


def quick() -> list[Row]:
    """What can be counted without a clock: reads of the clock, and that a busy loop still keeps its schedule."""
    clock = _Counting()
    plan = make("scenarios", Named("single_stream", {"limit": 1000, "warmup": 0})).plan(
        64, seed=1, trial=0, duration_s=60.0
    )
    loop.run(plan, Single(), Feed(Spin(clock, lambda call, n: 0), Pool()), clock, drain_ns=1 << 60)
    reads = clock.reads / 1000
    row = _row(
        "single_stream, engine that takes no time: reads of the clock",
        f"at most {READS} a request",
        f"{reads:.3f} a request",
        reads <= READS + 0.01,
        "virtual",
    )
    plan = make("scenarios", Named("server", {"rate": SUSTAINED})).plan(64, seed=1, trial=0, duration_s=1.0)
    clock = _Counting()
    trace = loop.run(plan, Single(), Feed(Spin(clock, lambda call, n: 0), Pool()), clock, drain_ns=1 << 60).trace
    return [row, _sustained(trace, SUSTAINED, "virtual"), _beyond()]


def full() -> Iterator[Row]:
    """The `null` backend in a real measure child, then LoadGen around the same engine."""
    yield from quick()
    with stub(backend="null") as child:
        _, trace = child.run(Named("single_stream", {"limit": 3_000_000}), STREAM_S, trial=1)
        yield _cost(trace)
        for rate in (SUSTAINED, *FURTHER):
            _, trace = child.run(Named("server", {"rate": rate}), SERVER_S, trial=2, tag=f"-{rate:g}")
            yield _sustained(trace, rate, "real")
    yield _loadgen()


def _beyond() -> Row:
    """A rate that the loop itself can't offer must not be held against the engine."""
    said = []
    for service_ns in (2_000, 100_000):
        clock = _Counting()
        rate = 1.2e9 / (service_ns + 2000)
        plan = make("scenarios", Named("server", {"rate": rate, "lead_s": 0.0, "tail_s": 0.0})).plan(
            64, seed=1, trial=0, duration_s=40_000 / rate
        )
        feed = Feed(Spin(clock, lambda call, n, ns=service_ns: ns), Pool())  # type: ignore[misc]
        said.append(serving(loop.run(plan, Single(), feed, clock, drain_ns=1 << 60).trace))
    return _row(
        "20 % more than calls of 2 µs and of 100 µs allow, by a loop whose clock takes 1 µs a reading",
        "the harness is blamed for the first, the engine for the second",
        ", ".join("the harness" if s.generator_limited else "the engine" for s in said),
        [s.generator_limited for s in said] == [True, False] and not any(s.keeps_up for s in said),
        "virtual",
    )


def _cost(trace: Trace) -> Row:
    gaps = np.diff(trace.counted().due) * 1e-9
    p50, p99 = (float(np.quantile(gaps, p, method="inverted_cdf")) for p in (0.5, 0.99))
    return _row(
        f"single_stream, engine that takes no time, {len(gaps)} requests",
        f"from one answer to the next p50 <= {COST_S * 1e6:g} µs",
        f"p50 {p50 * 1e6:.2f} µs, p99 {p99 * 1e6:.2f} µs",
        p50 <= COST_S,
        "real",
    )


def _sustained(trace: Trace, rate: float, kind: Kind) -> Row:
    late = noise.judge_lag(trace, 1, open_loop=True)
    lag = trace.lag_ns()[trace.warmup == 0]
    p50, p99 = (float(np.quantile(lag, p, method="inverted_cdf")) * 1e-9 for p in (0.5, 0.99))
    clean = late.level == "ok" and keeps_up(trace.counted(), 1.0)
    further = rate > SUSTAINED
    return _row(
        f"server at {rate:g}/s, engine that takes no time",
        "information: how far it goes" if further else "lag clean (W9 ok) and the queue doesn't grow",
        f"lag p50 {p50 * 1e6:.1f} µs, p99 {p99 * 1e6:.1f} µs; W9 {late.level}; {'clean' if clean else 'not clean'}",
        clean or further,
        kind,
    )


def _loadgen() -> Row:
    what = "LoadGen on the same engine, single_stream and server at 1000/s"
    try:
        import mlperf_loadgen  # noqa: F401
    except ModuleNotFoundError:
        return Row(
            experiment="V11",
            what=what,
            criterion="shown beside",
            measured="",
            passed=True,
            kind="real",
            not_run="the package mlcommons-loadgen isn't installed",
        )
    command = [sys.executable, str(HARNESS), "--part", "loadgen", "--seconds", str(LOADGEN_S)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    found = json.loads(done.stdout.splitlines()[-1])
    measured = (
        f"mean {found['mean_gap_us']:.2f} µs from one request to the next; "
        f"server latency p50 {found['server_p50_us']:.1f} µs, p99 {found['server_p99_us']:.1f} µs"
    )
    return _row(what, "shown beside", measured, True, "real")


def _row(what: str, criterion: str, measured: str, passed: bool, kind: Kind) -> Row:
    return Row(experiment="V11", what=what, criterion=criterion, measured=measured, passed=bool(passed), kind=kind)
