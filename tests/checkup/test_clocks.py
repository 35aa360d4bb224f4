from __future__ import annotations

import itertools

import pytest

from accel.checkup import clocks
from accel.measurement.clock import FakeClock


def test_how_late_a_wait_ends_is_read_off_the_clock() -> None:
    clock, late = FakeClock(), itertools.cycle([0, 5_000])

    def wait_until(due_ns: int) -> None:
        clock.wait_until(due_ns + next(late))

    assert clocks.overshoots(wait_until, 4, clock.now_ns).tolist() == pytest.approx([0.0, 5e-6, 0.0, 5e-6])


def test_drift_is_the_difference_to_the_raw_clock_in_millionths(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(0, 0), (10_000_500_000, 10_000_000_000)])
    monkeypatch.setattr(clocks, "_both", lambda: next(readings))
    ppm, over_s = clocks.Drift().ppm()
    assert (ppm, over_s) == (pytest.approx(50.0), pytest.approx(10.0))


def test_without_a_raw_clock_there_is_no_drift_rather_than_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "_both", lambda: None)
    assert clocks.Drift().ppm() == (None, 0.0)


def test_this_machines_clock_is_looked_at_for_real() -> None:
    found = clocks.look(sleeps=30)
    assert found.reading_s is not None
    assert 0 < found.reading_s.value < 1e-3
    assert found.resolution_s > 0
    # Thirty sleeps carry a median and no p99.
    assert [(w.p50 is None, w.p99 is None) for w in found.waits] == [(False, True)] * 2
    assert all(w.p50 is not None and w.p50.value >= 0 for w in found.waits)
