"""Was the machine quiet enough to believe this run? Snapshots of counters before and after, and what they say.

A source that this machine doesn't have is listed as missing, never read as zero (rules 35, 36).
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from accel.measurement import cgroup
from accel.measurement.cgroup import read
from accel.measurement.trace import Trace
from accel.result import Check, Level, Witness
from accel.units import show_seconds


class Limits(msgspec.Struct, frozen=True):
    """From which value on a witness warns, makes a run unstable, or invalid; None: never."""

    warn: float | None
    unstable: float | None
    invalid: float | None


WITNESS_POLICY = 2
"""Version of the table below; starting values set by judgement (measurement rule 36), but for W3.

W3 was calibrated on a two-core virtual machine: 93 runs of six runtimes read 0.1-4.2 % while nothing else ran, and
90-740 % beside one other busy process. The 5 % of rule 36 is where it warns, 25 % is where a run no longer counts.
"""
TABLE: dict[str, Limits] = {
    "W1": Limits(0.01, 0.03, 0.20),
    "W2": Limits(0.0, 0.01, None),
    "W3": Limits(0.05, 0.25, None),
    "W5": Limits(None, 0.005, None),
    "W5F": Limits(None, 0.0, None),
    "W9": Limits(0.5, None, 1.0),
    "W13": Limits(None, None, 0.0),
}


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Counters at one moment; None where the source doesn't exist.

    cpu_ticks: (all ticks, stolen ticks) of all processors. throttle: (periods, throttled periods).
    delay_ns: (run time, time runnable but waiting) over all threads of this process.
    stall_us: the larger of memory and io "full" stall. cpu_s: processor seconds of this process.
    """

    wall_ns: int
    cpu_ticks: tuple[int, int] | None
    throttle: tuple[int, int] | None
    delay_ns: tuple[int, int] | None
    stall_us: int | None
    major_faults: int
    cpu_s: float


def snapshot(root: Path = cgroup.ROOT) -> Snapshot:
    """Read every source once; a few hundred microseconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    throttle = cgroup.throttling(root)
    stalls = [parse_full_stall(read(root / "proc/pressure" / kind)) for kind in ("memory", "io")]
    return Snapshot(
        wall_ns=time.perf_counter_ns(),
        cpu_ticks=parse_ticks(read(root / "proc/stat")),
        throttle=None if throttle is None else (throttle.get("nr_periods", 0), throttle["nr_throttled"]),
        delay_ns=parse_schedstats(read(p) for p in (root / "proc/self/task").glob("*/schedstat")),
        stall_us=max((s for s in stalls if s is not None), default=None),
        major_faults=usage.ru_majflt,
        cpu_s=usage.ru_utime + usage.ru_stime,
    )


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


def judge(before: Snapshot, after: Snapshot) -> tuple[list[Witness], list[str]]:
    """Witnesses of the machine between two snapshots, and the sources that are missing."""
    wall_ns = max(after.wall_ns - before.wall_ns, 1)
    found: list[Witness] = []
    missing: list[str] = []

    def add(name: str, source: str, value: float | None, sentence: str) -> None:
        if value is None:
            missing.append(f"{name}: {source}")
        else:
            found.append(witness(name, value, sentence))

    steal = _share(before.cpu_ticks, after.cpu_ticks)
    add("W1", "/proc/stat", steal, f"The host took {_percent(steal)} of the processor time away (steal).")
    throttled = _share(before.throttle, after.throttle)
    add("W2", "cpu.stat", throttled, f"The CPU quota throttled {_percent(throttled)} of the periods.")
    delay = _share(before.delay_ns, after.delay_ns)
    add("W3", "schedstat", delay, f"Threads that could have run waited {_percent(delay)} of their running time.")
    stall = None if before.stall_us is None or after.stall_us is None else after.stall_us - before.stall_us
    stalled = None if stall is None else stall * 1000 / wall_ns
    add("W5", "/proc/pressure", stalled, f"Everything stood still for memory or disk {_percent(stalled)} of the time.")
    faults = after.major_faults - before.major_faults
    add("W5F", "getrusage", faults, f"{faults} pages had to be read from disk.")
    return found, missing


def judge_lag(trace: Trace, workers: int, *, open_loop: bool) -> Witness:
    """W9: was the harness itself late? Value 1 is the limit: p99 of the lag over max(1 ms, 5 % of the median service
    time), or the share of requests late by 1 ms over 1 %, whichever is worse. Only an open loop is invalidated.
    """
    late = trace.lag_ns(workers)[(trace.warmup == 0) & (trace.finished >= 0)]
    service = trace.counted().ok().service_ns
    if not len(late):
        return witness("W9", 0.0, "No request was counted, so none was late.", informs=True)
    p99 = float(np.quantile(late, 0.99, method="inverted_cdf"))
    limit = max(1e6, 0.05 * float(np.median(service)) if len(service) else 0.0)
    share = float(np.mean(late >= 1e6))
    value = max(p99 / limit, share / 0.01)
    sentence = f"The harness was late by {show_seconds(max(p99, 0.0) * 1e-9)} at p99, {_percent(share)} by 1 ms or more"
    ending = "; this rate is more than the harness can offer here." if value > 1 and open_loop else "."
    return witness("W9", value, sentence + ending, informs=not open_loop)


def judge_answers(errors: int, unfinished: int, not_finite: int) -> Witness:
    """W13: failed requests and outputs that aren't numbers. Unfinished ones are named but are no errors: they missed
    every latency limit, which the percentiles say."""
    sentence = f"{errors} requests failed, {not_finite} checked outputs held NaN or infinity"
    rest = f"; {unfinished} were not answered before the drain limit." if unfinished else "."
    return witness("W13", float(errors + not_finite), sentence + rest)


def witness(name: str, value: float, sentence: str, *, informs: bool = False) -> Witness:
    """Hold a value against its limits; `informs` keeps it from deciding anything beyond a warning."""
    limits = TABLE[name]
    level: Literal["ok", "warn", "unstable", "invalid"] = "ok"
    if limits.warn is not None and value > limits.warn:
        level = "warn"
    if limits.unstable is not None and value > limits.unstable:
        level = "unstable"
    if limits.invalid is not None and value > limits.invalid:
        level = "invalid"
    if informs and level != "ok":
        level = "warn"
    return Witness(
        id=name,
        value=value,
        warn=limits.warn,
        unstable=limits.unstable,
        invalid=limits.invalid,
        level=level,
        sentence=sentence,
    )


def validity(witnesses: Iterable[Witness], check: Check | None = None) -> Level:
    """The verdict on a run: its worst witness; timed outputs that differ from the reference make it invalid."""
    levels = {w.level for w in witnesses}
    if "invalid" in levels or (check is not None and check.mismatched):
        return "invalid"
    return "unstable" if "unstable" in levels else "valid"


def _share(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    """Growth of the second counter over that of the first, 0 if the first stood still."""
    if before is None or after is None:
        return None
    return max(after[1] - before[1], 0) / max(after[0] - before[0], 1)


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.2g} %"
