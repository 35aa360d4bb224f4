"""V12: do the witnesses speak when the machine disturbs a run, and only then?

Recorded files first: each witness has to read exact values and to change its level where its limit lies. Then for real
(`disturbed`): a stub in a measure child beside a process that takes its core, under a quota, left alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.measurement import noise
from accel.measurement.nvml import GpuReading, slowed_by
from accel.measurement.snapshot import Snapshot, snapshot
from accel.measurement.steady import label
from accel.measurement.trace import Trace
from accel.result import Witness
from accel.study.standin import folder_of
from tests.validation import disturbed
from tests.validation.experiment import Row

BEFORE = {
    "proc/stat": "cpu  100 0 50 800 20 0 10 20 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n",
    "proc/pressure/memory": "some avg10=1.00 total=11\nfull avg10=0.00 total=1000\n",
    "proc/pressure/io": "some avg10=1.00 total=99\nfull avg10=0.00 total=2000\n",
    "proc/self/cgroup": "0::/work\n",
    "proc/self/task/1/schedstat": "700000000 30000000 5\n",
    "proc/self/task/2/schedstat": "300000000 10000000 5\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
    "sys/fs/cgroup/work/cpu.stat": "usage_usec 5\nnr_periods 100\nnr_throttled 2\nthrottled_usec 7\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "800000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3000000\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "2\n",
}
SOURCES = {
    "W1": "proc/stat",
    "W2": "sys/fs/cgroup/work/cpu.stat",
    "W3": "proc/self/task/1/schedstat",
    "W5": "proc/pressure/io",
    "W6": "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq",
    "W6T": "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
}


class Case(msgspec.Struct, frozen=True):
    """A witness, the file's text after one second, and what has to be read from both."""

    witness: str
    text: str
    value: float
    level: str


# Between the two readings lies one second; the first is BEFORE.
FILES = (
    Case("W1", "cpu  1095 0 50 800 20 0 10 25 7 0\n", 0.005, "ok"),
    Case("W1", "cpu  1085 0 50 800 20 0 10 35 7 0\n", 0.015, "warn"),
    Case("W1", "cpu  1050 0 50 800 20 0 10 70 7 0\n", 0.05, "unstable"),
    Case("W1", "cpu  850 0 50 800 20 0 10 270 7 0\n", 0.25, "invalid"),
    Case("W2", "nr_periods 110\nnr_throttled 2\n", 0.0, "ok"),
    Case("W2", "nr_periods 300\nnr_throttled 3\n", 0.005, "warn"),
    Case("W2", "nr_periods 110\nnr_throttled 7\n", 0.5, "unstable"),
    # What 93 quiet runs of six runtimes read at most, and at least beside another process.
    Case("W3", "1700000000 72000000 5\n", 0.042, "ok"),
    Case("W3", "1700000000 130000000 5\n", 0.1, "warn"),
    Case("W3", "1700000000 930000000 5\n", 0.9, "unstable"),
    Case("W5", "some avg10=0 total=1\nfull avg10=0.00 total=6000\n", 0.004, "ok"),
    Case("W5", "some avg10=0 total=1\nfull avg10=0.00 total=8000\n", 0.006, "unstable"),
    Case("W6", "2940000\n", 0.02, "ok"),
    Case("W6", "2700000\n", 0.1, "warn"),
    Case("W6T", "3\n", 0.0, "ok"),
    Case("W6T", "4\n", 1.0, "unstable"),
)


def quick() -> list[Row]:
    return [*recorded(), missing(), *from_values(), *of_the_run()]


def full() -> Iterator[Row]:
    yield from quick()
    with tempfile.TemporaryDirectory() as root:
        folder = folder_of(Path(root) / "study")
        yield from disturbed.contention(folder)
        yield disturbed.quota(folder)
        yield disturbed.from_disk(folder)


def recorded() -> Iterator[Row]:
    """Each case's file read by the product, before and after."""
    for name, path in SOURCES.items():
        cases = [c for c in FILES if c.witness == name]
        seen = [_of_files(path, c.text).get(name) for c in cases]
        right = [
            w is not None and abs(w.value - c.value) < 1e-12 and w.level == c.level
            for w, c in zip(seen, cases, strict=True)
        ]
        got = ", ".join("null" if w is None else f"{w.value:.4g} {w.level}" for w in seen)
        want = ", ".join(f"{c.value:.4g} {c.level}" for c in cases)
        yield _row(f"{name} from recorded files", want, got, all(right))


def _of_files(path: str, text: str | None) -> dict[str, Witness]:
    """Witnesses between BEFORE and the same with one file changed (None: taken away), one second later."""
    return {w.id: w for w in _two(path, text)[0]}


def _two(path: str, text: str | None) -> tuple[list[Witness], list[str]]:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name, content in BEFORE.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        before = msgspec.structs.replace(snapshot(root), wall_ns=0)
        if text is None:
            (root / path).unlink()
        else:
            (root / path).write_text(text)
        return noise.judge(before, msgspec.structs.replace(snapshot(root), wall_ns=10**9))


