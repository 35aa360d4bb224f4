"""V6: a freeze of the engine is seen by everyone who arrives during it, or by nobody who waits to be answered."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from accel.analysis.percentiles import quantile
from accel.batching.single import Single
from accel.checkup.freeze import Freeze, run_frozen, scenario_of
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.loop import run
from accel.measurement.trace import Trace
from accel.plugins import make
from accel.study.live import Live
from accel.study.profiles import profile
from accel.study.standin import folder_of, stand_in
from tests.measurement.simulated import Pool, Spin
from tests.validation.experiment import Row

FREEZE = Freeze(service_s=0.002, rate=50.0, duration_s=60.0, stall_s=2.0, after_s=20.0)
TOLERANCE = 0.05
LATE_S = 0.05
CLOSED_P99_S = 0.010
Kind = Literal["virtual", "real"]


def quick() -> list[Row]:
    """The product's loop on the fake clock: the call that is under way at `after_s` takes the freeze longer."""
    return _rows(_virtual("from schedule"), _virtual("closed loop"), FREEZE, "virtual", 0.0)


def full() -> Iterator[Row]:
    """One SIGSTOP of a real measure child, under each view."""
    yield from quick()
    yield from real(FREEZE)


def real(freeze: Freeze) -> list[Row]:
    """Both views of a freeze of this size, for real."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = folder_of(Path(place) / "study")
        stub = stand_in(folder, "frozen", item_s=freeze.service_s)
        with Live(stub, folder, profile("quick"), seed=1, tag="v6") as live:
            schedule, _ = run_frozen(live, folder, freeze, "from schedule")
            closed, _ = run_frozen(live, folder, freeze, "closed loop")
    return _rows(schedule, closed, freeze, "real", time.perf_counter() - begun)


def _virtual(latency: str) -> Trace:
    clock, service, stall = FakeClock(), round(FREEZE.service_s * 1e9), round(FREEZE.stall_s * 1e9)
    begins = round(FREEZE.after_s * 1e9)
    frozen: list[int] = []

    def takes(call: int, n: int) -> int:
        if not frozen and clock.now_ns() >= begins:
            frozen.append(call)
            return service + stall
        return service

    plan = make("scenarios", scenario_of(FREEZE, latency)[0]).plan(64, seed=1, trial=0, duration_s=FREEZE.duration_s)
    return run(plan, Single(), Feed(Spin(clock, takes), Pool()), clock, drain_ns=60 * 10**9).trace


def _rows(schedule: Trace, closed: Trace, freeze: Freeze, kind: Kind, seconds: float) -> list[Row]:
    def row(what: str, criterion: str, measured: str, passed: bool) -> Row:
        return Row(
            experiment="V6",
            what=f"{what}; {freeze.stall_s:g} s frozen in {freeze.duration_s:g} s at {freeze.rate:g}/s",
            criterion=criterion,
            measured=measured,
            passed=passed,
            kind=kind,
            seconds=seconds / 4,
        )

    waits = schedule.ok().latency_ns * 1e-9
    rows = []
    for p in (0.99, 0.97):
        truth, seen = freeze.quantile_s(p), quantile(waits, p)
        near = abs(seen / truth - 1) <= TOLERANCE
        rows.append(row(f"p{100 * p:.0f} from schedule", f"{truth:.4g} s within 5 %", f"{seen:.4g} s", near))
    # The freeze may begin right after an arrival: then the first one to meet it comes a gap later.
    low, high = freeze.stall_s - 1 / freeze.rate, freeze.stall_s + LATE_S
    longest = float(waits.max())
    rows.append(row("longest wait", f"in [{low:.3g}, {high:.3g}] s", f"{longest:.4g} s", low <= longest <= high))
    waited = closed.ok().latency_ns * 1e-9
    there, here = quantile(waited, 0.99), quantile(waits, 0.99)
    contrast = there < CLOSED_P99_S and here > 20 * there and float(waited.max()) > 0.9 * freeze.stall_s
    measured = f"{there * 1e3:.4g} ms of {len(waited)} requests, the longest {waited.max():.4g} s; {here:.4g} s"
    criterion = f"p99 < {CLOSED_P99_S * 1e3:g} ms, the freeze being in its longest; 20 times that from schedule"
    return [*rows, row("p99 in a closed loop, and from schedule", criterion, measured, contrast)]
