"""What happens to latency and goodput from idle to twice saturation, under the chosen policy and under others?

Short server runs at given rates, on the same schedules for every policy, beside the race: no comparison of variants
uses them (they have no target). What the budget doesn't buy is simulated from measured service times, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from accel.analysis.conclusion import StudyRecord
from accel.analysis.load_curve import LoadPoint
from accel.study.budget import BudgetEnded
from accel.study.live import Turn
from accel.study.load import server_at
from accel.study.load_plan import Cell, Grid, policies, saturation, stages
from accel.study.load_simulated import simulated
from accel.study.rates import requests_needed, service_times
from accel.study.rounds import Rounds, Who, shuffled

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_ORDERS = 30_000
"""Stages draw their orders from other seeds than blocks (from 0), pairs (10,000) and rounds (20,000)."""
_AROUND_S, _OPENING_S, _SIMULATING_S = 2.3, 3.0, 5.0
"""Warming up, load before and after the counted part, draining; a child; the simulation of all points."""
_LONGER = 2.0
"""A trial at a low rate is lengthened by this much at most, so that its percentile is carried."""
_WARMUP_S, _DRAIN_S, _FEWEST = 0.3, 2.0, 20


def offer(funnel: Funnel) -> None:
    """Draw the curves of the online winner and of the original, as far as the budget goes."""
    record = funnel.record
    if record.target not in ("online", "both") or record.slo_s is None:
        return
    if not record.simulated and not funnel.budget.fits(_SIMULATING_S):
        funnel.not_bought.append("the load curve")
        return
    grids = [g for g in funnel.decisions.offered or _settled(funnel) if not funnel.has_failed(g.name)]
    if not grids:
        return
    _simulate(funnel, grids)
    listed = stages(grids) if funnel.profile.load_share else stages(grids)[:1]
    # A slow model answers too few in a short run to show anything but chance.
    wanted = [[c for c in stage if c.rate * _length_s(funnel, c.rate) >= _FEWEST] for stage in listed]
    planned = [c for stage in wanted for c in stage]
    begun_s = funnel.budget.elapsed_s()
    opened: set[Who] = set()
    try:
        with Rounds(lambda who: funnel.live(who[0], "load"), fresh=False, rest=funnel.rest) as rounds:
            for number, stage in enumerate(wanted):
                if not _stage(funnel, number, stage, grids, begun_s, rounds, opened):
                    break
    except BudgetEnded as error:
        funnel.not_bought.append(f"the rest of the load curve: {error.words}")
        return
    missing = sum(c.run_id not in funnel.results and not funnel.has_failed(c.name) for c in planned)
    if missing:
        funnel.not_bought.append(f"{missing} of {len(planned)} trials of the load curve, which is simulated there")


def _settled(funnel: Funnel) -> tuple[Grid, ...]:
    """The online winner, and the original beside it under its own policy; held to by every later attempt."""
    conclusion = funnel.read()
    if conclusion.online is None:
        return ()
    chosen = {e.name: e for e in (*(funnel.decisions.blocks or ()), *(funnel.decisions.confirming or ()))}
    grids: list[Grid] = []
    for name in dict.fromkeys((conclusion.online.winner, funnel.record.baseline)):
        entry, online, times = chosen.get(name), conclusion.row(name).online, service_times(funnel, name)
        if entry is None or entry.policy is None or times is None:
            continue
        found = policies(entry.policy, times, funnel.record.slo_s or math.inf)
        if grids:
            own = "single" if entry.policy.name == "single" else "dynamic"
            found = {key: policy for key, policy in found.items() if key == own}
        claim = online.rate.value if online is not None else entry.rate or 0.0
        carried = saturation(times, funnel.variant(name).instances)
        grids.append(Grid(name=name, policies=found, saturation=carried, claim=claim))
    funnel.decide(offered=tuple(grids))
    return funnel.decisions.offered or ()


def _simulate(funnel: Funnel, grids: Sequence[Grid]) -> None:
    """Points of every curve, kept in the record: whoever reads the study later has no service times to draw from."""
    if funnel.record.simulated:
        return
    funnel.progress.stage("simulating the load curve")
    points: list[LoadPoint] = []
    for grid in grids:
        times = service_times(funnel, grid.name)
        if times is not None:
            points += simulated(funnel.record, grid, times, instances=funnel.variant(grid.name).instances)
    # As a resumed study will read them, so that both say the same.
    record = msgspec.structs.replace(funnel.record, simulated=tuple(points))
    funnel.record = msgspec.json.decode(msgspec.json.encode(record), type=StudyRecord)
    funnel.folder.write_record(funnel.record)


def _stage(
    funnel: Funnel,
    number: int,
    cells: Sequence[Cell],
    grids: Sequence[Grid],
    begun_s: float,
    rounds: Rounds,
    opened: set[Who],
) -> bool:
    """Make a stage's runs, rate by rate in random order, the policies at each rate too; False once the time is up."""
    todo = [c for c in cells if c.run_id not in funnel.results and not funnel.has_failed(c.name)]
    by_place: dict[tuple[str, float, int], list[Cell]] = {}
    for cell in todo:
        by_place.setdefault((cell.name, cell.rate, cell.trial), []).append(cell)
    groups = [shuffled(by_place[place], seed=funnel.record.seed, block=_ORDERS + number) for place in sorted(by_place)]
    for group in shuffled(groups, seed=funnel.record.seed, block=_ORDERS + number):
        grid = next(g for g in grids if g.name == group[0].name)
        who: Who = (grid.name, "baseline" if grid.name == funnel.record.baseline else "candidate")
        fitting = _affordable(funnel, group, grid, begun_s, opening_s=0.0 if who in opened else _OPENING_S)
        if fitting:
            opened.add(who)
            funnel.progress.stage(f"{grid.name}: {fitting[0].rate:,.4g} requests/s")
            with funnel.survives_look(grid.name), rounds.turn(who) as live:
                for cell in fitting:
                    funnel.measure(live, _turn(funnel, cell))
            funnel.progress.time(funnel.budget.elapsed_s(), funnel.budget.total_s)
        if len(fitting) < len(group):
            return False
    return True


