"""Which settings go on? The best survivors and the same with each knob turned, in brief interleaved rounds.

Like blocks, but shorter: in each round everyone takes a turn in a fresh random order, and ratios are taken within
rounds, so that the machine's mood falls out. Two knobs that each pay off are tried together. Who is tried is noted with
the decisions before anything runs, and who goes on follows from runs on disk alone, so a study that resumes decides the
same. What doesn't go on leaves with the ratios it was decided on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from accel.plugins import Named
from accel.study.blocks import fix_slo
from accel.study.budget import BudgetEnded
from accel.study.deriving import adopt, is_new, score_of_parent, usual_turns
from accel.study.finalists import block_s, placed
from accel.study.knob_gains import gain, gains, goals, rounds, run_id, told
from accel.study.knobs import Goal, Turned, by_turns, together, turned
from accel.study.lengths import expected_s
from accel.study.live import Turn
from accel.study.rounds import Rounds, shuffled
from accel.study.screening import look_at, look_s, screened
from accel.study.speeds import latency_s, memory_bytes
from accel.study.tuning import best_rate, best_size

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_MOST_QUICK, _MOST = 3, 8
"""How many settings are tried under the profile `quick`, and under the others; two knobs at once not counted."""
_SHARE, _BLOCKS = 0.10, 0.67
"""Of the budget, and which part of the blocks with one finalist must be possible afterwards."""
_BETTER, _AS_GOOD, _HOPELESS = 1.03, 0.97, 0.8
_OPENING_S, _ORDERS = 3.0, 40_000
"""Rounds draw their orders from other seeds than blocks, pairs and searches (up to 30,000)."""


def with_knobs(funnel: Funnel, finalists: list[str]) -> list[str]:
    """The finalists, with better settings in the place of those that they are better than in every goal asked for.

    Where settings are better in one goal and worse in the other they are `placed` beside them.
    """
    fix_slo(funnel)
    names = [funnel.record.baseline, *finalists]
    field = _field(funnel, names)
    if not field:
        return finalists
    try:
        _run(funnel, field, range(rounds(funnel)))
        pair = _pair(funnel, field)
        if pair is not None and (_is_entered(funnel, pair) or _affordable(funnel, [pair])):
            _enter(funnel, [pair])
            field = [*field, pair]
            _run(funnel, [pair], range(rounds(funnel), 2 * rounds(funnel)))
    except BudgetEnded as error:
        funnel.not_bought.append(f"more rounds of the settings: {error.words}")
    return _with_the_best(funnel, finalists, field)


# --- who is tried --------------------------------------------------------------------------------------------------


def _field(funnel: Funnel, names: Sequence[str]) -> list[Turned]:
    """Everyone who is tried; chosen once, by the time that is left then."""
    everyone = list(by_turns([_of(funnel, parent) for parent in parents(funnel, names)]))
    if funnel.decisions.knobs is None:
        most = _MOST_QUICK if funnel.profile.name == "quick" else _MOST
        chosen: list[Turned] = []
        for one in everyone[:most]:
            if not _affordable(funnel, [*chosen, one]):
                funnel.not_bought.append(f"a look at `{one.variant.name}`: `{one.parent}` with other settings")
                continue
            chosen.append(one)
        _enter(funnel, chosen)
    entered = funnel.decisions.knobs or {}
    field = [one for one in everyone if one.variant.name in entered]
    for one in field:
        # Again, since an attempt may have been killed after it noted whom it would try.
        adopt(funnel, one.parent, one.variant, shares=one.shares)
    return field


def parents(funnel: Funnel, names: Sequence[str]) -> list[str]:
    """The best so far in each goal, among those with one instance: several share the cores and are set as they are."""
    names = [name for name in names if funnel.variant(name).instances == 1]
    best: dict[Goal, str] = {
        "batch": max(names, key=lambda name: best_rate(funnel, name)),
        "online": min(names, key=lambda name: latency_s(funnel, f"screening-{name}-latency")),
        "memory": min(names, key=lambda name: memory_bytes(funnel, f"screening-{name}-latency")),
    }
    return list(dict.fromkeys(best[goal] for goal in goals(funnel)))


def _of(funnel: Funnel, parent: str) -> list[Turned]:
    """A parent's settings that nobody asked for already."""
    entered = funnel.decisions.knobs or {}
    quick = funnel.profile.name == "quick"
    found = turned(funnel.variant(parent), funnel.record.facts, funnel.record.machine, goals(funnel), quick=quick)
    return [one for one in found if one.variant.name in entered or is_new(funnel, one.variant)]


