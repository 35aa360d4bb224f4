"""How does each variant compare with the baseline, and two variants with each other? Deeper evidence goes first.

Confirmation (fresh pairs), then blocks, then one screening run a side; a phase speaks from three pairs on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from accel.analysis import Estimate
from accel.analysis.capacity import ratio as rate_ratio
from accel.analysis.comparison import MIN_EFFECTS, Evidence, compare_once, smallest, verdict
from accel.analysis.conclusion import Comparison, Row, StudyRecord
from accel.analysis.paired import BETTER, Floor, Paired, floor_of, judged, pairs_of
from accel.analysis.rows import Known, latency_quantile, rate_of
from accel.analysis.runs import Run, by_key, of, once


def floors(baseline: Known | None, record: StudyRecord) -> dict[Paired, Floor]:
    """The A/A floor of latency and of batch throughput."""
    return {target: _floor(baseline, target, record) for target in ("latency", "batch")}


def _floor(baseline: Known | None, target: Paired, record: StudyRecord) -> Floor:
    if baseline is None:
        return Floor()
    runs = _comparable(baseline, target, "blocks")
    return floor_of(runs, target, min_effect=MIN_EFFECTS.get(record.profile, 0.03), seed=record.seed)


def compared(known: Mapping[str, Known], record: StudyRecord, floor: Mapping[Paired, Floor]) -> dict[str, Known]:
    """The same rows with their speed-ups against the baseline filled in."""
    base = known.get(record.baseline)
    if base is None:
        return dict(known)
    others = [one for name, one in known.items() if name != record.baseline]
    latency, batch = (all_paired(base, others, target, record, floor[target]) for target in ("latency", "batch"))
    highest = max(f.value for f in floor.values())
    found = dict(known)
    for one in others:
        row = msgspec.structs.replace(
            one.row,
            speedup_latency=latency[one.row.name],
            speedup_batch=batch[one.row.name],
            speedup_online=online(base, one, record, highest),
        )
        found[row.name] = msgspec.structs.replace(one, row=row)
    return found


def all_paired(
    base: Known, others: Sequence[Known], target: Paired, record: StudyRecord, floor: Floor
) -> dict[str, Comparison | None]:
    """Each of the others against `base` (any variant) in one metric, from the deepest phase that carries it.

    Holm's family are those compared with `base` in the same phase.
    """
    delta = smallest(record.profile, floor.value)
    found = {one.row.name: _screened(base, one, target, delta) for one in others}
    phases: tuple[Evidence, ...] = ("blocks", "confirmation")
    for phase in phases:
        theirs = _comparable(base, target, phase)
        pairs = {one.row.name: pairs_of(theirs, _comparable(one, target, phase), target) for one in others}
        for name, one in judged(pairs, target, floor, delta=delta, evidence=phase).items():
            # A confirmation that the machine disturbed doesn't take back what undisturbed blocks have shown.
            if one.ratio.validity == "valid" or not _undisturbed(found[name]):
                found[name] = one
    return found


def _undisturbed(found: Comparison | None) -> bool:
    return found is not None and found.evidence == "blocks" and found.ratio.validity == "valid"


def paired(base: Known, one: Known, target: Paired, record: StudyRecord, floor: Floor) -> Comparison | None:
    """`one` against `base`, any two variants, the only comparison asked about."""
    return all_paired(base, [one], target, record, floor)[one.row.name]


def among(
    ones: Sequence[Known], target: Paired, record: StudyRecord, floor: Floor
) -> dict[tuple[str, str], Comparison]:
    """Every two that ran in the same blocks, by (base, other): other against base, Holm over all the pairs."""
    usable = [(k.row.name, _comparable(k, target, "blocks")) for k in ones]
    pairs = {
        (base, other): pairs_of(theirs, ours, target)
        for (base, theirs), (other, ours) in itertools.combinations(usable, 2)
    }
    return judged(pairs, target, floor, delta=smallest(record.profile, floor.value), evidence="blocks")


def _comparable(one: Known, target: Paired, phase: str) -> list[Run]:
    runs = [r for r in of(one.runs, target, phase=phase) if r.result.validity != "invalid"]
    return [r for r in runs if target == "latency" or r.size == one.row.batch_size]


def _screened(base: Known, one: Known, target: Paired, delta: float) -> Comparison | None:
    """One run a side, of the phases before the blocks, so that both stem from the same part of the study."""
    theirs, ours = _single_runs(base, one, target)
    if theirs is None or ours is None or "invalid" in (theirs.validity, ours.validity):
        return None
    shaky = theirs.validity != "valid" or ours.validity != "valid"
    found = compare_once(
        theirs, ours, better=BETTER[target], delta=delta, unstable="the machine was disturbed" if shaky else ""
    )
    if target == "batch" and found.verdict != "FASTER" and _is_tuned(base) and not _is_tuned(one):
        reason = "its batch size was not looked for, the original's was"
        return msgspec.structs.replace(found, verdict="INCONCLUSIVE", reason=found.reason or reason)
    return found


def _single_runs(base: Known, one: Known, target: Paired) -> tuple[Estimate | None, Estimate | None]:
    """Throughput at each one's best size; at a size both have run, if the best was looked for of `one` alone.

    Who wasn't tuned has to beat what the original does at its best: at a small size nearly everything looks faster.
    """
    if target == "latency":
        return _two(latency_quantile(_early(k, target), 0.5) for k in (base, one))
    sizes = [by_key(_early(k, target), lambda r: r.size) for k in (base, one)]
    if _is_tuned(base) or not _is_tuned(one):
        return _two(_fastest(found) for found in sizes)
    common = sorted(sizes[0].keys() & sizes[1].keys())
    if not common:
        return None, None
    size = one.row.batch_size if one.row.batch_size in common else common[-1]
    return _two(rate_of(found[size]) for found in sizes)


def _is_tuned(one: Known) -> bool:
    return any(r.result.phase == "tuning" for r in _early(one, "batch"))


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
    return "blocks" if all(phases & {"blocks", "search", "confirmation"} for phases in sides) else "screening"


def deltas(rows: Sequence[Row]) -> list[float]:
    """ln of the smallest difference each proved comparison could show: its delta, or its half-width if larger."""
    proved = [c for r in rows for c in (r.speedup_latency, r.speedup_batch) if c and c.evidence != "screening"]
    return sorted(
        max(math.log(c.delta), math.log(c.ratio.high / c.ratio.low) / 2) for c in proved if c.ratio.low and c.ratio.high
    )