def _affordable(funnel: Funnel, cells: Sequence[Cell], grid: Grid, begun_s: float, *, opening_s: float) -> list[Cell]:
    """Those of a group that the phase's time still holds."""
    found: list[Cell] = []
    seconds = opening_s
    for cell in cells:
        seconds += trial_s(funnel, cell, grid)
        if not funnel.budget.allows_load(funnel.profile, begun_s, seconds):
            break
        found.append(cell)
    return found


def trial_s(funnel: Funnel, cell: Cell, grid: Grid) -> float:
    """About how long a run takes: what waits when the load ends is answered afterwards, for a while."""
    counted_s = _length_s(funnel, cell.rate)
    overloaded = cell.rate >= grid.key_rates[1] and cell.policy.fields.get("drop", "none") == "none"
    return _AROUND_S + counted_s + (_drain_s(funnel) if overloaded else 0.0)


def _length_s(funnel: Funnel, rate: float) -> float:
    """The profile's length, or up to twice that where the SLO's percentile needs it."""
    least_s = funnel.profile.load_s
    return min(max(least_s, 1.1 * requests_needed(funnel.record.slo_p) / rate), _LONGER * least_s)


def _drain_s(funnel: Funnel) -> float:
    """What isn't answered so long after its load is beyond every limit; emptying the whole queue would say no more."""
    return max(_DRAIN_S, 2 * (funnel.record.slo_s or 0.0))


def _turn(funnel: Funnel, cell: Cell) -> Turn:
    return Turn(
        run_id=cell.run_id,
        phase="load",
        target=None,
        scenario=server_at(cell.rate, funnel.record.slo_s),
        batching=cell.policy,
        duration_s=_length_s(funnel, cell.rate),
        trial=cell.trial,
        role="baseline" if cell.name == funnel.record.baseline else "candidate",
        warmup_s=min(funnel.profile.warmup_s, _WARMUP_S),
        drain_s=_drain_s(funnel),
    )
