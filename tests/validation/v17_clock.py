"""V17: the time of day plays no part: clocks that jump or run backwards change no measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from unittest.mock import patch

import msgspec
import numpy as np

from accel.batching.single import Single
from accel.measurement import loop, noise
from accel.measurement.clock import SystemClock
from accel.measurement.feeding import Feed
from accel.measurement.snapshot import snapshot
from accel.measurement.trace import OK, Trace
from accel.plugins import Named, make
from tests.measurement.simulated import Pool, Spin
from tests.validation.experiment import Row

JUMP_S = 3600.0
WALL_CLOCKS = ("time", "time_ns", "clock_gettime", "clock_gettime_ns", "localtime", "gmtime")
SERVICE_NS = 200_000
RATE, SECONDS = 200.0, 0.4


class _Jumping:
    """The time of day as if somebody set it an hour on before every reading.

    Only on: a loop that used it would otherwise wait for the hour to pass, and never be found out.
    """

    def __init__(self) -> None:
        self.read = 0

    def instead_of(self, name: str) -> Callable[..., object]:
        real = getattr(time, name)

        def jumped(*given: object) -> object:
            self.read += 1
            value = real(*given)
            if not isinstance(value, int | float):
                return value
            return value + self.read * (round(JUMP_S * 1e9) if name.endswith("_ns") else JUMP_S)

        return jumped


def quick() -> list[Row]:
    """The product's loop and clock for 0.4 s, while everything that tells the time of day jumps by an hour."""
    read, source = SystemClock().now_ns, time.get_clock_info("perf_counter").implementation
    clock_is = Row(
        experiment="V17",
        what="source of all times",
        criterion="CLOCK_MONOTONIC, which setting the time of day doesn't touch",
        measured=f"{read.__name__}, {source}",
        passed="MONOTONIC" in source and read is time.perf_counter_ns,
        kind="virtual",
    )
    plan = make("scenarios", Named("server", {"rate": RATE, "lead_s": 0.0, "tail_s": 0.0})).plan(
        64, seed=1, trial=0, duration_s=SECONDS
    )
    jumping = _Jumping()
    with ExitStack() as stack:
        for name in WALL_CLOCKS:
            stack.enter_context(patch.object(time, name, jumping.instead_of(name)))
        clock = SystemClock()
        feed = Feed(Spin(clock, lambda call, n: SERVICE_NS), Pool())
        trace = loop.run(plan, Single(), feed, clock, drain_ns=10**10).trace
    return [clock_is, _unread(jumping.read), _sound(trace, plan.due_ns), *_witnessed()]


def full() -> Iterator[Row]:
    """The same; setting the machine's real clock would harm whoever else uses it."""
    yield from quick()
    yield Row(
        experiment="V17",
        what="the real time of day set an hour on and back during a run",
        criterion="no latency changes",
        measured="",
        passed=True,
        kind="real",
        not_run="the machine's clock belongs to everybody on it; the rows above put jumping clocks under the loop",
    )


def _witnessed() -> list[Row]:
    """What 60 s of clocks that run apart, and of a machine that slept, do to the witnesses."""
    second = 1_000_000_000
    cases: list[tuple[str, tuple[int, int, int], str]] = [
        ("clocks that agree over 60 s", (60 * second, 60 * second, 60 * second), "valid; W8 ok; W8S ok"),
        ("MONOTONIC 500 ppm too fast", (60_030_000_000, 60 * second, 60_030_000_000), "valid; W8 warn; W8S ok"),
        ("a machine that slept for 5 s", (60 * second, 60 * second, 65 * second), "invalid; W8 ok; W8S invalid"),
    ]
    before = msgspec.structs.replace(snapshot(), clocks_ns=(0, 0, 0))
    rows = []
    for what, clocks, expected in cases:
        found, _ = noise.judge(before, msgspec.structs.replace(before, clocks_ns=clocks))
        levels = {w.id: w.level for w in found}
        measured = f"{noise.validity(found)}; W8 {levels['W8']}; W8S {levels['W8S']}"
        rows.append(
            Row(
                experiment="V17",
                what=what,
                criterion=expected,
                measured=measured,
                passed=measured == expected,
                kind="virtual",
            )
        )
    return rows


def _unread(reads: int) -> Row:
    return Row(
        experiment="V17",
        what=f"times of day that jump by {JUMP_S / 60:g} minutes at every reading, under the loop",
        criterion="never read while measuring",
        measured=f"read {reads} times",
        passed=reads == 0,
        kind="virtual",
    )


def _sound(trace: Trace, due_ns: np.ndarray[tuple[int], np.dtype[np.int64]] | None) -> Row:
    """No absolute timing is asserted but that an hour isn't in it."""
    assert due_ns is not None
    times = np.concatenate([trace.latency_ns, trace.service_ns, np.diff(trace.finished)])
    ordered = bool((trace.due == due_ns).all() and (trace.taken >= trace.due).all() and (times >= 0).all())
    complete = len(trace) == len(due_ns) and bool((trace.status == OK).all())
    least = float(trace.service_ns.min()) * 1e-9
    return Row(
        experiment="V17",
        what="the run beside those jumps",
        criterion="every request answered, in order, none in less than its service time or as much as a minute",
        # Wall times differ from run to run, so only the verdicts are printed.
        measured=f"complete {complete}, in order {ordered}",
        passed=complete and ordered and least >= SERVICE_NS * 1e-9 and float(times.max()) < 60e9,
        kind="virtual",
    )
