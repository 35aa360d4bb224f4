"""What changed between two studies? Their stored numbers side by side: information only, since hours lie between them.

A drifting machine makes such a ratio wrong by more than its interval says; what may be decided is measured again,
interleaved (`accel.analysis.gate`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from accel.analysis import Estimate
from accel.analysis.conclusion import Answer, Comparison, Conclusion, Row, StudyRecord
from accel.measurement.machine import Machine, differences

STORED = "stored, made at different times: information only"
_METRICS = ("p50", "p99", "throughput", "rate")
_UNITS = {"p50": "s", "p99": "s", "throughput": "1/s", "rate": "1/s"}


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One stored number of one variant in both studies; ratio is new / old."""

    variant: str
    metric: str
    old: Estimate
    new: Estimate
    ratio: Estimate


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """How good a variant's outputs were in both studies; metric "agreement" where there were no labels."""

    variant: str
    metric: str
    old: float
    new: float


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """A word about a variant that isn't what it was: its status, or its verdict against its study's baseline."""

    variant: str
    what: Literal["status", "latency", "batch", "online"]
    old: str
    new: str


class Crowned(msgspec.Struct, frozen=True, kw_only=True):
    """The recommended variant of one target in both studies."""

    target: Literal["batch", "online"]
    old: str | None
    new: str | None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that two studies say differently.

    appeared, vanished: variants that only the new or only the old study measured. warnings: why the two may not be
    held against each other. pairs: the variants that were compared, (in old, in new).
    """

    moved: tuple[Moved, ...]
    accuracy: tuple[Accuracy, ...]
    turned: tuple[Turned, ...]
    winners: tuple[Crowned, ...]
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    warnings: tuple[str, ...]


def changes(old: Conclusion, new: Conclusion, *, pair: tuple[str, str] | None = None) -> Changes:
    """Hold two conclusions side by side; `pair` narrows it to one variant of each."""
    ours, theirs = {r.name: r for r in new.rows}, {r.name: r for r in old.rows}
    both = [(name, name) for name in theirs if name in ours] if pair is None else [pair]
    rows = [(theirs[a], ours[b]) for a, b in both]
    there = [{n for n, r in side.items() if r.status != "skipped"} for side in (theirs, ours)]
    return Changes(
        moved=tuple(m for a, b in rows for m in _moved(a, b)),
        accuracy=tuple(m for a, b in rows for m in _accuracy(a, b)),
        turned=tuple(t for a, b in rows for t in _turned(a, b)),
        winners=() if pair else tuple(_crowned(old, new)),
        appeared=() if pair else tuple(sorted(there[1] - there[0])),
        vanished=() if pair else tuple(sorted(there[0] - there[1])),
        warnings=tuple(warnings(old.record, new.record)),
    )


def _moved(old: Row, new: Row) -> Iterator[Moved]:
    if "ok" not in (old.status, new.status):
        return
    for metric in _METRICS:
        a, b = _number(old, metric), _number(new, metric)
        if a is not None and b is not None and a.value > 0 and b.value > 0:
            yield Moved(variant=_name(old, new), metric=metric, old=a, new=b, ratio=stored_ratio(a, b))


def _name(old: Row, new: Row) -> str:
    return old.name if old.name == new.name else f"{old.name} → {new.name}"


def _number(row: Row, metric: str) -> Estimate | None:
    if metric == "rate":
        return row.online.rate if row.online is not None else None
    found: Estimate | None = getattr(row, metric)
    return found


def stored_ratio(old: Estimate, new: Estimate) -> Estimate:
    """new / old of two independent numbers: their intervals joined on the log scale (MOVER, Zou & Donner 2008).

    What the machine did between the two isn't in it, so the interval is too narrow for a decision.
    """
    value = new.value / old.value
    ends = (old.low, old.high, new.low, new.high)
    low = high = None
    if all(e is not None and e > 0 for e in ends):
        a, b, c, d = (math.log(e) for e in ends if e is not None)
        x, y = math.log(old.value), math.log(new.value)
        low = value * math.exp(-math.hypot(y - c, b - x))
        high = value * math.exp(math.hypot(d - y, x - a))
    levels = {old.validity, new.validity}
    validity: Literal["valid", "unstable", "invalid"] = (
        "invalid" if "invalid" in levels else "unstable" if "unstable" in levels else "valid"
    )
    return Estimate(value=value, low=low, high=high, n=min(old.n, new.n), unit="x", method=STORED, validity=validity)


def _accuracy(old: Row, new: Row) -> Iterator[Accuracy]:
    if old.quality is None or new.quality is None:
        return
    for metric, a, b in (
        (old.quality.metric or "", old.quality.value, new.quality.value),
        ("agreement", old.quality.agreement, new.quality.agreement),
    ):
        if a is not None and b is not None and (metric == "agreement" or metric == new.quality.metric):
            yield Accuracy(variant=_name(old, new), metric=metric, old=a, new=b)
            return


def _turned(old: Row, new: Row) -> Iterator[Turned]:
    name = _name(old, new)
    if old.status != new.status:
        yield Turned(variant=name, what="status", old=_status(old), new=_status(new))
        return
    words: tuple[tuple[Literal["latency", "batch", "online"], Comparison | None, Comparison | None], ...] = (
        ("latency", old.speedup_latency, new.speedup_latency),
        ("batch", old.speedup_batch, new.speedup_batch),
        ("online", old.speedup_online, new.speedup_online),
    )
    for what, a, b in words:
        if a is not None and b is not None and a.verdict != b.verdict:
            yield Turned(variant=name, what=what, old=a.verdict, new=b.verdict)


def _status(row: Row) -> str:
    return row.status if not row.reason or row.status == "ok" else f"{row.status}: {row.reason}"


def _crowned(old: Conclusion, new: Conclusion) -> Iterator[Crowned]:
    if old.batch or new.batch:
        yield Crowned(target="batch", old=_winner(old.batch), new=_winner(new.batch))
    if old.online or new.online:
        yield Crowned(target="online", old=_winner(old.online), new=_winner(new.online))


def _winner(answer: Answer | None) -> str | None:
    return None if answer is None else answer.winner


def warnings(old: StudyRecord, new: StudyRecord) -> Iterator[str]:
    """Why two studies may not be held against each other, each as a sentence that says what differs."""
    machines = machine_warning(old.machine, new.machine, "The studies were made")
    if machines:
        yield f"{machines} Their stored times can't be compared."
    if old.samples_count != new.samples_count or old.synthetic != new.synthetic:
        yield (
            f"The samples differ: {_samples(old)} in the old study, {_samples(new)} in the new one, "
            "so accuracies and times of inputs of unequal size can't be compared."
        )
    if _question(old) != _question(new):
        yield f"The latency limits differ: {_limit(old)} in the old study, {_limit(new)} in the new one."
    if old.profile != new.profile:
        yield f"The profiles differ: {old.profile} and {new.profile}, so their intervals rest on unequal evidence."


def machine_warning(old: Machine, new: Machine, begin: str) -> str:
    """`begin` "on different machines: ..." with what differs; empty if nothing does."""
    found = differences(old, new)
    if not found:
        return ""
    shown = "; ".join(f"{what} {a} → {b}" for what, a, b in found[:6])
    more = f" and {len(found) - 6} more" if len(found) > 6 else ""
    return f"{begin} in different environments: {shown}{more}."


def _samples(record: StudyRecord) -> str:
    return f"{record.samples_count}{' synthetic' if record.synthetic else ''}"


def _question(record: StudyRecord) -> tuple[float, float | None]:
    return record.slo_p, None if record.slo_assumed else record.slo_s


def _limit(record: StudyRecord) -> str:
    if record.slo_s is None or record.slo_assumed:
        return "none given"
    return record.slo_text or f"p{100 * record.slo_p:g}={record.slo_s:g}s"
