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
from accel.study.speeds import latency_s, throughput

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

ROUNDS = 3
"""Of a run-off."""
_NEAR = 1.15
"""Two screening runs of the same variant, minutes apart on a shared machine, differ by so much."""
_READ = {"batch": throughput, "latency": latency_s}

Speeds = dict[str, float]


def run_id(name: str, number: int, target: str) -> str:
    """What a run of the run-off is called."""
    return f"screening-{name}-runoff-{number}-{target}"


def screened_speeds(funnel: Funnel) -> tuple[Speeds, Speeds]:
    """Items/s and seconds one at a time by screening, of the baseline and of everyone who may go on."""
    made = {**funnel.decisions.derived, **(funnel.decisions.knobs or {})}
    rows = [r for r in funnel.read().rows if may_win(r, funnel.record) and not (r.variant.trap or r.name in made)]
    names = [funnel.record.baseline, *(r.name for r in rows)]
    rate = {name: throughput(funnel, f"screening-{name}-batch") for name in names}
    return rate, {name: latency_s(funnel, f"screening-{name}-latency") for name in names}


def speeds(funnel: Funnel) -> tuple[Speeds, Speeds]:
    """As `screened_speeds`, those of the run-off as its rounds tell them apart."""
    rate, wait = screened_speeds(funnel)
    ran = [name for name in funnel.decisions.runoff or () if name in rate]
    return rate | _apart(funnel, rate, ran, "batch"), wait | _apart(funnel, wait, ran, "latency")


def near_the_best(funnel: Funnel, rate: Mapping[str, float], wait: Mapping[str, float]) -> set[str]:
    """Who may be the fastest in a goal asked for as far as one run each can tell."""
    found: set[str] = set()
    if "batch" in goals(funnel):
        found |= {name for name in rate if rate[name] * _NEAR >= max(rate.values())}
    if "online" in goals(funnel):
        found |= {name for name in wait if wait[name] <= _NEAR * min(wait.values())}
    return found


def told(funnel: Funnel, name: str, than: str) -> str:
    """How it fared beside another one in the run-off; "" if the two didn't meet there."""
    asked: dict[Goal, str] = {"batch": "batch", "online": "latency"}
    met = {goal: _met(funnel, [name, than], target) for goal, target in asked.items() if goal in goals(funnel)}
    ratios = {goal: [a / b if goal == "batch" else b / a for a, b in rounds] for goal, rounds in met.items()}
    return in_words(ratios, than) if any(ratios.values()) else ""


def _apart(funnel: Funnel, screened: Mapping[str, float], names: Sequence[str], target: str) -> Speeds:
    """Their speeds at the level of screening, told apart by the median of all rounds, of which screening is one.

    Values are held against the mean of their own round, so that the machine's mood falls out.
    """
    rounds = _met(funnel, names, target)
    first = [screened[name] for name in names]
    if len(names) < 2 or not rounds or not all(0 < value < math.inf for value in first):
        return {}
    logs = np.log(np.array([first, *rounds]))
    apart = np.median(logs - logs.mean(axis=1, keepdims=True), axis=0)
    return {name: float(value) for name, value in zip(names, np.exp(logs[0].mean() + apart), strict=True)}


def _met(funnel: Funnel, names: Sequence[str], target: str) -> list[list[float]]:
    """What they reached in each round of the run-off that all of them ran."""
    read = _READ[target]
    rounds = [[read(funnel, run_id(name, number, target)) for name in names] for number in range(ROUNDS)]
    return [values for values in rounds if all(0 < value < math.inf for value in values)]
