"""Counters of this machine and this process at one moment; what two of them say is judged in `noise`.

A source that doesn't exist here is None, never zero (rule 35). They are read before and after a run only: reading them
every second would tell where in a run a disturbance lay, which no judgement uses.
"""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from accel.measurement import cgroup
from accel.measurement.cgroup import read
from accel.measurement.nvml import GpuReading, Nvml


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Counters at one moment; None where the source doesn't exist.

    cpu_ticks: (all ticks, stolen ticks) of all processors. throttle: (periods, throttled periods).
    delay_ns: (run time, time runnable but waiting) over all threads of this process.
    stall_us: the larger of memory and io "full" stall. cpu_s: processor seconds of this process.
    switches: how often a thread of this process lost the processor against its will.
    clocks_ns: MONOTONIC, MONOTONIC_RAW, BOOTTIME. clock_khz: of the fastest processor, which is the busy one.
    heat_events: how often heat slowed a core or package. gpus: one reading a GPU.
    """

    wall_ns: int
    cpu_ticks: tuple[int, int] | None
    throttle: tuple[int, int] | None
    delay_ns: tuple[int, int] | None
    stall_us: int | None
    major_faults: int
    cpu_s: float
    switches: int | None = None
    clocks_ns: tuple[int, int, int] | None = None
    clock_khz: int | None = None
    heat_events: int | None = None
    gpus: tuple[GpuReading, ...] | None = None


def snapshot(root: Path = cgroup.ROOT, nvml: Nvml | None = None, children: Sequence[int] = ()) -> Snapshot:
    """Read every source once; about a millisecond. children: processes that count with this one."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    folders = [root / "proc/self", *(root / f"proc/{pid}" for pid in children)]
    others = [parse_process(read(f / "stat")) for f in folders[1:]]
    throttle = cgroup.throttling(root)
    stalls = [parse_full_stall(read(root / "proc/pressure" / kind)) for kind in ("memory", "io")]
    processors = root / "sys/devices/system/cpu"
    clocks = parse_numbers(read(p) for p in processors.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    heat = parse_numbers(read(p) for p in processors.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
    return Snapshot(
        wall_ns=time.perf_counter_ns(),
        cpu_ticks=parse_ticks(read(root / "proc/stat")),
        throttle=None if throttle is None else (throttle.get("nr_periods", 0), throttle["nr_throttled"]),
        delay_ns=parse_schedstats(read(p) for f in folders for p in f.glob("task/*/schedstat")),
        stall_us=max((s for s in stalls if s is not None), default=None),
        major_faults=usage.ru_majflt + sum(faults for faults, _ in others),
        cpu_s=usage.ru_utime + usage.ru_stime + sum(seconds for _, seconds in others),
        switches=usage.ru_nivcsw,
        clocks_ns=_clocks_ns(),
        clock_khz=max(clocks, default=None),
        heat_events=sum(heat) if heat else None,
        gpus=None if nvml is None else nvml.read(),
    )


def _clocks_ns() -> tuple[int, int, int] | None:
    """MONOTONIC, MONOTONIC_RAW and BOOTTIME at one moment; None where the system lacks one (macOS).

    Of five readings the one that took least time counts, since a pause between two clocks would look like drift.
    """
    if not hasattr(time, "CLOCK_BOOTTIME") or not hasattr(time, "CLOCK_MONOTONIC_RAW"):
        return None
    get = time.clock_gettime_ns
    found: list[tuple[int, tuple[int, int, int]]] = []
    for _ in range(5):
        first = get(time.CLOCK_MONOTONIC)
        raw, boot = get(time.CLOCK_MONOTONIC_RAW), get(time.CLOCK_BOOTTIME)
        last = get(time.CLOCK_MONOTONIC)
        found.append((last - first, ((first + last) // 2, raw, boot)))
    return min(found)[1]


def parse_ticks(text: str | None) -> tuple[int, int] | None:
    """(all ticks, stolen ticks) of the `cpu` line of /proc/stat; guest time is part of user time already.

    >>> parse_ticks("cpu  10 0 5 80 1 0 1 3 0 0")
    (100, 3)
    """
    found = re.search(r"^cpu\s+([\d ]+)", text or "", re.MULTILINE)
    values = [int(v) for v in found[1].split()] if found else []
    return (sum(values[:8]), values[7]) if len(values) >= 8 else None


def parse_schedstats(texts: Iterable[str | None]) -> tuple[int, int] | None:
    """Sums of the first two fields (ns on a processor, ns waiting for one) over threads."""
    rows = [t.split() for t in texts if t]
    numbers = [(int(r[0]), int(r[1])) for r in rows if len(r) >= 2]
    return (sum(a for a, _ in numbers), sum(b for _, b in numbers)) if numbers else None


def parse_full_stall(text: str | None) -> int | None:
    """Microseconds of the `full` line of a /proc/pressure file.

    >>> parse_full_stall("some avg10=0.00 total=9\\nfull avg10=0.00 total=7")
    7
    """
    found = re.search(r"^full .*total=(\d+)", text or "", re.MULTILINE)
    return int(found[1]) if found else None


def parse_numbers(texts: Iterable[str | None]) -> list[int]:
    """The whole numbers among texts that hold one each.

    >>> parse_numbers(["2400000\\n", None, "<unsupported>"])
    [2400000]
    """
    return [int(t) for t in texts if t and t.strip().isdigit()]


def parse_process(text: str | None) -> tuple[int, float]:
    """(major faults, processor seconds) of a /proc/PID/stat; zeros once the process is gone.

    >>> parse_process(f"7 (a b) S 1 1 1 0 -1 4194560 9 0 3 0 {os.sysconf('SC_CLK_TCK')} 0 0 0 20")
    (3, 1.0)
    """
    # The name in brackets may hold anything, so count from its end.
    fields = (text or "").rpartition(")")[2].split()
    if len(fields) < 13:
        return 0, 0.0
    return int(fields[9]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
