"""The second methods that accel's peaks are held against, and what is said of the two."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from benchmarks.hardware import second
from benchmarks.hardware.peaks import Report, Round, agreed, lines, ratios
from tests.small_models import machine


def report(accel: list[float], native: list[float], other: list[float]) -> Report:
    rounds = tuple(
        Round(at_unix_ns=i, rates={"accel": {"fp32/1": a}, "native": {"fp32/1": b}, "openblas": {"fp32/1": c}})
        for i, (a, b, c) in enumerate(zip(accel, native, other, strict=True))
    )
    return Report(machine=machine(), rounds=rounds, missing={"likwid": "not there"})


def test_the_best_rounds_are_held_against_each_other() -> None:
    """A machine that slows down for one of them for a while shows the same ratio."""
    made = report([45.0, 90.0, 88.0], [100.0, 98.0, 50.0], [60.0, 60.0, 60.0])
    native, openblas = ratios(made)
    assert (native.method, native.accel, native.value) == ("native", 90.0, 0.9)
    assert (native.low, native.high) == (88.0 / 100.0, 90.0 / 98.0)
    assert openblas.value == 1.5
    assert native.agrees
    assert not openblas.agrees
    assert agreed(made) == {"fp32/1": True}


def test_of_main_memory_each_round_is_held_against_its_own() -> None:
    """The host gave twice as much in one round of each, and not in the same one."""
    own, native = [30.0, 60.0, 31.0, 33.0, 30.0], [30.0, 30.0, 31.0, 30.0, 60.0]
    rounds = tuple(
        Round(at_unix_ns=i, rates={"accel": {"ram/2": a}, "native": {"ram/2": b}})
        for i, (a, b) in enumerate(zip(own, native, strict=True))
    )
    (one,) = ratios(Report(machine=machine(), rounds=rounds))
    assert (one.accel, one.value) == (60.0, 1.0)
    assert (one.low, one.high) == (1.0, 1.05), "without a round at 1.0 the median lies between 1.0 and 1.1"
    slow = tuple(Round(at_unix_ns=0, rates={"accel": {"ram/2": 30.0}, "native": {"ram/2": 40.0}}) for _ in range(3))
    assert agreed(Report(machine=machine(), rounds=slow)) == {"ram/2": False}


def test_peaks_measured_too_low_are_found() -> None:
    made = report([70.0] * 3, [100.0] * 3, [50.0] * 3)
    assert agreed(made) == {"fp32/1": False}
    assert any("no second method agrees" in line for line in lines(made))
    assert any("not here: likwid" in line for line in lines(made))


def test_a_method_that_lacks_a_kind_is_left_out_there() -> None:
    one = Round(at_unix_ns=0, rates={"accel": {"int8/2": 4.0, "ram/2": 1.0}, "native": {"ram/2": 1.0}})
    made = Report(machine=machine(), rounds=(one,))
    assert [(r.what, r.method) for r in ratios(made)] == [("ram/2", "native")]
    assert msgspec.json.decode(msgspec.json.encode(made), type=Report) == made


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_program_multiplies_and_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second, "_SECONDS", 0.02)
    program = second.compiled(tmp_path)
    assert program is not None
    known = msgspec.structs.replace(machine(), caches_bytes={"L2": 1 << 18, "L3": 1 << 22}, memory_bytes=1 << 30)
    found = dict(second.native(program, known, 1, 1))
    assert {"fp32", "l2", "l3", "ram"} <= set(found)
    assert all(rate > 1e6 for rate in found.values())


@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs binutils")
def test_no_chain_of_the_program_was_optimised_away(tmp_path: Path) -> None:
    """Twelve chains that the compiler sees to be equal become one, and the rate twelve times too high."""
    import subprocess

    program = second.compiled(tmp_path)
    if program is None:
        pytest.skip("needs a C compiler")
    listing = subprocess.run(["objdump", "-d", str(program)], capture_output=True, text=True, check=True).stdout
    steps = [line for line in listing.splitlines() if "vfmadd" in line and "ps" in line]
    if not steps:
        pytest.skip("this processor has no such instruction")
    assert len(steps) >= 12
    assert len({line.split()[-1].rpartition(",")[2] for line in steps}) >= 12