def _enter(funnel: Funnel, chosen: Sequence[Turned]) -> None:
    """Note who is tried, then make them variants of the study."""
    entered = {one.variant.name: one.parent for one in chosen}
    funnel.decide(knobs=(funnel.decisions.knobs or {}) | entered)
    for one in chosen:
        adopt(funnel, one.parent, one.variant, shares=one.shares)


def _is_entered(funnel: Funnel, one: Turned) -> bool:
    return one.variant.name in (funnel.decisions.knobs or {})


def _affordable(funnel: Funnel, field: Sequence[Turned]) -> bool:
    """True if all rounds of those and their parents fit, with enough blocks afterwards."""
    count = rounds(funnel)
    seconds = 0.0
    for name in dict.fromkeys(one.parent for one in field):
        seconds += _OPENING_S + count * _turns_s(funnel, name, name)
    for one in field:
        seconds += _OPENING_S + count * _turns_s(funnel, one.variant.name, one.parent)
        seconds += _first_look_s(funnel, one) if one.own else 0.0
    profile, budget = funnel.profile, funnel.budget
    until_s = (profile.screening_share + profile.tuning_share + _SHARE) * budget.total_s + budget.delayed_s
    kept_s = _BLOCKS * profile.blocks * block_s(funnel) + budget.kept_s(profile)
    return budget.elapsed_s() + seconds <= until_s and budget.fits(seconds, kept_s=kept_s)


def _first_look_s(funnel: Funnel, one: Turned) -> float:
    """Preparing as long as its parent took, all answers, two runs."""
    screened = funnel.results.get(f"screening-{one.parent}-latency")
    made = None if one.shares or screened is None else screened.set_up
    return look_s(funnel) + ((made.compile_s or 0.0) if made is not None else 0.0)


def _turns_s(funnel: Funnel, name: str, known: str) -> float:
    return sum(expected_s(funnel, turn, known) for turn in _turns(funnel, name, known, 0))


# --- the rounds ----------------------------------------------------------------------------------------------------


def _run(funnel: Funnel, field: Sequence[Turned], numbers: range) -> None:
    """Rounds of the field and its parents; what falls behind by a fifth in every goal takes no further turn."""
    for one in field:
        if one.own and not screened(funnel, one.variant):
            look_at(funnel, one.variant)
    of = {one.variant.name: one for one in field if _keeps_accuracy(funnel, one.variant.name)}
    entrants = [*dict.fromkeys(one.parent for one in of.values()), *of]
    fresh = funnel.profile.fresh
    with Rounds(lambda who: funnel.live(who[0], "knobs"), fresh=fresh, rest=funnel.rest) as parked:
        for number in numbers:
            funnel.progress.stage(f"settings of the best, round {number + 1}")
            for name in shuffled(entrants, seed=funnel.record.seed, block=_ORDERS + number):
                if name in of and number > numbers[0] and _is_hopeless(funnel, of[name]):
                    continue
                parent = of[name].parent if name in of else name
                _take_turn(funnel, parked, name, of.get(name), _turns(funnel, name, parent, number))


def _take_turn(funnel: Funnel, parked: Rounds, name: str, one: Turned | None, turns: Sequence[Turn]) -> None:
    todo = [turn for turn in turns if turn.run_id not in funnel.results]
    if not todo or funnel.has_failed(name):
        return
    with funnel.survives(name):
        scored = score_of_parent(funnel, one.parent, name) if one is not None and not one.own else None
        with parked.turn((name, "baseline" if name == funnel.record.baseline else "candidate")) as live:
            for turn in todo:
                funnel.measure(live, turn, scored)


def _turns(funnel: Funnel, name: str, parent: str, number: int) -> list[Turn]:
    """One at a time, and in batches of the parent's best size; as far as the goals ask for it."""
    shared = Turn(
        run_id=run_id(name, number, "latency"),
        phase="tuning",
        target="latency",
        scenario=Named("single_stream"),
        batching=Named("single"),
        duration_s=funnel.profile.screen_s,
        trial=_ORDERS + number,
        role="baseline" if name == funnel.record.baseline else "candidate",
    )
    if goals(funnel) == ("memory",):
        return [shared]
    size = best_size(funnel, parent)
    batch = msgspec.structs.replace(
        shared,
        run_id=run_id(name, number, "batch"),
        target="batch",
        scenario=Named("offline"),
        batching=Named("fixed", {"size": size}),
    )
    return [shared, batch]


# --- what they say ---------------------------------------------------------------------------------------------------


def _is_hopeless(funnel: Funnel, one: Turned) -> bool:
    found = gains(funnel, one.variant.name, one.parent)
    return all(gain(ratios) < _HOPELESS for ratios in found.values())


