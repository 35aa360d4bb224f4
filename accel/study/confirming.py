"""The winners once more, paired with the baseline, in fresh processes: what they owed to luck in the race is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accel.plugins import Named
from accel.result import Role
from accel.scenarios import generator
from accel.study.decisions import Entry
from accel.study.live import Turn
from accel.study.rates import requests_needed
from accel.study.tuning import best_size

if TYPE_CHECKING:
    from accel.study.funnel import Funnel


def confirm(funnel: Funnel) -> None:
    """Baseline and winners once more in fresh processes, paired, so that the winner's luck in the race is gone."""
    entries = funnel.decisions.confirming or _settled(funnel)
    if not entries:
        return
    for pair in range(funnel.profile.confirmations):
        if not (_begun(funnel, pair) or funnel.budget.allows_confirmation(pair)):
            funnel.not_bought.append(
                f"{funnel.profile.confirmations - pair} of {funnel.profile.confirmations} fresh confirmations: "
                "the winner's own interval is wider"
            )
            return
        funnel.progress.stage(f"confirming the winner, {pair + 1} of {funnel.profile.confirmations}")
        with funnel.budget.confirmation():
            _confirm_pair(funnel, pair, entries)


def _settled(funnel: Funnel) -> tuple[Entry, ...]:
    """The baseline and the winners so far with their rates; () if nothing beats the baseline.

    Held to by every later attempt: what the confirmations themselves say must not choose who is confirmed.
    """
    conclusion = funnel.read()
    answers = [a for a in (conclusion.batch, conclusion.online) if a is not None and not a.keeps_baseline]
    if not answers:
        return ()
    entries = []
    for name in dict.fromkeys((funnel.record.baseline, *(a.winner for a in answers))):
        online = conclusion.row(name).online
        rate = online.rate.value if online is not None and online.rate.value > 0 else None
        entries.append(Entry(name=name, policy=_policy_of(funnel, name), rate=rate))
    funnel.decide(confirming=tuple(entries))
    return tuple(entries)


def _begun(funnel: Funnel, pair: int) -> bool:
    """A pair that an earlier attempt began is finished whatever it takes."""
    return any(r.phase == "confirmation" and r.block == pair for r in funnel.results.values())


def _confirm_pair(funnel: Funnel, pair: int, entries: tuple[Entry, ...]) -> None:
    for position, index in enumerate(generator(funnel.record.seed, 3, 10_000 + pair).permutation(len(entries))):
        entry = entries[int(index)]
        name = entry.name
        turns = [t for t in _confirmation_turns(funnel, pair, position, entry) if t.run_id not in funnel.results]
        if turns and not any(r.status != "ok" and r.variant.name == name for r in funnel.results.values()):
            with funnel.survives(name), funnel.live(name, "confirmation") as live:
                for turn in turns:
                    funnel.measure(live, turn)
        funnel.progress.time(funnel.budget.elapsed_s(), funnel.budget.total_s)


def _confirmation_turns(funnel: Funnel, pair: int, position: int, entry: Entry) -> list[Turn]:
    name = entry.name
    role: Role = "baseline" if name == funnel.record.baseline else "candidate"
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
    if funnel.record.target != "online":
        turns.append(Turn(run_id=f"{run}-batch", target="batch", scenario=Named("offline"), batching=fixed, **shared))
    if funnel.record.target != "batch" and entry.policy is not None and entry.rate is not None:
        needed = requests_needed(funnel.record.slo_p)
        shared["duration_s"] = funnel.budget.server_s(funnel.profile, needed, entry.rate)
        server = Named("server", {"rate": entry.rate})
        turns.append(Turn(run_id=f"{run}-online", target="online", scenario=server, batching=entry.policy, **shared))
    return turns


def _policy_of(funnel: Funnel, name: str) -> Named:
    for result in funnel.results.values():
        if result.variant.name == name and result.target == "online" and result.batching is not None:
            return result.batching
    return Named("single")
