"""What is known about each variant: its status, its own numbers, its guard; one Row each, not yet compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from accel.analysis import Estimate
from accel.analysis.capacity import Capacity, capacity
from accel.analysis.conclusion import Online, Row, StudyRecord
from accel.analysis.estimates import across_runs, quantile_across, rate_of_batches
from accel.analysis.online import Trial, generator_was_late, near_saturation, read_trial
from accel.analysis.runs import Run, believable, by_key, deepest, of, once, worst
from accel.analysis.there import there
from accel.recipe import Variant
from accel.result import Level, Result, SetUp

_FINEST = {"quiet": 0.02, "gpu": 0.02}
"""Rates that lie closer together than this share can't be told apart (rule 30 g); 5 % where it isn't named."""
_BAD = ("failed", "wrong", "refused", "skipped")


class Known(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A row, with what comparisons need beside it: its runs and the fit of its server trials."""

    row: Row
    runs: tuple[Run, ...]
    capacity: Capacity | None = None


def known(
    variant: Variant, record: StudyRecord, results: Sequence[Result], runs: Sequence[Run], notes: Sequence[str]
) -> Known:
    """Everything the results of one variant say by themselves.

    results, runs: this variant's only, sorted by run id.
    """
    facts: dict[str, Any] = _facts(variant, record, results, runs)
    fitted = None
    if runs:
        facts |= _latency(runs) | _batch(runs)
        fitted, facts["online"], said = _online(runs, record, facts.get("throughput"))
        facts["notes"] = (*facts["notes"], *said)
    elif facts["status"] == "ok":
        facts |= {"status": "skipped", "reason": _not_tried(variant.name, record)}
    facts["notes"] = (*facts["notes"], *notes)
    return Known(row=Row(**facts), runs=tuple(runs), capacity=fitted)


def _not_tried(name: str, record: StudyRecord) -> str:
    """Why nothing of a variant was measured, as the study noted it."""
    begin = f"`{name}` was not tried: "
    said = next((line for line in record.not_bought if line.startswith(begin)), None)
    return said.removeprefix(begin) if said is not None else "it was not measured before the study ended"


def _facts(variant: Variant, record: StudyRecord, results: Sequence[Result], runs: Sequence[Run]) -> dict[str, Any]:
    bad = next((r for s in _BAD for r in results if r.status == s), None)
    quality = next((r.quality for r in results if r.quality is not None), None)
    status, reason = ("ok", "") if bad is None else (bad.status, bad.reason)
    next_step, log_tail = ("", "") if bad is None else (bad.next_step, bad.log_tail)
    is_baseline = variant.name == record.baseline
    if status == "ok" and quality is not None and quality.outcome == "fails" and not is_baseline:
        status, reason = "refused", quality.reason or "the outputs are too far from the reference"
    phases = [r.result.phase for r in runs]
    deepest_phase = next((p for p in ("confirmation", "blocks", "tuning", "screening") if p in phases), "none")
    memory = [r.memory.peak_run_bytes for r in results if r.memory and r.memory.peak_run_bytes is not None]
    return {
        "name": variant.name,
        "variant": variant,
        "status": status,
        "reason": reason,
        "next_step": next_step,
        "log_tail": log_tail,
        "evidence": deepest_phase,
        "is_baseline": is_baseline,
        "quality": quality,
        "set_up": _set_up(results),
        "effective": next((r.effective for r in results if r.effective is not None), None),
        "artefact_bytes": next((r.artefact_bytes for r in results if r.artefact_bytes is not None), None),
        "memory_bytes": max(memory, default=None),
        "device_times": max((r.device_times for r in results if r.device_times), key=lambda t: t.rows, default=None),
        "device_peak_bytes": max((b for r in results if r.memory and (b := r.memory.gpu_peak_bytes)), default=None),
        "numerics": next((r.numerics for r in results if r.numerics is not None), None),
        "validity": worst(believable(deepest(of(runs, t)))[1] for t in ("latency", "batch", "online")),
        "notes": tuple(dict.fromkeys(n for r in results for n in r.notes)),
    }


def _set_up(results: Sequence[Result]) -> SetUp | None:
    """Each step as first recorded: the screening's, filled up from later runs."""
    known_steps = [r.set_up for r in results if r.set_up is not None]
    if not known_steps:
        return None
    merged = {
        field: next((getattr(s, field) for s in known_steps if getattr(s, field) is not None), None)
        for field in SetUp.__struct_fields__
        if field != "cached"
    }
    return SetUp(**merged, cached=known_steps[0].cached)


def _latency(runs: Sequence[Run]) -> dict[str, Any]:
    used = deepest(once(of(runs, "latency")))
    return {f"p{round(p * 100)}": latency_quantile(used, p) for p in (0.5, 0.9, 0.99)}


def latency_quantile(runs: Sequence[Run], p: float) -> Estimate | None:
    """The p-quantile of latency (s) over runs of one phase, or None where they don't carry it."""
    used, level = believable(runs)
    return marked(quantile_across([r.latency_s for r in used], p, unit="s"), level)