def missing() -> Row:
    """A source that is taken away is null and named; an empty machine names every one."""
    wrong = []
    for name, path in SOURCES.items():
        if name in ("W3", "W6", "W6T", "W5"):
            continue  # several files each: see below
        found, absent = _two(path, None)
        if name in {w.id for w in found} or not any(a.startswith(f"{name}:") for a in absent):
            wrong.append(name)
    with tempfile.TemporaryDirectory() as nothing:
        empty = snapshot(Path(nothing))
        found, absent = noise.judge(empty, empty)
    named = {a.partition(":")[0] for a in absent}
    wrong += sorted({"W1", "W2", "W3", "W5", "W6", "W6T", "W6G"} - named)
    wrong += sorted(named & {w.id for w in found})
    return _row("sources that aren't there", "null and listed, never zero", f"wrong: {wrong or 'none'}", not wrong)


def _snapshot(**changes: Any) -> Snapshot:
    plain = Snapshot(
        wall_ns=0,
        cpu_ticks=(0, 0),
        throttle=(0, 0),
        delay_ns=(0, 0),
        stall_us=0,
        major_faults=0,
        cpu_s=0.0,
        switches=0,
        clocks_ns=(0, 0, 0),
        gpus=(GpuReading(clock_mhz=1500, reasons=0),),
    )
    return msgspec.structs.replace(plain, **changes)


def from_values() -> Iterator[Row]:
    """Faults and GPUs: counters that aren't files. Clocks are V17's."""
    cases: tuple[tuple[str, str, dict[str, Any], str], ...] = (
        ("W5F", "no page from disk", {"major_faults": 0}, "ok"),
        ("W5F", "one page from disk", {"major_faults": 1}, "unstable"),
        ("W6G", "GPU idle, capped (0x05)", {"gpus": (GpuReading(clock_mhz=1500, reasons=0x05),)}, "ok"),
        ("W6G", "GPU too hot (0x40)", {"gpus": (GpuReading(clock_mhz=1500, reasons=0x40),)}, "unstable"),
        ("W6G", "GPU power brake (0x80)", {"gpus": (GpuReading(clock_mhz=1500, reasons=0x80),)}, "unstable"),
        ("W6", "GPU clock 10 % down", {"gpus": (GpuReading(clock_mhz=1350, reasons=0),)}, "warn"),
    )
    for name, what, changes, level in cases:
        found = {w.id: w for w in noise.judge(_snapshot(), _snapshot(wall_ns=10**9, **changes))[0]}
        yield _row(f"{name}: {what}", level, found[name].level, found[name].level == level)
    words = slowed_by(0xEC)
    want = ["hardware slowdown", "software thermal slowdown", "hardware thermal slowdown", "power brake"]
    yield _row("throttle mask 0xEC", ", ".join(want), ", ".join(words), words == want)


def of_the_run() -> Iterator[Row]:
    """Witnesses from a trace: lateness, failures, a level that changed."""
    for late_us, level in ((0, "ok"), (700, "warn"), (1500, "invalid")):
        seen = noise.judge_lag(_late(late_us * 1000), 1, open_loop=True).level
        yield _row(f"W9: 2 % of the requests {late_us} us late", level, seen, seen == level)
    closed = noise.judge_lag(_late(1_500_000), 1, open_loop=False).level
    yield _row("W9: the same lateness in a closed loop", "warn", closed, closed == "warn")
    for what, counts, level in (
        ("no failure", (0, 0, 0), "ok"),
        ("one failed request", (1, 0, 0), "invalid"),
        ("one NaN", (0, 0, 1), "invalid"),
        ("one unanswered", (0, 1, 0), "ok"),
    ):
        seen = noise.judge_answers(*counts).level
        yield _row(f"W13: {what}", level, seen, seen == level)
    for change, level in ((0.1, "warn"), (0.4, "unstable")):
        series = np.repeat([1.0, 1.0 + change], 100)
        seen = noise.judge_steady(label(series), cut=False).level
        yield _row(f"W10: {change:.0%} slower half-way", level, seen, seen == level)


def _late(lag_ns: int) -> Trace:
    n = 1000
    due = np.arange(n, dtype=np.int64) * 10**8
    started = due + np.where(np.arange(n) < 20, lag_ns, 0)
    ones, zeros = np.ones(n, np.int64), np.zeros(n, np.int64)
    return Trace(
        due=due,
        taken=started,
        started=started,
        finished=started + 10**6,
        batch=np.arange(n),
        batch_size=ones,
        sample=zeros,
        status=zeros,
        warmup=zeros,
    )


def _row(what: str, criterion: str, measured: str, passed: bool) -> Row:
    return Row(experiment="V12", what=what, criterion=criterion, measured=measured, passed=passed, kind="virtual")
