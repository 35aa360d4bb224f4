"""Witnesses from recorded texts: exact values, and a missing source is missing, not zero."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from accel.measurement.noise import judge, judge_answers, judge_lag, judge_steady, validity, witness
from accel.measurement.nvml import GpuReading, Nvml
from accel.measurement.snapshot import Snapshot, parse_schedstats, snapshot
from accel.measurement.trace import Trace
from accel.result import Check, Steady, Witness
from tests.measurement.nvml_stand_in import StandIn

QUIET = Snapshot(
    wall_ns=0,
    cpu_ticks=(1000, 10),
    throttle=(50, 1),
    delay_ns=(10**9, 0),
    stall_us=0,
    major_faults=4,
    cpu_s=1.0,
    switches=100,
    clocks_ns=(0, 0, 0),
    clock_khz=3_000_000,
    heat_events=7,
    gpus=(GpuReading(clock_mhz=1500, reasons=0),),
)


def after(**changes: object) -> list[Witness]:
    later: dict[str, object] = {"wall_ns": 10**9, "cpu_ticks": (2000, 10), "throttle": (150, 1)}
    later |= {"delay_ns": (2 * 10**9, 0), "clocks_ns": (10**9, 10**9, 10**9)}
    return judge(QUIET, msgspec.structs.replace(QUIET, **{**later, **changes}))[0]


def levels(found: list[Witness]) -> dict[str, str]:
    return {w.id: w.level for w in found if w.level != "ok"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"cpu_ticks": (2000, 19)}, {}),
        ({"cpu_ticks": (2000, 25)}, {"W1": "warn"}),
        ({"cpu_ticks": (2000, 50)}, {"W1": "unstable"}),
        ({"cpu_ticks": (2000, 300)}, {"W1": "invalid"}),
        ({"throttle": (1050, 2)}, {"W2": "warn"}),
        ({"throttle": (150, 4)}, {"W2": "unstable"}),
        ({"delay_ns": (2 * 10**9, 10**8)}, {"W3": "warn"}),
        ({"delay_ns": (2 * 10**9, 4 * 10**8)}, {"W3": "unstable"}),
        ({"stall_us": 4000}, {}),
        ({"stall_us": 6000}, {"W5": "unstable"}),
        ({"major_faults": 5}, {"W5F": "unstable"}),
        ({"switches": 10**6}, {}),
        ({"clock_khz": 2_900_000}, {}),
        ({"clock_khz": 2_800_000}, {"W6": "warn"}),
        ({"gpus": (GpuReading(clock_mhz=1200, reasons=0),)}, {"W6": "warn"}),
        ({"heat_events": 8}, {"W6T": "unstable"}),
        ({"gpus": (GpuReading(clock_mhz=1500, reasons=0x04),)}, {}),
        ({"gpus": (GpuReading(clock_mhz=1500, reasons=0x44),)}, {"W6G": "unstable"}),
        ({"clocks_ns": (10**9, 10**9 - 90_000, 10**9)}, {}),
        ({"clocks_ns": (10**9, 10**9 - 110_000, 10**9)}, {"W8": "warn"}),
        ({"clocks_ns": (10**9, 10**9, 10**9 + 9_000_000)}, {}),
        ({"clocks_ns": (10**9, 10**9, 31 * 10**9)}, {"W8S": "invalid"}),
    ],
)
def test_levels(changes: dict[str, object], expected: dict[str, str]) -> None:
    assert levels(after(**changes)) == expected


def test_values_and_sentences_by_hand() -> None:
    found = {w.id: w for w in after(cpu_ticks=(2000, 60))}
    assert found["W1"].value == pytest.approx(0.05)
    assert found["W1"].sentence == "The host took 5 % of the processor time away (steal)."
    crowded = {w.id: w for w in after(delay_ns=(2 * 10**9, 78 * 10**8))}
    assert crowded["W3"].sentence.endswith("waited 780 % of their running time."), "not 7.8e+02 %"


def test_missing_sources_are_listed_and_never_zero(tmp_path: Path) -> None:
    empty = snapshot(tmp_path)
    assert (empty.cpu_ticks, empty.throttle, empty.delay_ns, empty.stall_us) == (None, None, None, None)
    found, missing = judge(empty, snapshot(tmp_path))
    assert {w.id for w in found} == {"W4", "W5F", "W8", "W8S"}
    absent = ["W1: /proc/stat", "W2: cpu.stat", "W3: schedstat", "W5: /proc/pressure"]
    assert missing == [*absent, "W6: cpufreq, NVML", "W6T: thermal_throttle", "W6G: NVML"]
    _, missing = judge(msgspec.structs.replace(QUIET, clocks_ns=None, switches=None), QUIET)
    assert missing == ["W4: getrusage", *(f"{w}: CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME" for w in ("W8", "W8S"))]


def test_a_source_that_vanishes_in_between_is_missing(tmp_path: Path) -> None:
    found, missing = judge(QUIET, msgspec.structs.replace(QUIET, cpu_ticks=None))
    assert "W1" not in {w.id for w in found}
    assert missing == ["W1: /proc/stat"]


def test_a_snapshot_reads_a_recorded_machine(tmp_path: Path) -> None:
    texts = {
        "proc/stat": "cpu  100 1 50 800 20 0 9 20 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n",
        "proc/pressure/memory": "some avg10=1.00 total=11\nfull avg10=0.00 total=5\n",
        "proc/pressure/io": "some avg10=1.00 total=99\nfull avg10=0.00 total=42\n",
        "proc/self/cgroup": "0::/work\n",
        "proc/self/task/1/schedstat": "700 30 5\n",
        "proc/self/task/2/schedstat": "300 12 5\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "800000\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3100000\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "2\n",
        "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "0\n",
        "sys/fs/cgroup/work/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 2\nthrottled_usec 7\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    seen = snapshot(tmp_path, Nvml(StandIn()))
    assert (seen.clock_khz, seen.heat_events) == (3_100_000, 5), "the busy processor is the fastest"
    assert seen.gpus == (GpuReading(clock_mhz=1500, reasons=0, energy_mj=1000, power_mw=50_000),)
    assert seen.cpu_ticks == (1000, 20), "guest ticks are part of user ticks already"
    assert seen.throttle == (9, 2)
    assert seen.delay_ns == (1000, 42)
    assert seen.stall_us == 42


def test_this_machine_can_be_read_and_is_never_negative() -> None:
    found, _ = judge(snapshot(), snapshot())
    assert all(w.value >= 0 for w in found)


def lagging(lag_ns: list[int], service_ns: int = 1_000_000) -> Trace:
    n = len(lag_ns)
    due = np.arange(n, dtype=np.int64) * 10**9
    started = due + np.array(lag_ns)
    ones = np.ones(n, np.int64)
    return Trace(
        due=due,
        taken=started,
        started=started,
        finished=started + service_ns,
        batch=np.arange(n),
        batch_size=ones,
        sample=ones,
        status=ones * 0,
        warmup=ones * 0,
    )


@pytest.mark.parametrize(
    ("late", "lag_ns", "service_ns", "level"),
    [
        (0, 0, 10**6, "ok"),
        (5, 900_000, 10**6, "ok"),
        (5, 1_200_000, 10**6, "ok"),
        (15, 1_200_000, 10**6, "invalid"),
        (15, 1_200_000, 900_000_000, "invalid"),
        (15, 900_000, 10**6, "warn"),
        (999, 990_000, 100_000_000, "ok"),
    ],
)
def test_a_late_harness_invalidates_an_open_loop_only(late: int, lag_ns: int, service_ns: int, level: str) -> None:
    trace = lagging([lag_ns] * late + [0] * (1000 - late), service_ns)
    assert judge_lag(trace, 1, open_loop=True).level == level
    assert judge_lag(trace, 1, open_loop=False).level in ("ok", "warn")


def test_warm_up_does_not_count_as_lag() -> None:
    trace = msgspec.structs.replace(lagging([10**8] * 50), warmup=np.ones(50, np.int64))
    assert judge_lag(trace, 1, open_loop=True).level == "ok"


def test_errors_and_nan_are_invalid_unfinished_requests_are_not() -> None:
    assert judge_answers(0, 7, 0).level == "ok"
    assert "7 were not answered" in judge_answers(0, 7, 0).sentence
    assert judge_answers(0, 7, 0, 3).level == "ok", "who is given up is late, not wrongly answered"
    assert judge_answers(0, 0, 0, 3).sentence.endswith("infinity; 3 were given up by the batching policy.")
    assert judge_answers(1, 0, 0).level == "invalid"
    assert judge_answers(0, 0, 1).level == "invalid"


def test_validity_is_the_worst() -> None:
    ok, bad = witness("W1", 0.0, ""), witness("W1", 0.5, "")
    assert validity([ok]) == "valid"
    assert validity([ok, witness("W1", 0.05, "")]) == "unstable"
    assert validity([bad, witness("W1", 0.05, "")]) == "invalid"
    assert validity([ok], Check(checked=3, mismatched=1, limit=0.1, largest=0.2)) == "invalid"
    assert validity([ok], Check(checked=3, mismatched=0, limit=0.1, largest=0.0)) == "valid"


def test_a_busy_processor_shows_as_run_delay(tmp_path: Path) -> None:
    """Two recorded snapshots: 100 ms of work for which a thread waited 40 ms."""
    before = parse_schedstats(["1000000000 5000000 9"])
    later = parse_schedstats(["1100000000 45000000 9"])
    found, _ = judge(msgspec.structs.replace(QUIET, delay_ns=before), msgspec.structs.replace(QUIET, delay_ns=later))
    assert {w.id: w.value for w in found}["W3"] == pytest.approx(0.4)


def test_switches_are_a_rate_for_the_comparison_within_the_study() -> None:
    found = {w.id: w for w in after(switches=150, wall_ns=2 * 10**9)}["W4"]
    assert (found.value, found.level, found.warn, found.unstable) == (25.0, "ok", None, None)


def test_the_calendar_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    before = snapshot()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    found, _ = judge(before, snapshot())
    assert {w.id: w.level for w in found if w.id in ("W8", "W8S")} == {"W8": "ok", "W8S": "ok"}


@pytest.mark.parametrize(
    ("label", "change", "cut", "level"),
    [
        ("flat", 0.0, False, "ok"),
        ("short", 0.0, False, "ok"),
        ("slowdown", 0.08, False, "warn"),
        ("slowdown", 0.3, False, "unstable"),
        ("none", 0.3, False, "unstable"),
        ("warmup", 0.3, True, "ok"),
        ("warmup", 0.3, False, "warn"),
    ],
)
def test_only_a_large_change_of_level_decides(label: str, change: float, cut: bool, level: str) -> None:
    steady = msgspec.convert({"label": label, "change": change, "used_from": 40}, Steady)
    assert judge_steady(steady, cut=cut).level == level
