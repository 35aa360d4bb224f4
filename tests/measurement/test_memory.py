"""Peaks of memory, from recorded texts and for real in a child of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from accel.measurement import memory

REAL = """
from accel.measurement import memory
import numpy as np
def grow(mb):
    np.ones(mb * 131072)
memory.reset_peak()
base = memory.peak_bytes()
grow(64)
first = memory.peak_bytes()
worked = memory.reset_peak()
second = memory.peak_bytes()
grow(16)
print(worked, base, first, second, memory.peak_bytes(), memory.private_bytes())
"""


def test_recorded_texts(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t  120 kB\nVmRSS:\t  100 kB\n")
    (tmp_path / "smaps_rollup").write_text("Rss: 9 kB\nPrivate_Clean:     3 kB\nPrivate_Dirty:     40 kB\n")
    assert memory.peak_bytes(tmp_path) == 120 * 1024
    assert memory.private_bytes(tmp_path) == 43 * 1024
    assert memory.reset_peak(tmp_path)
    assert (tmp_path / "clear_refs").read_text() == "5"


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    missing = tmp_path / "no such process"
    assert memory.peak_bytes(missing) is None
    assert memory.private_bytes(missing) is None
    assert not memory.reset_peak(missing)


@pytest.mark.skipif(memory.peak_bytes() is None, reason="this system has no VmHWM")
def test_a_peak_that_sampling_would_miss_is_seen_and_starts_anew() -> None:
    done = subprocess.run([sys.executable, "-c", REAL], capture_output=True, text=True, check=True)
    worked, *numbers = done.stdout.split()
    base, first, second, third, private = map(int, numbers)
    assert first - base == pytest.approx(64 * 2**20, rel=0.05)
    if worked == "True":
        assert second < base + 8 * 2**20
        assert third - second == pytest.approx(16 * 2**20, rel=0.15)
    assert 0 < private < first
