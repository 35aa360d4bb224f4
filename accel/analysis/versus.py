"""Batch against online: from a study's answers, rows and trials to the two roles, and why they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from accel.analysis import Estimate
from accel.analysis.busy import at_claim, batch_held, utilisation
from accel.analysis.conclusion import Answer, Online, Row, StudyRecord
from accel.analysis.cost import job_s
from accel.analysis.cost_table import cost_table
from accel.analysis.differ import Seen, why
from accel.analysis.estimates import quantile_across
from accel.analysis.propagate import ratio, through
from accel.analysis.roles import ITEMS, Role, Roles
from accel.analysis.rows import Known
from accel.analysis.runs import Run

Groups = Mapping[str, tuple[tuple[str, ...], ...]]
_NAMED = {0.5: "p50", 0.9: "p90", 0.99: "p99"}


def roles(
    batch: Answer | None, online: Answer | None, known: Mapping[str, Known], record: StudyRecord, groups: Groups
) -> Roles | None:
    """Both winners with what each gives in either role; None where there is no answer that rests on a measurement.

    groups: as in `Conclusion.groups`, so that a difference which wasn't shown isn't explained.
    """
    seen = {answer.target: _seen(answer, known, record) for answer in (batch, online) if answer is not None}
    found = {target: one for target, one in seen.items() if one is not None}
    if not found:
        return None
    first, second = found.get("batch"), found.get("online")
    return Roles(
        batch=first.role if first else None,
        online=second.role if second else None,
        items=ITEMS,
        slo_p=record.slo_p,
        slo_s=record.slo_s,
        same=first is not None and second is not None and first.role.variant == second.role.variant,
        why=why(first, second, record, groups),
    )


def _seen(answer: Answer, known: Mapping[str, Known], record: StudyRecord) -> Seen | None:
    one = known.get(answer.winner)
    if one is None or one.row.status != "ok" or not one.runs:
        return None
    near = _near(one)
    target: Literal["batch", "online"] = "batch" if answer.target == "batch" else "online"
    return Seen(role=_role(target, answer.keeps_baseline, one, near, record), row=one.row, held=batch_held(near))


def _near(one: Known) -> list[Run]:
    online = one.row.online
    return [] if online is None or online.rate.value <= 0 else at_claim(one.runs, online.policy, online.rate.value)


def _role(target: Literal["batch", "online"], keeps: bool, one: Known, near: list[Run], record: StudyRecord) -> Role:
    row = one.row
    online = row.online
    start_s = row.set_up.start_s if row.set_up else None
    busy = utilisation(near)
    rate = online.rate if online is not None else None
    made = Role(
        target=target,
        variant=row.name,
        keeps_baseline=keeps,
        instances=near[0].result.variant.instances if near else row.variant.instances,
        batch_size=row.batch_size,
        items=row.throughput,
        job_s=None if row.throughput is None else _job_s(row.throughput, start_s or 0.0),
        policy=online.policy if online is not None else "",
        rate=rate,
        p50_s=online.p50 if online is not None else None,
        p99_s=_at_slo(online, near, record.slo_p),
        utilisation=busy,
        start_s=start_s,
        slo_cost=slo_cost(row.throughput, rate),
        cost=cost_table(
            items=row.throughput,
            rate=rate,
            utilisation=busy,
            start_s=start_s,
            price_per_h=record.price_per_h,
            count=ITEMS,
        ),
    )
    return msgspec.structs.replace(made, missing=_missing(made, row, record))


def _job_s(items: Estimate, start_s: float) -> Estimate:
    return through(lambda x: job_s(ITEMS, x, start_s), items, unit="s")


def _at_slo(online: Online | None, near: list[Run], p: float) -> Estimate | None:
    """The limit's quantile of latency at the claim."""
    if online is None:
        return None
    name = _NAMED.get(p)
    if name is not None:
        found: Estimate | None = getattr(online, name)
        return found
    return quantile_across([r.latency_s for r in near], p, unit="s")


def slo_cost(items: Estimate | None, rate: Estimate | None) -> Estimate | None:
    """1 - rate / items: the share of the batch throughput that the latency limit costs; below 0 where it costs none.

    The interval is that of the ratio (`accel.analysis.propagate.ratio`): the two were measured in runs of their own.
    """
    if items is None or rate is None or items.value <= 0 or rate.value <= 0:
        return None
    kept = ratio(rate, items, unit="1")
    return msgspec.structs.replace(
        kept,
        value=1 - kept.value,
        low=None if kept.high is None else 1 - kept.high,
        high=None if kept.low is None else 1 - kept.low,
    )


def _missing(role: Role, row: Row, record: StudyRecord) -> tuple[str, ...]:
    said = []
    if role.items is None:
        said.append(f"What `{role.variant}` gives as a batch job was not measured.")
    if role.rate is None:
        limit = "there was no latency limit" if record.slo_s is None else "no server trials were made"
        said.append(f"What `{role.variant}` carries online is not known: {limit}.")
    elif role.rate.value <= 0:
        said.append(f"`{role.variant}` met the latency limit at no rate tried.")
    else:
        if role.utilisation is None:
            said.append("How busy its workers are at that rate is not known: no trial lies within 10 % below it.")
        if role.p99_s is None:
            said.append(f"The trials at that rate were too short to print p{100 * record.slo_p:.6g}.")
    if role.start_s is None:
        said.append("Its start was not measured, so costs leave it out.")
    if row.status == "ok" and role.items is not None and role.items.low is None:
        said.append("Its batch throughput rests on a single short run and has no interval.")
    return tuple(said)
