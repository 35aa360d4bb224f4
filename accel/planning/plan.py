"""`accel plan`: how many replicas of which variant does a load need? From a finished study, without measuring."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from accel.analysis import cost
from accel.analysis.burstiness import burstiness
from accel.analysis.choice import may_win
from accel.analysis.conclusion import Conclusion, Row
from accel.analysis.fleet import Fleet, FleetPlan, paid
from accel.analysis.propagate import product
from accel.analysis.replicas import Scaling, count, growth_of, lost_one
from accel.analysis.serverless import ServerlessCost
from accel.analysis.serverless import serverless as serverless_cost
from accel.errors import InputError
from accel.planning.assumed import notes
from accel.planning.bursts import gaps_factor, latency_at
from accel.planning.carried import Carried, carried
from accel.planning.demand import Demand, demand
from accel.planning.over_time import over_time
from accel.planning.scaling import Asked, checked
from accel.slo import Slo
from accel.study.folder import StudyFolder
from accel.study.study import Study

_MOST_VARIANTS = 4


class CapacityPlan(FleetPlan, frozen=True, kw_only=True):
    """What `accel plan` answers; printed it is the table of the command line."""

    def to_json(self) -> bytes:
        """Everything as JSON with stable keys; times in s, rates in 1/s, costs in `unit`."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=1)

    def __str__(self) -> str:
        from accel.report.planned import text

        return text(self)


def plan(
    study: Study | str | os.PathLike[str],
    *,
    rate: float | None = None,
    slo: str | None = None,
    trace: str | os.PathLike[str] | None = None,
    price: str | float | None = None,
    headroom: str | float | None = None,
    growth: str | None = None,
    spare: int = 0,
    start_seconds: float | None = None,
    metric_window: str | float = "60s",
    cool_down: str | float = "10m",
    serverless: str | None = None,
) -> CapacityPlan:
    """Replicas, utilisation and cost for a load, with the uncertainty of the study's capacity.

    rate: requests/s in all, up to 1e6. slo: "p99=50ms"; the study's own if not given, else the capacity under it is
    predicted by simulation. trace: a file of arrival times, or with a header `time,rate`; `rate` then scales its mean.
    price: of an instance-hour, "0.20/h"; without it costs are in instance-seconds. headroom: how full replicas may be
    planned, "80%"; without it from `growth` ("10%/min") or the trace's own (from what one replica carries on):
    1 / (1 + g D), D being `metric_window` plus a start. spare: so many replicas may fail and the rest still carry the
    rate within the limit. start_seconds: from
    ordering a replica to its first answer; without it the measured start alone, which has no provisioning in it.
    cool_down: how long fewer replicas must have been enough before some are taken away. serverless: prices of the same
    paid by call, "0.20/million,0.0000167/GBs,2GB".

    Raises InputError for a folder without a finished study, a study without an answer for online, and wrong values.
    """
    held = study if isinstance(study, Study) else Study(study)
    found = _finished(held)
    asked = checked(
        found.record, slo, price, headroom, growth, spare, start_seconds, metric_window, cool_down, serverless
    )
    load = demand(rate, None if trace is None else Path(trace), asked.window_s)
    able, cannot = _able(held, found, asked.slo)
    if not able:
        raise InputError(f"No variant of `{held.folder}` can be planned with: {' '.join(cannot)} Give a looser --slo.")
    fleets = {name: _fleet(found.row(name), one, load, asked) for name, one in able.items()}
    best = _best(found, fleets)
    chosen, gaps = _with_own_gaps(found.row(best), able[best], fleets[best], load, asked)
    others = sorted((f for n, f in fleets.items() if n != best), key=lambda f: (f.replicas.count, f.variant))
    price_h = asked.price_per_h
    made = CapacityPlan(
        study=str(held.folder),
        slo=asked.slo,
        kind=load.kind,
        rate=load.peak,
        mean=load.mean,
        duration_s=load.duration_s,
        scale=load.scale,
        chosen=_simulated(chosen, able[best], load, asked.slo),
        others=tuple(others),
        cannot=tuple(cannot),
        unit="instance-seconds" if price_h is None else "price units",
        price_per_h=price_h,
        burst=None if load.offsets_s is None or len(load.offsets_s) < 3 else burstiness(load.offsets_s),
        gaps=gaps,
        serverless=_by_call(found.row(best), chosen, asked),
    )
    return _noted(over_time(made, load), load, asked, found)


# --- what was asked ------------------------------------------------------------------------------------------------


def _finished(study: Study) -> Conclusion:
    record = study.record
    if record.finished_unix_ns is None or record.interrupted:
        raise InputError(
            f"The study `{study.folder}` isn't finished, so nothing can be planned with it. Finish it first: accel "
            f"bench … --out {study.folder} --resume."
        )
    found = study.conclusion
    if found.online is None or not any(row.online is not None for row in found.rows):
        raise InputError(
            f"The study `{study.folder}` has no answer for online: no server trial of it can be used (none was made, "
            "or all were disturbed). Run `accel bench` again with --target both (or online) and --slo."
        )
    return found