def _is_better(ratios: Sequence[float]) -> bool:
    """In the median by 3 %, and in every round at all."""
    return gain(ratios) >= _BETTER and min(ratios) > 1.0


def _pair(funnel: Funnel, field: Sequence[Turned]) -> Turned | None:
    """The two best knobs of one parent at once, if there are two that pay off for the same goal."""
    for parent in dict.fromkeys(one.parent for one in field):
        for goal in goals(funnel):
            better = [one for one in field if one.parent == parent and _pays(funnel, one, goal)]
            better.sort(key=lambda one: -gain(gains(funnel, one.variant.name, parent)[goal]))
            for other in better[1:]:
                both = together(funnel.variant(parent), better[0], other)
                if both is not None and (_is_entered(funnel, both) or is_new(funnel, both.variant)):
                    return both
    return None


def _pays(funnel: Funnel, one: Turned, goal: Goal) -> bool:
    name = one.variant.name
    if funnel.has_failed(name) or not _keeps_accuracy(funnel, name):
        return False
    return _is_better(gains(funnel, name, one.parent)[goal])


def _keeps_accuracy(funnel: Funnel, name: str) -> bool:
    """False for settings with outputs of their own that fail the guard."""
    runs = (r for r in funnel.results.values() if r.variant.name == name and r.quality is not None)
    return all(r.quality is not None and r.quality.outcome != "fails" for r in runs)


# --- who goes on ---------------------------------------------------------------------------------------------------


def _with_the_best(funnel: Funnel, finalists: list[str], field: Sequence[Turned]) -> list[str]:
    chosen = list(finalists)
    winners: dict[str, Turned] = {}
    for goal in goals(funnel):
        paying = [one for one in field if _pays(funnel, one, goal)]
        best = max(paying, key=lambda one: _reached(funnel, one, goal), default=None)
        if best is not None:
            winners[best.variant.name] = best
    for name, one in winners.items():
        if _complete(funnel, one):
            chosen = _in_its_place(funnel, chosen, one)
        else:
            funnel.not_bought.append(f"a comparison of `{name}` in blocks, which looked better than `{one.parent}`")
    _say_why(funnel, field, chosen)
    return chosen


def _reached(funnel: Funnel, one: Turned, goal: Goal) -> float:
    """What the parent reaches times the gain, so that settings of several parents can be held side by side."""
    times = gain(gains(funnel, one.variant.name, one.parent)[goal])
    if goal == "batch":
        return times * best_rate(funnel, one.parent)
    read = latency_s if goal == "online" else memory_bytes
    return times / read(funnel, f"screening-{one.parent}-latency")


def _complete(funnel: Funnel, one: Turned) -> bool:
    """The runs that blocks and policies build on; False if they can't be made."""
    name = one.variant.name
    usual = usual_turns(funnel, one.parent, name)
    # Nobody asks for batches where memory alone counts; the first two are what screening makes of everyone.
    usual = usual[:2] if goals(funnel) == ("memory",) else usual
    todo = [turn for turn in usual if turn.run_id not in funnel.results]
    if not todo:
        return True
    try:
        with funnel.survives(name):
            scored = None if one.own else score_of_parent(funnel, one.parent, name)
            with funnel.live(name, "knobs") as live:
                for turn in todo:
                    funnel.measure(live, turn, scored)
    except BudgetEnded:
        return False
    return not funnel.has_failed(name)


def _in_its_place(funnel: Funnel, chosen: list[str], one: Turned) -> list[str]:
    name, parent = one.variant.name, one.parent
    better_all_round = all(gain(ratios) >= _AS_GOOD for ratios in gains(funnel, name, parent).values())
    if parent in chosen and better_all_round:
        return [name if other == parent else other for other in chosen]
    return placed(funnel, chosen, name, than=parent)


def _say_why(funnel: Funnel, field: Sequence[Turned], chosen: Sequence[str]) -> None:
    """Why each of the others isn't raced, and why a parent gave its place away."""
    for one in field:
        name = one.variant.name
        if name in chosen or funnel.has_failed(name) or not _keeps_accuracy(funnel, name):
            continue
        pays = any(_pays(funnel, one, goal) for goal in goals(funnel))
        why = "the blocks had no room for it" if pays else "so it didn't go on to the blocks"
        funnel.leave(name, f"{told(funnel, one)}, {why}")
    taken = {one.parent: one for one in field if one.variant.name in chosen and one.parent not in chosen}
    for parent, one in taken.items():
        if parent != funnel.record.baseline:
            funnel.leave(parent, f"its place in the blocks was taken by `{one.variant.name}`: {told(funnel, one)}")
