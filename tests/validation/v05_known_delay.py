"""V5: an engine that takes a known time is said to take that time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

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
K, PAUSE_S = 4, 0.02
CLOSED_S, OTHERS_D_S = 4.0, 0.01
OFF_S, OFF_SHARE = 20e-6, 0.002
ABOVE_S = 100e-6
Kind = Literal["virtual", "real"]


def quick() -> list[Row]:
    """On the virtual clock nothing else takes time, so the median is the delay to the nanosecond."""
    rows = []
    for delay in DELAYS_S:
        for scenario in (Named("single_stream", {"limit": 200}), _server(delay)):
            duration = 100 * delay / (RHO if scenario.name == "server" else 1)
            plan = make("scenarios", scenario).plan(64, seed=1, trial=0, duration_s=duration)
            trace = simulate(plan, np.full(64, round(delay * 1e9)))
            rows.append(_row(scenario.name, delay, trace, "virtual"))
    for scenario in _others():
        plan = make("scenarios", scenario).plan(64, seed=1, trial=0, duration_s=CLOSED_S)
        trace = simulate(plan, np.full(64, round(OTHERS_D_S * 1e9)))
        rows += _closed(scenario, trace, "virtual")
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
    with stub(item_s=OTHERS_D_S) as child:
        for scenario in _others():
            _, trace = child.run(scenario, CLOSED_S, trial=3)
            yield from _closed(scenario, trace, "real")


def _others() -> tuple[Named, Named]:
    """The other closed loops: several clients at once, and one who pauses."""
    return Named("closed_loop", {"k": K}), Named("single_stream", {"gap_s": PAUSE_S, "warmup": 2})


def _closed(scenario: Named, trace: Trace, kind: Kind) -> list[Row]:
    """One worker serves K clients at 1/D, so that each waits K D; one client who pauses waits D, each D + pause."""
    several = scenario.name == "closed_loop"
    wait_s, cycle_s = (K * OTHERS_D_S, OTHERS_D_S) if several else (OTHERS_D_S, OTHERS_D_S + PAUSE_S)
    what = f"closed_loop({K}), D = 10 ms" if several else "single_stream with pauses of 20 ms, D = 10 ms"
    done = trace.counted().ok()
    p50 = quantile(done.latency_ns * 1e-9, 0.5)
    found_s = quantile(np.diff(done.finished) * 1e-9, 0.5)
    return [
        Row(
            experiment="V5",
            what=f"{what}: {quantity}",
            criterion=f"|{name} - {expected * 1e3:g} ms| <= 20 µs + 0.2 %",
            measured=f"off by {(value - expected) * 1e6:.1f} µs, {len(done)} requests",
            passed=abs(value - expected) <= OFF_S + OFF_SHARE * expected,
            kind=kind,
        )
        for quantity, name, value, expected in (
            ("latency", "p50", p50, wait_s),
            ("time from one answer to the next", "median", found_s, cycle_s),
        )
    ]


def _server(delay: float) -> Named:
    return Named("server", {"rate": RHO / delay})


def _row(scenario: str, delay: float, trace: Trace, kind: Kind) -> Row:
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
        kind=kind,
    )
