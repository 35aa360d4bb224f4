"""The run-off: brief interleaved rounds of those that screening can't tell apart, where there are more than can race.

Two quantizations that differ by a twentieth are in an order of chance after one run each; with little time a single one
goes on, and the blocks can't mend a wrong choice. Who takes part is noted with the decisions before anything runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from accel.analysis.wording import listed
from accel.study.budget import SPEAKS, BudgetEnded
from accel.study.contenders import ROUNDS, near_the_best, run_id
from accel.study.finalists import block_s, in_order, most_finalists
from accel.study.knob_gains import goals
from accel.study.lengths import expected_s, fitted
from accel.study.live import Turn
from accel.study.rounds import Rounds, shuffled
from accel.study.screening import screened, turns_of
from accel.study.speeds import throughput
from accel.study.tuning import screened_size

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_BESIDE = 2
"""How many more take part than can race."""
_SHARE = 0.10
"""Of the budget, at most."""
_OPENING_S, _ORDERS = 3.0, 45_000
"""Rounds draw their orders from other seeds than blocks, pairs, searches and settings (up to 40,000 and some)."""


def run_off(funnel: Funnel) -> None:
    """Hold it, or the rest of it; tuning ends later by what it took."""
    if funnel.record.target == "memory":
        return
    field = _field(funnel)
    # Who goes on is settled by the rounds that there were: later ones would contradict it.
    if field and funnel.decisions.finalists is None:
        try:
            with funnel.budget.within(_SHARE * funnel.budget.total_s, "the run-off's share of the budget"):
                _run(funnel, field)
        except BudgetEnded as error:
            funnel.not_bought.append(f"the rest of the run-off: {error.words}")
    funnel.budget.delayed_s += sum(_took_s(funnel, name) for name in field)


def _run(funnel: Funnel, field: Sequence[str]) -> None:
    fresh = funnel.profile.fresh
    with Rounds(lambda who: funnel.live(who[0], "runoff"), fresh=fresh, rest=funnel.rest) as parked:
        for number in range(ROUNDS):
            funnel.progress.stage(f"run-off of {len(field)}, round {number + 1} of {ROUNDS}")
            for name in shuffled(field, seed=funnel.record.seed, block=_ORDERS + number):
                funnel.take_turn(parked, (name, "candidate"), _turns(funnel, name, number))


def _took_s(funnel: Funnel, name: str) -> float:
    """Its runs and what opening it took before them."""
    ids = [run_id(name, number, target) for number in range(ROUNDS) for target in ("batch", "latency")]
    made = [funnel.results[i].wall_s or 0.0 for i in ids if i in funnel.results]
    return sum(made) + (_opened(funnel) * _opening_s(funnel, name) if made else 0.0)


def _opened(funnel: Funnel) -> int:
    """How many processes each of them gets."""
    return ROUNDS if funnel.profile.fresh else 1


def _field(funnel: Funnel) -> list[str]:
    """Who takes part; chosen once, by the time that is left then. Nobody where all who are near can race."""
    if funnel.decisions.runoff is None:
        near, most = _near(funnel), most_finalists(funnel)
        chosen = near[: most + _BESIDE]
        while len(chosen) > most and not _affordable(funnel, chosen):
            chosen = chosen[:-1]
        if len(near) > most >= len(chosen):
            funnel.not_bought.append(
                f"a run-off of {listed([f'`{name}`' for name in near[: most + 1]])}, which screening can't tell apart"
            )
        decided = chosen if len(chosen) > most and funnel.decisions.finalists is None else []
        funnel.decide(runoff=tuple(decided))
    names = [name for name in funnel.decisions.runoff or () if not funnel.has_failed(name)]
    # A damaged run of an earlier attempt is made again only where there is time for screening.
    return [name for name in names if screened(funnel, funnel.variant(name))]


def _near(funnel: Funnel) -> list[str]:
    """Those near the best, in the order in which they would go on; without who was cut while it was screened."""
    ordered, rate, wait = in_order(funnel)
    whole = [name for name in ordered if screened(funnel, funnel.variant(name))]
    near = near_the_best(funnel, {n: rate[n] for n in whole}, {n: wait[n] for n in whole}) if whole else set()
    return [name for name in whole if name in near]


def _affordable(funnel: Funnel, field: Sequence[str]) -> bool:
    """True if all rounds fit into their share, with as many blocks of one finalist afterwards as fitted before."""
    budget, profile = funnel.budget, funnel.profile
    turns = [(name, fitted(funnel, turn, name)) for name in field for turn in _turns(funnel, name, 0)]
    seconds = sum(ROUNDS * expected_s(funnel, turn, name) for name, turn in turns)
    seconds += sum(_opened(funnel) * (_opening_s(funnel, name) + profile.cool_down_s) for name in field)
    one_s, kept_s = block_s(funnel), budget.kept_s(profile)
    blocks = SPEAKS if budget.fits(SPEAKS * one_s, kept_s=kept_s + budget.tuning_left_s(profile)) else 1
    return seconds <= _SHARE * budget.total_s and budget.fits(seconds, kept_s=kept_s + blocks * one_s)


def _opening_s(funnel: Funnel, name: str) -> float:
    """What a process of its own took when it was screened."""
    set_up = funnel.results[f"screening-{name}-latency"].set_up
    return _OPENING_S if set_up is None else set_up.start_s or _OPENING_S


def _turns(funnel: Funnel, name: str, number: int) -> list[Turn]:
    """As screening's, at its batch size, as far as the goals ask for them; one at a time also where it does more so."""
    in_batches, alone = (throughput(funnel, f"screening-{name}-{target}") for target in ("batch", "latency"))
    wanted = {"latency": "online" in goals(funnel) or alone > in_batches, "batch": "batch" in goals(funnel)}
    return [
        msgspec.structs.replace(
            turn,
            run_id=run_id(name, number, str(turn.target)),
            duration_s=funnel.profile.tune_s,
            trial=_ORDERS + number,
            block=number,
        )
        for turn in turns_of(funnel, funnel.variant(name), "candidate", screened_size(funnel, name))
        if wanted[str(turn.target)]
    ]
