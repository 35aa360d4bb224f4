"""How fast do those look who may go on? By screening; where a run-off was held, by its rounds.

Screening runs lie minutes apart, so two variants that differ by a twentieth stand in an order of chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from accel.analysis.choice import may_win
from accel.study.knob_gains import goals, in_words
from accel.study.knobs import Goal
from accel.study.speeds import latency_s, rate

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

ROUNDS = 3
"""Of a run-off."""
_NEAR = 1.15
"""Two screening runs of the same variant, minutes apart on a shared machine, differ by so much."""

Speeds = dict[str, float]


def run_id(name: str, number: int, target: str) -> str:
    """What a run of the run-off is called."""
    return f"{_stem(name, number)}-{target}"


def _stem(name: str, number: int) -> str:
    return f"screening-{name}-runoff-{number}"


def screened_speeds(funnel: Funnel) -> tuple[Speeds, Speeds]:
    """Items/s and seconds one at a time by screening, of the baseline and of everyone who may go on."""
    made = {**funnel.decisions.derived, **(funnel.decisions.knobs or {})}
    rows = [r for r in funnel.read().rows if may_win(r, funnel.record) and not (r.variant.trap or r.name in made)]
    names = [funnel.record.baseline, *(r.name for r in rows)]
    rates = {name: rate(funnel, f"screening-{name}") for name in names}
    return rates, {name: latency_s(funnel, f"screening-{name}-latency") for name in names}


def speeds(funnel: Funnel) -> tuple[Speeds, Speeds]:
    """As `screened_speeds`, those of the run-off as its rounds tell them apart."""
    rates, waits = screened_speeds(funnel)
    ran = [name for name in funnel.decisions.runoff or () if name in rates]
    return rates | _apart(funnel, rates, ran, "batch"), waits | _apart(funnel, waits, ran, "online")


def near_the_best(funnel: Funnel, rates: Mapping[str, float], waits: Mapping[str, float]) -> set[str]:
    """Who may be the fastest in a goal asked for as far as one run each can tell."""
    found: set[str] = set()
    if "batch" in goals(funnel):
        found |= {name for name in rates if rates[name] * _NEAR >= max(rates.values())}
    if "online" in goals(funnel):
        found |= {name for name in waits if waits[name] <= _NEAR * min(waits.values())}
    return found


def told(funnel: Funnel, name: str, than: str) -> str:
    """How it fared beside another one in the run-off; "" if the two didn't meet there."""
    met = {goal: _met(funnel, [name, than], goal) for goal in goals(funnel)}
    ratios = {goal: [a / b if goal == "batch" else b / a for a, b in rounds] for goal, rounds in met.items()}
    return in_words(ratios, than) if any(ratios.values()) else ""


def _apart(funnel: Funnel, screened: Mapping[str, float], names: Sequence[str], goal: Goal) -> Speeds:
    """Their speeds at the level of screening, told apart by the median of all rounds, of which screening is one.

    Values are held against the mean of their own round, so that the machine's mood falls out.
    """
    rounds = _met(funnel, names, goal)
    first = [screened[name] for name in names]
    if len(names) < 2 or not rounds or not all(0 < value < math.inf for value in first):
        return {}
    logs = np.log(np.array([first, *rounds]))
    apart = np.median(logs - logs.mean(axis=1, keepdims=True), axis=0)
    return {name: float(value) for name, value in zip(names, np.exp(logs[0].mean() + apart), strict=True)}


def _met(funnel: Funnel, names: Sequence[str], goal: Goal) -> list[list[float]]:
    """What they reached in each round of the run-off that all of them ran: items/s, or seconds one at a time."""
    rounds = [[_reached(funnel, name, number, goal) for name in names] for number in range(ROUNDS)]
    return [values for values in rounds if all(0 < value < math.inf for value in values)]


def _reached(funnel: Funnel, name: str, number: int, goal: Goal) -> float:
    if goal == "batch":
        return rate(funnel, _stem(name, number))
    return latency_s(funnel, run_id(name, number, "latency"))
