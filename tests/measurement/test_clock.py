"""The real clock on a made-up machine whose sleeps end late by a known time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accel.measurement import clock as module
from accel.measurement.clock import SystemClock

READ_NS = 100


class Machine:
    """Stands in for `time`: reading takes 100 ns, a sleep ends `late_ns(its length)` after it should."""

    def __init__(self, late_ns: Callable[[int], int]) -> None:
        self.now, self._late_ns = 10**12, late_ns
        self.slept: list[int] = []

    def perf_counter_ns(self) -> int:
        self.now += READ_NS
        return self.now

    def sleep(self, seconds: float) -> None:
        ns = round(seconds * 1e9)
        self.slept.append(ns)
        self.now += ns + (self._late_ns(ns) if ns else 0)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], int]], Machine]:
    def put(late_ns: Callable[[int], int]) -> Machine:
        machine = Machine(late_ns)
        monkeypatch.setattr(module, "time", machine)
        return machine

    return put


def lateness(clock: SystemClock, machine: Machine, gap_ns: int, count: int) -> list[int]:
    found = []
    for _ in range(count):
        due = machine.now + gap_ns
        clock.wait_until(due)
        found.append(machine.now - due)
    return found


def test_it_is_never_early_and_on_time_where_sleeps_end_soon(on: Callable[..., Machine]) -> None:
    machine = on(lambda ns: 20_000)
    assert all(0 <= late <= 2 * READ_NS for late in lateness(SystemClock(), machine, 5_000_000, 50))


def test_it_learns_how_late_long_sleeps_end(on: Callable[..., Machine]) -> None:
    machine = on(lambda ns: 250_000 if ns > 2_000_000 else 10_000)
    late = lateness(SystemClock(), machine, 10_000_000, 30)
    assert late[0] > 100_000
    assert max(late[8:]) <= 2 * READ_NS


def test_it_forgets_slowly_and_spins_no_more_than_a_millisecond(on: Callable[..., Machine]) -> None:
    delay = [5_000_000]
    machine = on(lambda ns: delay[0])
    clock = SystemClock()
    lateness(clock, machine, 20_000_000, 20)
    assert machine.slept[-1] >= 20_000_000 - 1_000_000 - 2 * READ_NS
    delay[0] = 0
    lateness(clock, machine, 20_000_000, 1)
    assert machine.slept[-1] <= 20_000_000 - 900_000
    lateness(clock, machine, 20_000_000, 500)
    assert machine.slept[-1] >= 20_000_000 - 170_000


def test_without_a_spin_it_only_sleeps(on: Callable[..., Machine]) -> None:
    machine = on(lambda ns: 50_000)
    assert min(lateness(SystemClock(spin_ns=0), machine, 1_000_000, 10)) >= 50_000
    assert len(machine.slept) == 10


def test_with_several_workers_the_others_may_run_while_it_spins(on: Callable[..., Machine]) -> None:
    machine = on(lambda ns: 10_000)
    SystemClock(yields=True).wait_until(machine.now + 1_000_000)
    assert machine.slept[0] > 0
    assert machine.slept.count(0) > 100