def _batch(runs: Sequence[Run]) -> dict[str, Any]:
    offline = once(of(runs, "batch"))
    by_size = {size: rate_of(group) for size, group in by_key(offline, lambda r: r.size).items()}
    rates = {size: rate for size, rate in by_size.items() if rate is not None}
    best = best_size(runs)
    services = {size: _service(group) for size, group in by_key(offline, lambda r: r.size).items()}
    return {
        "throughput": rates.get(best) if best is not None else None,
        "batch_size": best if best in rates else None,
        "throughput_by_size": rates,
        "latency_by_size": {size: s for size, s in services.items() if s is not None},
    }


def best_size(runs: Sequence[Run]) -> int | None:
    """The batch size a variant's throughput is quoted at: the one raced in blocks, else the fastest that was tuned."""
    offline = once(of(runs, "batch"))
    raced = [r.size for r in offline if r.result.phase in ("blocks", "confirmation")]
    if raced:
        return max(sorted(set(raced)), key=raced.count)
    rates = {size: rate_of(group) for size, group in by_key(offline, lambda r: r.size).items()}
    found = {size: rate.value for size, rate in rates.items() if rate is not None}
    return max(found, key=lambda s: found[s]) if found else None


def rate_of(runs: Sequence[Run]) -> Estimate | None:
    """Items a second over the offline runs of one size, from the deepest phase among them."""
    used, level = believable(deepest(runs))
    if not used:
        return None
    if len(used) == 1:
        return marked(rate_of_batches(used[0].items, used[0].seconds, unit="1/s"), level)
    return marked(across_runs([r.throughput for r in used], unit="1/s"), level)


def _service(runs: Sequence[Run]) -> Estimate | None:
    """Median service time of a whole batch of the size asked for; the last, smaller batch is left out."""
    used, level = believable(deepest(runs))
    full = [r.service_s[r.items == r.items.max()] for r in used]
    estimate = quantile_across(full, 0.5, unit="s")
    if estimate is None and full and all(part.size for part in full):
        medians = [float(sorted(part)[(part.size - 1) // 2]) for part in full]
        estimate = across_runs(medians, unit="s")
    return marked(estimate, level)


def marked(estimate: Estimate | None, level: Level) -> Estimate | None:
    """The estimate, labelled with what its runs are worth."""
    if estimate is None or level == "valid":
        return estimate
    return msgspec.structs.replace(estimate, validity=level)


def trials(runs: Sequence[Run], record: StudyRecord) -> list[tuple[Run, Trial]]:
    """Every server run of a variant as a trial, by rate."""
    if record.slo_s is None:
        return []
    found = [
        (
            run,
            read_trial(
                run.trace,
                rate=run.rate,
                p=record.slo_p,
                slo_s=record.slo_s,
                level=run.result.validity,
                phase=run.result.phase,
                generator_late=generator_was_late(run.result),
            ),
        )
        for run in of(runs, "online")
        if run.trace is not None and run.rate > 0
    ]
    return sorted(found, key=lambda pair: (pair[1].rate, pair[0].result.run_id))


def _online(
    runs: Sequence[Run], record: StudyRecord, throughput: Estimate | None
) -> tuple[Capacity | None, Online | None, list[str]]:
    """The policy with the most trials (then the highest claim) speaks for the variant."""
    pairs = trials(runs, record)
    if not pairs or record.slo_s is None:
        return None, None, []
    policies: dict[str, list[tuple[Run, Trial]]] = {}
    for run, trial in pairs:
        policies.setdefault(str(run.result.batching or "single"), []).append((run, trial))
    finest = _FINEST.get(record.profile, 0.05)
    found = {
        name: capacity([t for _, t in group], slo_s=record.slo_s, resolution=finest)
        for name, group in sorted(policies.items())
    }
    fitted = {name: c for name, c in found.items() if c is not None}
    if not fitted:
        return None, None, ["every server trial was invalid: the machine was too disturbed to say what it carries"]
    policy = max(fitted, key=lambda name: (len(policies[name]), fitted[name].claim))
    chosen = fitted[policy]
    online = Online(
        rate=chosen.estimate,
        policy=policy,
        predicted=chosen.predicted,
        flags=chosen.flags,
        crossing=chosen.crossing,
        lowest_fail=chosen.lowest_fail,
        trials=tuple((t.rate, t.quantile_s, t.level) for _, t in policies[policy] if math.isfinite(t.quantile_s)),
        **there(policies[policy], chosen.claim),
    )
    return chosen, online, _warnings(chosen, throughput)


def _warnings(chosen: Capacity, throughput: Estimate | None) -> list[str]:
    said = []
    if chosen.fresh_failed:
        said.append("unconfirmed: the fresh trials at the claimed rate were above the limit on average")
    if chosen.nonmonotone:
        lowest = f"; the lowest rate that missed the limit was {chosen.lowest_fail:.4g}/s" if chosen.lowest_fail else ""
        said.append(f"nonmonotone: a lower rate was slower than a higher one, so a rate below may be late too{lowest}")
    if chosen.generator_limited:
        said.append("generator_limited: at higher rates the requests themselves came late, so none was tried")
    if near_saturation(chosen.claim, throughput.value if throughput else None):
        said.append("near saturation: the claimed rate is above 85 % of its batch throughput; latencies vary widely")
    return said