# --- which variants, how many ----------------------------------------------------------------------------------------


def _able(study: Study, found: Conclusion, slo: Slo) -> tuple[dict[str, Carried], list[str]]:
    """The winner, the original and the fastest others that may win, as far as they keep the limit."""
    winner = found.online.winner if found.online is not None else found.record.baseline
    rows = [r for r in found.rows if r.online is not None and (may_win(r, found.record) or r.is_baseline)]
    rows.sort(key=lambda r: (r.name != winner, not r.is_baseline, -_rate(r), r.name))
    files = StudyFolder(study.folder)
    able, cannot = {}, []
    for row in rows[:_MOST_VARIANTS]:
        own = [r for r in study.results if r.variant.name == row.name]
        one = carried(row, own, found.record, files.runs, slo)
        if isinstance(one, Carried):
            able[row.name] = one
        else:
            cannot.append(one)
    return able, cannot


def _rate(row: Row) -> float:
    return row.online.rate.value if row.online is not None else 0.0


def _best(found: Conclusion, fleets: dict[str, Fleet]) -> str:
    """The study's winner, unless the capacity of another lies wholly above its own."""
    winner = found.online.winner if found.online is not None else ""
    ordered = sorted(fleets, key=lambda name: (-fleets[name].capacity.value, name))
    if winner not in fleets:
        return ordered[0]
    mine, most = fleets[winner].capacity, fleets[ordered[0]].capacity
    above = most.low is not None and mine.high is not None and most.low > mine.high
    return ordered[0] if above else winner


def _scaling(row: Row, carries: float, load: Demand, asked: Asked) -> tuple[Scaling, bool]:
    """How a variant's replicas are sized, and whether its start is known."""
    start_s = asked.start_s if asked.start_s is not None else (row.set_up.start_s if row.set_up else None)
    scaling = Scaling(spare=asked.spare, start_s=start_s or 0.0, window_s=asked.window_s, cool_down_s=asked.cool_down_s)
    grows = asked.growth_per_s
    if grows is None:
        grows = growth_of(load.rates.tolist(), load.window_s, scaling.delay_s, load.noise, carried=carries)
    room = cost.headroom(grows, scaling.delay_s) if asked.headroom is None else asked.headroom
    return msgspec.structs.replace(scaling, headroom=room), start_s is not None


def _fleet(row: Row, one: Carried, load: Demand, asked: Asked) -> Fleet:
    scaling, known = _scaling(row, one.capacity.value, load, asked)
    wanted = count(load.peak, one.capacity, scaling)
    per_million, per_day = paid(wanted, asked.price_per_h, load.mean)
    return Fleet(
        variant=row.name,
        policy=str(one.policy),
        instances=one.workers,
        capacity=one.capacity,
        predicted=one.predicted,
        note=one.note,
        scaling=scaling,
        replicas=wanted,
        per_million=per_million,
        per_day=per_day,
        late_if_lost=lost_one(load.peak, wanted.count, one.capacity.value, scaling),
        start_known=known,
    )


def _with_own_gaps(row: Row, one: Carried, fleet: Fleet, load: Demand, asked: Asked) -> tuple[Fleet, Any]:
    """The chosen fleet again, with what the recorded gaps make of its capacity, and that factor."""
    if load.offsets_s is None:
        return fleet, None
    factor = gaps_factor(load.offsets_s, one, asked.slo, fleet.replicas.count)
    if factor is None:
        return fleet, None
    capacity = product(one.capacity, factor, unit="1/s")
    moved = msgspec.structs.replace(
        one, capacity=capacity, predicted=True, note=f"{one.note}; times {factor.value:.3g} for the recorded gaps"
    )
    return _fleet(row, moved, load, asked), factor


def _by_call(row: Row, fleet: Fleet, asked: Asked) -> ServerlessCost | None:
    if asked.serverless is None or asked.price_per_h is None or row.p50 is None:
        return None
    return serverless_cost(
        asked.serverless,
        call_s=row.p50,
        memory_bytes=row.memory_bytes,
        capacity=fleet.capacity,
        price_per_h=asked.price_per_h,
        cold_s=row.set_up.start_s if row.set_up else None,
    )


def _simulated(fleet: Fleet, one: Carried, load: Demand, slo: Slo) -> Fleet:
    """With the latency at a replica, and when one failed, if the rest carry it: beyond, simulation is no evidence."""
    n = fleet.replicas.count
    return msgspec.structs.replace(
        fleet,
        p_quantile_s=latency_at(load.peak / n, one, slo),
        with_one_gone_s=latency_at(load.peak / (n - 1), one, slo) if n > 1 and fleet.late_if_lost <= 0 else None,
    )


def _noted(made: CapacityPlan, load: Demand, asked: Asked, found: Conclusion) -> CapacityPlan:
    return msgspec.structs.replace(
        made, notes=tuple(notes(made, load, found, headroom=asked.headroom, growth_per_s=asked.growth_per_s))
    )
