"""V5: an engine that takes a known time is said to take that time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from accel.analysis.percentiles import quantile
from accel.measurement.trace import Trace
from accel.plugins import Named, make
from tests.validation.experiment import Row
from tests.validation.servers import simulate, stub

DELAYS_S = (0.0001, 0.001, 0.01, 0.1)
RHO = 0.05
STREAM_S = {0.0001: 1.0, 0.001: 1.0, 0.01: 2.0, 0.1: 5.0}
SERVER_S = {0.0001: 2.0, 0.001: 4.0, 0.01: 15.0, 0.1: 60.0}
OFF_S, OFF_SHARE = 20e-6, 0.002
ABOVE_S = 100e-6


def quick() -> list[Row]:
    """On the virtual clock nothing else takes time, so the median is the delay to the nanosecond."""
    rows = []
    for delay in DELAYS_S:
        for scenario in (Named("single_stream", {"limit": 200}), _server(delay)):
            duration = 100 * delay / (RHO if scenario.name == "server" else 1)
            plan = make("scenarios", scenario).plan(64, seed=1, trial=0, duration_s=duration)
            trace = simulate(plan, np.full(64, round(delay * 1e9)))
            rows.append(_row(scenario.name, delay, trace, "virtual"))
    return rows


def full() -> Iterator[Row]:
    """The spinning stub in real measure children."""
    yield from quick()
    for delay in DELAYS_S:
        with stub(item_s=delay) as child:
            _, trace = child.run(Named("single_stream"), STREAM_S[delay], trial=1)
            yield _row("single_stream", delay, trace, "real")
            _, trace = child.run(_server(delay), SERVER_S[delay], trial=2)
            yield _row("server", delay, trace, "real")


def _server(delay: float) -> Named:
    return Named("server", {"rate": RHO / delay})


def _row(scenario: str, delay: float, trace: Trace, kind: str) -> Row:
    done = trace.counted().ok()
    p50 = quantile(done.latency_ns * 1e-9, 0.5)
    if scenario == "server":
        passed, criterion = delay <= p50 + 1e-9 and p50 <= delay + ABOVE_S, "p50 from schedule between D and D + 100 µs"
    else:
        passed, criterion = abs(p50 - delay) <= OFF_S + OFF_SHARE * delay, "|p50 - D| <= 20 µs + 0.2 % D"
    return Row(
        experiment="V5",
        what=f"{scenario}, D = {delay * 1e3:g} ms" + (f", load {RHO:g}" if scenario == "server" else ""),
        criterion=criterion,
        measured=f"p50 - D = {(p50 - delay) * 1e6:.1f} µs of {len(done)} requests",
        passed=bool(passed) and len(done) == len(trace.counted()),
        kind="virtual" if kind == "virtual" else "real",
    )
