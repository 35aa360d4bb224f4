"""How many requests a second do the baseline and the finalists carry? Server trials in turn, at each one's own ask.

Interleaved like blocks (rule 31): a round is one trial of everyone who still searches, in a fresh random order, on the
same schedule scaled to each one's rate. The six fresh trials at the claim (rule 30 f) are the confirmation's: made
there they are fresh for the choice of the winner too (rule 38), and nobody else needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel.analysis.online import enough
from accel.study.budget import BudgetEnded
from accel.study.decisions import Entry
from accel.study.live import Turn
from accel.study.load import server_at
from accel.study.max_qps import MOST
from accel.study.rates import next_rate, search_of
from accel.study.rounds import Rounds, Who, shuffled

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_ORDERS, _TRIALS = 20_000, 30_000
"""Rounds draw orders and schedules from other seeds than blocks (from 0, 1,000) and pairs (from 10,000, 20,000)."""
_AROUND_S = 4.5
"""Opening, warming up, load before and after the counted part, and draining."""
_MORE = 1.05


def search(funnel: Funnel) -> None:
    """Rounds until every search has what it wants or its share of the budget is spent; none in `quick`."""
    if not funnel.profile.search_share or funnel.record.target not in ("online", "both") or funnel.record.slo_s is None:
        return
    entries = [e for e in funnel.decisions.blocks or () if e.policy is not None and e.rate is not None]
    with Rounds(lambda who: funnel.live(who[0], "search"), fresh=funnel.profile.fresh, rest=funnel.rest) as rounds:
        for number in range(MOST):
            asking = [e for e in entries if _asks(funnel, e, number)]
            if not asking:
                return
            affordable_s = _affordable_s(funnel, asking)
            expected_s = min(affordable_s, funnel.profile.search_s) + _AROUND_S
            if not _may_begin(funnel, number, len(asking) * expected_s):
                if funnel.decisions.confirming is None:
                    names = ", ".join(f"`{e.name}`" for e in asking)
                    funnel.not_bought.append(f"more trials of the highest rate of {names}: its interval is wider")
                return
            funnel.progress.stage(f"searching for the highest rate, round {number + 1}")
            try:
                with funnel.budget.step("trial"):
                    _round(funnel, number, asking, affordable_s, rounds)
            except BudgetEnded as error:
                funnel.not_bought.append(f"the rest of a search: {error.words}")
                return


def _asks(funnel: Funnel, entry: Entry, number: int) -> bool:
    """True if the variant's trial of this round is made already or its search wants one."""
    if funnel.has_failed(entry.name):
        return False
    return _run_id(number, entry.name) in funnel.results or next_rate(funnel, entry.name, entry.rate or 0.0) is not None


def _run_id(number: int, name: str) -> str:
    return f"search-{number}-{name}-online"


def _may_begin(funnel: Funnel, number: int, seconds: float) -> bool:
    """Ask the budget; a round that an earlier attempt began is finished first."""
    if any(r.phase == "search" and r.block == number for r in funnel.results.values()):
        return funnel.budget.allows_rest(0.0)
    return funnel.decisions.confirming is None and funnel.budget.allows_search(funnel.profile, seconds)


def _affordable_s(funnel: Funnel, asking: list[Entry]) -> float:
    """How long a trial may be so that everyone can finish its search before confirmation's share begins."""
    profile, budget = funnel.profile, funnel.budget
    kept_s = profile.confirming_share * budget.total_s if profile.confirmations else 0.0
    searches = [search_of(funnel, e.name, e.rate or 0.0) for e in asking]
    trials = sum(max(1, one.most - len(one.trials)) for one in searches)
    return max(profile.server_s, (budget.left_s() - kept_s) / trials - _AROUND_S)


def _length_s(funnel: Funnel, rate: float, affordable_s: float) -> float:
    """As long as the profile wants and the budget affords, and at least what an honest interval needs if that fits."""
    profile = funnel.profile
    wanted_s = max(profile.search_s, min(_MORE * profile.search_requests / rate, profile.server_max_s))
    least_s = min(_MORE * enough(funnel.record.slo_p) / rate, profile.server_max_s)
    return max(min(wanted_s, affordable_s), least_s)


def _round(funnel: Funnel, number: int, asking: list[Entry], affordable_s: float, rounds: Rounds) -> None:
    for position, entry in enumerate(shuffled(asking, seed=funnel.record.seed, block=_ORDERS + number)):
        who: Who = (entry.name, "baseline" if entry.name == funnel.record.baseline else "candidate")
        rate = next_rate(funnel, entry.name, entry.rate or 0.0)
        if rate is None or entry.policy is None:
            continue
        turn = Turn(
            run_id=_run_id(number, entry.name),
            phase="search",
            target="online",
            scenario=server_at(rate, funnel.record.slo_s),
            batching=entry.policy,
            duration_s=_length_s(funnel, rate, affordable_s),
            trial=_TRIALS + number,
            role=who[1],
            block=number,
            position=position,
        )
        funnel.take_turn(rounds, who, [turn])
