"""Was the machine quiet enough to believe this run? What two snapshots and a trace say, against one table of limits.

A source that this machine doesn't have is listed as missing, never read as zero (rules 35, 36). The canary (W7) says
something only beside the other runs of a study: `accel.analysis.pace`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np

from accel.measurement.nvml import slowed_by
from accel.measurement.snapshot import Snapshot
from accel.measurement.trace import Trace
from accel.result import Check, Level, Steady, Witness
from accel.units import show_seconds


class Limits(msgspec.Struct, frozen=True):
    """From which value on a witness warns, makes a run unstable, or invalid; None: never."""

    warn: float | None
    unstable: float | None
    invalid: float | None


WITNESS_POLICY = 3
"""Version of the table below; starting values set by judgement (rule 36), but for these.

W3 was calibrated on a two-core virtual machine: 93 runs of six runtimes read 0.1-4.2 % while nothing else ran, and
90-740 % beside one other busy process. The 5 % of rule 36 is where it warns, 25 % is where a run no longer counts.
W6's range of clocks warns and doesn't decide: no machine with changing clocks was there to calibrate it on, and what
clocks do to a computation is what W7 measures. Heat that slows the processor or the GPU (W6T, W6G) does decide.
W10 was calibrated on the same machine (`steady.UNSETTLED`): a change of level by 25 % decides, not any.
W4 (involuntary switches) is recorded and decides nothing: what a switch costs is the waiting that W3 measures.
W11 (processor time of the harness) was dropped: accel has no dispatcher, what the harness takes between two calls is in
the latency, and V11 holds it below 2 microseconds.
"""
TABLE: dict[str, Limits] = {
    "W1": Limits(0.01, 0.03, 0.20),
    "W2": Limits(0.0, 0.01, None),
    "W3": Limits(0.05, 0.25, None),
    "W4": Limits(None, None, None),
    "W5": Limits(None, 0.005, None),
    "W5F": Limits(None, 0.0, None),
    "W6": Limits(0.05, None, None),
    "W6T": Limits(None, 0.0, None),
    "W6G": Limits(None, 0.0, None),
    "W8": Limits(100.0, None, None),
    "W8S": Limits(None, None, 0.01),
    "W9": Limits(0.5, None, 1.0),
    "W10": Limits(0.05, 0.25, None),
    "W13": Limits(None, None, 0.0),
}


Said = tuple[str, str, float | None, str]
"""Name, source, value (None: the source is missing) and sentence of one witness."""


def judge(before: Snapshot, after: Snapshot) -> tuple[list[Witness], list[str]]:
    """Witnesses of the machine between two snapshots, and the sources that are missing."""
    said = [*_processor(before, after), *_memory(before, after), *_clocks(before, after), *_heat(before, after)]
    found = [witness(name, value, sentence) for name, _, value, sentence in said if value is not None]
    return found, [f"{name}: {source}" for name, source, value, _ in said if value is None]


def _processor(before: Snapshot, after: Snapshot) -> Iterable[Said]:
    steal = _share(before.cpu_ticks, after.cpu_ticks)
    yield "W1", "/proc/stat", steal, f"The host took {_percent(steal)} of the processor time away (steal)."
    throttled = _share(before.throttle, after.throttle)
    yield "W2", "cpu.stat", throttled, f"The CPU quota throttled {_percent(throttled)} of the periods."
    delay = _share(before.delay_ns, after.delay_ns)
    yield "W3", "schedstat", delay, f"Threads that could have run waited {_percent(delay)} of their running time."
    switches = _growth(before.switches, after.switches)
    rate = None if switches is None else switches / _seconds(before, after)
    yield "W4", "getrusage", rate, f"A thread lost the processor against its will {rate or 0.0:.3g} times a second."


def _memory(before: Snapshot, after: Snapshot) -> Iterable[Said]:
    stall = _growth(before.stall_us, after.stall_us)
    share = None if stall is None else stall * 1e-6 / _seconds(before, after)
    yield "W5", "/proc/pressure", share, f"Everything stood still for memory or disk {_percent(share)} of the time."
    faults = after.major_faults - before.major_faults
    yield "W5F", "getrusage", float(faults), f"{faults} pages had to be read from disk."


def _clocks(before: Snapshot, after: Snapshot) -> Iterable[Said]:
    """W8: clocks against each other; W8S: whether the machine was asleep. The clock of the calendar isn't used."""
    source = "CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME"
    if before.clocks_ns is None or after.clocks_ns is None:
        yield "W8", source, None, ""
        yield "W8S", source, None, ""
        return
    steered, raw, boot = (b - a for a, b in zip(before.clocks_ns, after.clocks_ns, strict=True))
    drift = abs(steered - raw) / max(raw, 1) * 1e6
    yield "W8", source, drift, f"The system's clock ran {drift:.0f} millionths off the hardware's."
    asleep = max(boot - steered, 0) * 1e-9
    yield "W8S", source, asleep, f"The machine was asleep for {show_seconds(asleep)}."


