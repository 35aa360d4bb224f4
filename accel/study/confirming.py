"""The winners once more, paired with the baseline, in fresh processes: what they owed to luck in the race is gone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from accel.analysis.choice import in_doubt
from accel.analysis.conclusion import Answer, Conclusion
from accel.analysis.online import enough
from accel.plugins import Named
from accel.result import Role
from accel.study.blocks import MOST_REPEATS, is_disturbed
from accel.study.budget import BudgetEnded, turn_s
from accel.study.decisions import Entry
from accel.study.finalists import two_runs_s
from accel.study.live import Turn
from accel.study.load import server_at
from accel.study.max_qps import FRESH
from accel.study.rates import requests_needed
from accel.study.rounds import Rounds, Who, shuffled
from accel.study.tuning import best_size

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_OPENING_S = 3.0
_ORDERS = 10_000
"""Blocks and pairs draw their orders from different seeds."""


def confirm(funnel: Funnel) -> None:
    """Baseline and winners once more in fresh processes, paired, so that the winner's luck in the race is gone."""
    entries = funnel.decisions.confirming or _settled(funnel)
    if not entries:
        return
    with Rounds(lambda who: funnel.live(who[0], "confirmation"), fresh=True, rest=funnel.rest) as rounds:
        try:
            if _planned(funnel, entries, rounds):
                _again(funnel, entries, rounds)
        except BudgetEnded as error:
            funnel.not_bought.append(f"the rest of a confirmation: {error.words}")


def _planned(funnel: Funnel, entries: tuple[Entry, ...], rounds: Rounds) -> bool:
    """The profile's pairs; False if the budget ended before."""
    wanted = funnel.profile.confirmations
    for pair in range(wanted):
        if not _may_begin(funnel, pair, entries):
            funnel.not_bought.append(
                f"{wanted - pair} of {wanted} fresh confirmations: the winner's own interval is wider"
            )
            return False
        funnel.progress.stage(f"confirming the winner, {pair + 1} of {wanted}")
        _confirm_pair(funnel, pair, entries, rounds)
    return True


def _again(funnel: Funnel, entries: tuple[Entry, ...], rounds: Rounds) -> None:
    """Make disturbed pairs again, as blocks are (rule 36): they stay on record; twice as many are added at most,
    and no more than were planned."""
    wanted = funnel.profile.confirmations
    disturbed = sum(is_disturbed(funnel, pair, "confirmation") for pair in range(wanted))
    for pair in range(wanted, wanted + min(MOST_REPEATS * disturbed, wanted)):
        steady = sum(not is_disturbed(funnel, p, "confirmation") for p in range(pair))
        if steady >= wanted or all(funnel.has_failed(entry.name) for entry in entries[1:]):
            return
        if not _may_begin(funnel, pair, entries):
            funnel.not_bought.append(f"{wanted - steady} disturbed confirmations made again")
            return
        funnel.progress.stage(f"a disturbed confirmation again, {pair - wanted + 1}")
        _confirm_pair(funnel, pair, entries, rounds)


def _settled(funnel: Funnel) -> tuple[Entry, ...]:
    """The baseline and the winners so far with their rates; () if there are none.

    Held to by every later attempt: what the confirmations themselves say must not choose who is confirmed.
    """
    conclusion = funnel.read()
    winners = [name for answer in conclusion.answers if (name := _winner(conclusion, answer)) is not None]
    if not winners:
        return ()
    entries = []
    for name in dict.fromkeys((funnel.record.baseline, *winners)):
        online = conclusion.row(name).online
        rate = online.rate.value if online is not None and online.rate.value > 0 else None
        entries.append(Entry(name=name, policy=_policy_of(funnel, name), rate=rate))
    funnel.decide(confirming=tuple(entries))
    return tuple(entries)


def _may_begin(funnel: Funnel, pair: int, entries: tuple[Entry, ...]) -> bool:
    """Ask the budget; a pair that an earlier attempt began is finished first."""
    if _is_begun(funnel, pair):
        return funnel.budget.allows_rest(0.0)
    online = any(e.rate is not None for e in entries)
    each_s = turn_s(funnel.profile, two_runs_s(funnel), online=online)
    opening_s = 0.0 if funnel.profile.fresh else _OPENING_S
    seconds = len(entries) * (each_s + opening_s)
    return funnel.budget.allows_confirmation(seconds, load_share=funnel.profile.load_share)


def _is_begun(funnel: Funnel, pair: int) -> bool:
    return any(r.phase == "confirmation" and r.block == pair for r in funnel.results.values())


def _confirm_pair(funnel: Funnel, pair: int, entries: tuple[Entry, ...], rounds: Rounds) -> None:
    # What an earlier attempt made takes no time, which says nothing of the next one.
    timed = contextlib.nullcontext() if _is_begun(funnel, pair) else funnel.budget.step("pair")
    with timed:
        for position, entry in enumerate(shuffled(entries, seed=funnel.record.seed, block=_ORDERS + pair)):
            who: Who = (entry.name, "baseline" if entry.name == funnel.record.baseline else "candidate")
            funnel.take_turn(rounds, who, _confirmation_turns(funnel, pair, position, entry, who[1]))


def _confirmation_turns(funnel: Funnel, pair: int, position: int, entry: Entry, role: Role) -> list[Turn]:
    name = entry.name
    shared: dict[str, Any] = {"phase": "confirmation", "trial": 20_000 + pair, "role": role, "block": pair}
    shared |= {"position": position, "duration_s": funnel.profile.measure_s}
    run = f"confirmation-{pair}-{name}"
    fixed = Named("fixed", {"size": best_size(funnel, name)})
    turns = []
    if funnel.record.target != "batch":
        turns.append(
            Turn(
                run_id=f"{run}-latency",
                target="latency",
                scenario=Named("single_stream"),
                batching=Named("single"),
                **shared,
            )
        )
    if funnel.record.target in ("batch", "both"):
        turns.append(Turn(run_id=f"{run}-batch", target="batch", scenario=Named("offline"), batching=fixed, **shared))
    # Six fresh trials at the claimed rate confirm it (rule 30); further pairs are about time and throughput alone.
    if funnel.record.target != "batch" and entry.policy is not None and entry.rate is not None and pair < FRESH:
        search = funnel.profile.search_share > 0
        needed = enough(funnel.record.slo_p) if search else requests_needed(funnel.record.slo_p)
        shared["duration_s"] = funnel.budget.server_s(funnel.profile, needed, entry.rate)
        server = server_at(entry.rate, funnel.record.slo_s)
        turns.append(Turn(run_id=f"{run}-online", target="online", scenario=server, batching=entry.policy, **shared))
    return turns


def _winner(conclusion: Conclusion, answer: Answer) -> str | None:
    """Whom an answer recommends; where it keeps the original, who might be recommended if the runs were in no doubt."""
    if not answer.keeps_baseline:
        return answer.winner
    doubted = None if answer.target == "memory" else in_doubt(answer.target, conclusion.rows, conclusion.record)
    return None if doubted is None else doubted.name


def _policy_of(funnel: Funnel, name: str) -> Named:
    for result in funnel.results.values():
        if result.variant.name == name and result.target == "online" and result.batching is not None:
            return result.batching
    return Named("single")
