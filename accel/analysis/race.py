"""How does each variant compare with the baseline, and two variants with each other? Deeper evidence goes first.

Confirmation (fresh pairs), then blocks, then one screening run a side; a phase speaks from three pairs on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from accel.analysis import Estimate
from accel.analysis.comparison import (
    MIN_EFFECTS,
    Better,
    Evidence,
    Pair,
    aa_floor,
    aa_suspicious,
    compare,
    compare_once,
    smallest,
    verdict,
)
from accel.analysis.conclusion import Comparison, Row, StudyRecord
from accel.analysis.online import ratio as rate_ratio
from accel.analysis.rows import Known, latency_quantile, rate_of
from accel.analysis.runs import Run, by_key, of, once

Paired = Literal["latency", "batch"]
_BETTER: dict[Paired, Better] = {"latency": "lower", "batch": "higher"}


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """What measuring the baseline twice in each block showed for one metric.

    value: the A/A floor (ln). shift: |mean ln(A'/A)|. suspicious: W12, A and A' differ by more than chance allows.
    """

    value: float = 0.0
    shift: float = 0.0
    suspicious: bool = False


def floors(baseline: Known | None, record: StudyRecord) -> dict[Paired, Floor]:
    """The A/A floor of latency and of batch throughput."""
    return {target: _floor(baseline, target, record) for target in ("latency", "batch")}


def _floor(baseline: Known | None, target: Paired, record: StudyRecord) -> Floor:
    if baseline is None:
        return Floor()
    runs = [r for r in _comparable(baseline, target, "blocks") if r.result.validity == "valid"]
    first = {r.result.block: _value(r, target) for r in runs if r.result.role == "baseline"}
    second = {r.result.block: _value(r, target) for r in runs if r.result.role == "repeat"}
    logs = [math.log(second[b] / first[b]) for b in sorted(first.keys() & second.keys(), key=lambda b: b or 0)]
    if not logs:
        return Floor()
    suspicious = aa_suspicious(logs, math.log(1 + MIN_EFFECTS.get(record.profile, 0.03)))
    return Floor(value=aa_floor(logs, record.seed), shift=abs(sum(logs) / len(logs)), suspicious=suspicious)


def compared(known: Mapping[str, Known], record: StudyRecord, floor: Mapping[Paired, Floor]) -> dict[str, Known]:
    """The same rows with their speed-ups against the baseline filled in."""
    base = known.get(record.baseline)
    if base is None:
        return dict(known)
    return {name: one if name == record.baseline else _against(base, one, record, floor) for name, one in known.items()}


def _against(base: Known, one: Known, record: StudyRecord, floor: Mapping[Paired, Floor]) -> Known:
    row = msgspec.structs.replace(
        one.row,
        speedup_latency=paired(base, one, "latency", record, floor["latency"]),
        speedup_batch=paired(base, one, "batch", record, floor["batch"]),
        speedup_online=online(base, one, record, max(f.value for f in floor.values())),
    )
    return msgspec.structs.replace(one, row=row)


def paired(base: Known, one: Known, target: Paired, record: StudyRecord, floor: Floor) -> Comparison | None:
    """`one` against `base` (any two variants) in one metric, from the deepest phase that carries it."""
    delta = smallest(record.profile, floor.value)
    phases: tuple[Evidence, ...] = ("confirmation", "blocks")
    for phase in phases:
        found = compare(_pairs(base, one, target, phase), better=_BETTER[target], delta=delta, evidence=phase)
        if found is not None:
            return _doubted(found, floor)
    return _screened(base, one, target, delta)


def _doubted(found: Comparison, floor: Floor) -> Comparison:
    """W12: where A and A' differ too much, only what clears that difference as well is still shown."""
    low, high = found.ratio.low, found.ratio.high
    if not floor.suspicious or low is None or high is None:
        return found
    needed = math.log(found.delta) + floor.shift
    if (found.verdict == "FASTER" and math.log(low) > needed) or (
        found.verdict == "SLOWER" and math.log(high) < -needed
    ):
        return found
    reason = f"unstable: the baseline measured twice differed by {math.expm1(floor.shift):.1%}".replace("%", " %")
    ratio = msgspec.structs.replace(found.ratio, validity="unstable")
    return msgspec.structs.replace(found, verdict="INCONCLUSIVE", reason=reason, ratio=ratio)


def _pairs(base: Known, one: Known, target: Paired, phase: Evidence) -> list[Pair]:
    theirs = _by_block(_comparable(base, target, phase), ("baseline", "candidate"))
    repeats = _by_block(_comparable(base, target, phase), ("repeat",))
    ours = _by_block(_comparable(one, target, phase), ("candidate", "baseline"))
    pairs = []
    for block in sorted(theirs.keys() & ours.keys()):
        sides = [theirs[block], ours[block]] + ([repeats[block]] if block in repeats else [])
        pairs.append(
            Pair(
                block=block,
                base=_value(theirs[block], target),
                candidate=_value(ours[block], target),
                repeat=_value(repeats[block], target) if block in repeats else None,
                stable=all(r.result.validity == "valid" for r in sides),
            )
        )
    return pairs


def _by_block(runs: Sequence[Run], roles: tuple[str, ...]) -> dict[int, Run]:
    return {r.result.block: r for r in runs if r.result.role in roles and r.result.block is not None}


def _comparable(one: Known, target: Paired, phase: str) -> list[Run]:
    runs = [r for r in of(one.runs, target, phase=phase) if r.result.validity != "invalid"]
    return [r for r in runs if target == "latency" or r.size == one.row.batch_size]


def _value(run: Run, target: Paired) -> float:
    return run.median_s if target == "latency" else run.throughput


def _screened(base: Known, one: Known, target: Paired, delta: float) -> Comparison | None:
    """One run a side, of the phases before the blocks, so that both stem from the same part of the study."""
    theirs, ours = _single_runs(base, one, target)
    if theirs is None or ours is None or "invalid" in (theirs.validity, ours.validity):
        return None
    shaky = theirs.validity != "valid" or ours.validity != "valid"
    return compare_once(
        theirs, ours, better=_BETTER[target], delta=delta, unstable="the machine was disturbed" if shaky else ""
    )


def _single_runs(base: Known, one: Known, target: Paired) -> tuple[Estimate | None, Estimate | None]:
    """Throughput at each one's best size if both were tuned, else at a size both have run."""
    if target == "latency":
        return _two(latency_quantile(_early(k, target), 0.5) for k in (base, one))
    sizes = [by_key(_early(k, target), lambda r: r.size) for k in (base, one)]
    tuned = all(any(r.result.phase == "tuning" for r in _early(k, target)) for k in (base, one))
    if tuned:
        return _two(_fastest(found) for found in sizes)
    common = sorted(sizes[0].keys() & sizes[1].keys())
    if not common:
        return None, None
    size = one.row.batch_size if one.row.batch_size in common else common[-1]
    return _two(rate_of(found[size]) for found in sizes)


def _two(two: Iterable[Estimate | None]) -> tuple[Estimate | None, Estimate | None]:
    first, second = two
    return first, second


def _early(one: Known, target: Paired) -> list[Run]:
    return [r for r in once(of(one.runs, target)) if r.result.phase in ("measure", "screening", "tuning")]


def _fastest(by_size: Mapping[int, Sequence[Run]]) -> Estimate | None:
    rates = [rate for rate in map(rate_of, by_size.values()) if rate is not None]
    return max(rates, key=lambda rate: rate.value, default=None)


def online(base: Known, one: Known, record: StudyRecord, floor: float) -> Comparison | None:
    """The ratio of the two rates within the SLO; None where one of them has none."""
    if base.capacity is None or one.capacity is None:
        return None
    found = rate_ratio(one.capacity, base.capacity)
    if found is None:
        return None
    estimate, ends90 = found
    delta = smallest(record.profile, floor)
    low = -math.inf if estimate.low is None else math.log(estimate.low)
    high = math.inf if estimate.high is None else math.log(estimate.high)
    word, reason = verdict(math.log(estimate.value), (low, high), ends90, delta)
    unstable = "unstable" in (base.capacity.level, one.capacity.level)
    if unstable:
        word, reason = "INCONCLUSIVE", "unstable: too few undisturbed server trials"
        estimate = msgspec.structs.replace(estimate, validity="unstable")
    return Comparison(
        ratio=estimate, verdict=word, delta=math.exp(delta), evidence=_trial_evidence(base, one), reason=reason
    )


def _trial_evidence(base: Known, one: Known) -> Evidence:
    if base.capacity is None or one.capacity is None or base.capacity.predicted or one.capacity.predicted:
        return "screening"
    sides = [{r.result.phase for r in of(k.runs, "online")} for k in (base, one)]
    if all("confirmation" in phases for phases in sides):
        return "confirmation"
    return "blocks" if all(phases & {"blocks", "confirmation"} for phases in sides) else "screening"


def deltas(rows: Sequence[Row]) -> list[float]:
    """ln of the smallest difference each proved comparison could show: its delta, or its half-width if larger."""
    proved = [c for r in rows for c in (r.speedup_latency, r.speedup_batch) if c and c.evidence != "screening"]
    return sorted(
        max(math.log(c.delta), math.log(c.ratio.high / c.ratio.low) / 2) for c in proved if c.ratio.low and c.ratio.high
    )
