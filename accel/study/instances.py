"""Would several instances do more? For the best variants so far: two engines with half of the cores each, and the like.

A derived variant opens its parent's artefact, so nothing is prepared anew and its outputs are its parent's. Service
times are measured with all instances at work; the simulator says what they would carry within the limit, and whoever
looks better than every finalist, in batch or online, is measured in the blocks as a finalist of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from accel import plugins
from accel.plugins import Named
from accel.recipe import Variant
from accel.simulation.predict import capacity
from accel.study.blocks import fix_slo
from accel.study.budget import BudgetEnded
from accel.study.deriving import LONGEST_NAME, adopt, is_new, score_of_parent, usual_turns
from accel.study.finalists import placed
from accel.study.lengths import expected_s
from accel.study.live import Turn
from accel.study.rates import service_times
from accel.study.speeds import latency_s
from accel.study.tuning import best_rate

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_MOST_QUICK, _MOST = 2, 4
"""How many variants one study derives: under the profile `quick`, and under the others."""
_SHARE = 0.06
"""Of the budget, after tuning."""
_OPENING_S = 3.0
_BETTER = 1.03
_REQUESTS = 2000
"""A simulation's length, of which a search takes about ten."""


def with_instances(funnel: Funnel, finalists: list[str]) -> list[str]:
    """The finalists, with the best derived variant `placed` among them if one looks better than all of them.

    What is derived is noted with the decisions first, so that a study that resumes knows whose artefact it is.
    """
    # Each instance holds memory of its own.
    if funnel.record.machine.cores < 2 or funnel.record.target == "memory":
        return finalists
    fix_slo(funnel)
    names = [funnel.record.baseline, *finalists]
    for parent, variant in proposals(funnel, names):
        if not _may_begin(funnel, parent, variant):
            funnel.not_bought.append(f"a look at `{variant.name}`: several instances of `{parent}`")
            continue
        adopt(funnel, parent, variant)
        try:
            _measure(funnel, parent, variant)
        except BudgetEnded as error:
            funnel.not_bought.append(f"`{variant.name}`: {error.words}")
            break
    best = _best(funnel, names)
    return finalists if best is None else placed(funnel, finalists, best)


def proposals(funnel: Funnel, names: list[str]) -> list[tuple[str, Variant]]:
    """(parent, derived variant): for the fastest in batch and in latency by turns, as many as the profile allows."""
    quick = funnel.profile.name == "quick"
    by_rate = max(names, key=lambda name: best_rate(funnel, name))
    by_wait = min(names, key=lambda name: latency_s(funnel, f"screening-{name}-latency"))
    parents = {"batch": [by_rate], "online": [by_wait, by_rate], "both": [by_rate, by_wait]}[funnel.record.target]
    groups = [
        [
            (parent, variant)
            for variant in derived(funnel.variant(parent), funnel.record.machine.physical_cores, quick=quick)
            if is_new(funnel, variant)
        ]
        for parent in dict.fromkeys(parents)
    ]
    turns = [group[i] for i in range(max(map(len, groups), default=0)) for group in groups if i < len(group)]
    return turns[: _MOST_QUICK if quick else _MOST]


def derived(parent: Variant, cores: int, *, quick: bool = False) -> list[Variant]:
    """The same with several instances, the most promising first: 2 and (from 4 cores) one a core, then streams.

    None for who has several already, whose threads were asked for or can't be chosen, or whose backend compiles again
    while it is opened (under `quick`, where there is no time for that).
    """
    backend = plugins.make("compilation", parent.backend)
    threads, compiles = getattr(backend, "threads", None), getattr(backend, "slow_to_build", False)
    if parent.instances > 1 or threads != 0 or (quick and compiles):
        return []
    apart = getattr(backend, "takes_turns", False) or not getattr(backend, "shares_process", True)
    placement = "processes" if apart else "threads"
    found = [
        msgspec.structs.replace(parent, name=f"{parent.name}+{k}-instances", instances=k, placement=placement)
        for k in dict.fromkeys((2, cores if cores >= 4 else 2))
    ]
    if getattr(backend, "streams", None) == 0:
        streams = Named(parent.backend.name, {**parent.backend.fields, "streams": cores})
        name = f"{parent.name}+{cores}-streams"
        found.append(msgspec.structs.replace(parent, name=name, backend=streams, instances=cores))
    return [variant for variant in found if len(variant.name) <= LONGEST_NAME]


def _may_begin(funnel: Funnel, parent: str, variant: Variant) -> bool:
    """True if what is still to be run of it fits into the share of this step."""
    todo = _missing(funnel, parent, variant.name)
    seconds = variant.instances * _OPENING_S + sum(expected_s(funnel, turn, parent) for turn in todo)
    until_s = (funnel.profile.screening_share + funnel.profile.tuning_share + _SHARE) * funnel.budget.total_s
    return not todo or funnel.budget.elapsed_s() + seconds <= until_s + funnel.budget.delayed_s


def _missing(funnel: Funnel, parent: str, name: str) -> list[Turn]:
    return [turn for turn in usual_turns(funnel, parent, name) if turn.run_id not in funnel.results]


def _measure(funnel: Funnel, parent: str, variant: Variant) -> None:
    """Latency one at a time and throughput at a few sizes, in one measure child."""
    todo = _missing(funnel, parent, variant.name)
    if not todo or funnel.has_failed(variant.name):
        return
    funnel.progress.stage(f"{variant.name}: several instances")
    scored = score_of_parent(funnel, parent, variant.name)
    with funnel.survives(variant.name), funnel.live(variant.name, "instances") as live:
        for turn in todo:
            funnel.measure(live, turn, scored)


def _best(funnel: Funnel, names: list[str]) -> str | None:
    """The derived variant that is ahead of all of `names` by most, in batch or online; None if none is."""
    target = funnel.record.target
    turned = funnel.decisions.knobs or {}
    measured = [n for n in funnel.decisions.derived if n not in turned and _is_measured(funnel, n)]
    gains: dict[str, float] = {}
    for value, goal in ((best_rate, "batch"), (_carries, "online")):
        if not measured or target not in (goal, "both"):
            continue
        others = max(value(funnel, name) for name in names)
        for name in measured:
            gain = value(funnel, name) / others if others > 0 else 0.0
            gains[name] = max(gains.get(name, 0.0), gain)
    best = max(gains, key=lambda name: gains[name], default=None)
    return best if best is not None and gains[best] >= _BETTER else None


def _is_measured(funnel: Funnel, name: str) -> bool:
    return not funnel.has_failed(name) and any(
        r.variant.name == name and r.phase == "tuning" for r in funnel.results.values()
    )


def _carries(funnel: Funnel, name: str) -> float:
    """Requests/s within the limit, by simulation with as many workers as it has instances.

    With the plainest policies, since it is only compared: the one for the blocks is searched for once it is in.
    """
    record, times, workers = funnel.record, service_times(funnel, name), funnel.variant(name).instances
    if times is None or record.slo_s is None:
        return 0.0
    return max(
        capacity(times, policy, record.slo_p, record.slo_s, seed=record.seed, workers=workers, requests=_REQUESTS)
        for policy in (Named("single"), Named("dynamic", {"max_size": times.largest}))
    )