def _heat(before: Snapshot, after: Snapshot) -> Iterable[Said]:
    ranges = [_range(before.clock_khz, after.clock_khz)]
    gpus = list(zip(before.gpus or (), after.gpus or (), strict=False))
    ranges += [_range(a.clock_mhz, b.clock_mhz) for a, b in gpus]
    widest = max((r for r in ranges if r is not None), default=None)
    yield "W6", "cpufreq, NVML", widest, f"The clock rate differed by {_percent(widest)} between start and end."
    events = _growth(before.heat_events, after.heat_events)
    yield "W6T", "thermal_throttle", events, f"Heat slowed the processor {events or 0:.0f} times."
    masks = [r.reasons for pair in gpus for r in pair if r.reasons is not None]
    reasons = sorted({reason for mask in masks for reason in slowed_by(mask)})
    sentence = f"The GPU was slowed: {', '.join(reasons)}." if reasons else "Nothing slowed the GPU."
    yield "W6G", "NVML", float(len(reasons)) if masks else None, sentence


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


def judge_steady(steady: Steady, *, cut: bool) -> Witness:
    """W10: did the engine settle? `cut` says that its slow first part was left out, so that it decides nothing."""
    percent = _percent(steady.change)
    sentence = {
        "flat": "The engine ran at one speed.",
        "short": "Too few calls to tell whether the engine settled.",
        "warmup": f"The engine got {percent} faster after call {steady.used_from}"
        + (", which was counted from there." if cut else "; all calls were counted."),
        "slowdown": f"The engine got {percent} slower while it was measured.",
        "none": f"The engine never settled: its speed changed by {percent}.",
    }[steady.label]
    value = steady.change if steady.label in ("slowdown", "none", "warmup") and not cut else 0.0
    return witness("W10", value, sentence, informs=steady.label == "warmup")


def judge_answers(errors: int, unfinished: int, not_finite: int, dropped: int = 0) -> Witness:
    """W13: failed requests and outputs that aren't numbers. Unfinished and dropped ones are named but are no errors:
    they missed every latency limit, which the percentiles say."""
    said = [f"{errors} requests failed, {not_finite} checked outputs held NaN or infinity"]
    if unfinished:
        said.append(f"{unfinished} were not answered before the drain limit")
    if dropped:
        said.append(f"{dropped} were given up by the batching policy")
    return witness("W13", float(errors + not_finite), "; ".join(said) + ".")


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


def _seconds(before: Snapshot, after: Snapshot) -> float:
    return max(after.wall_ns - before.wall_ns, 1) * 1e-9


def _growth(before: int | None, after: int | None) -> float | None:
    return None if before is None or after is None else float(after - before)


def _range(one: int | None, other: int | None) -> float | None:
    """By which share of the larger two rates differ; None if one is unknown."""
    return None if one is None or other is None else abs(one - other) / max(one, other, 1)


def _share(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    """Growth of the second counter over that of the first, 0 if the first stood still."""
    if before is None or after is None:
        return None
    return max(after[1] - before[1], 0) / max(after[0] - before[0], 1)


def _percent(share: float | None) -> str:
    if share is None:
        return "?"
    return f"{100 * share:.2g} %" if abs(share) < 0.995 else f"{100 * share:.0f} %"
