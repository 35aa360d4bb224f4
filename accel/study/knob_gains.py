"""How much better than its parent was a setting, round by round? Ratios of runs that lie in the same round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from accel.study.knobs import Goal, Turned
from accel.study.speeds import latency_s, memory_bytes, throughput

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

ROUNDS_QUICK, ROUNDS = 2, 3


def goals(funnel: Funnel) -> tuple[Goal, ...]:
    """What the study looks for."""
    target: Goal = funnel.record.target  # type: ignore[assignment]  # "both" is the other one
    return ("batch", "online") if funnel.record.target == "both" else (target,)


def rounds(funnel: Funnel) -> int:
    """How many rounds everyone takes."""
    return ROUNDS_QUICK if funnel.profile.name == "quick" else ROUNDS


def run_id(name: str, number: int, target: str) -> str:
    """What a run of a round is called."""
    return f"tuning-{name}-round-{number}-{target}"


def gains(funnel: Funnel, name: str, parent: str) -> dict[Goal, tuple[float, ...]]:
    """How often better than its parent in each goal asked for, in each round that both ran."""
    found: dict[Goal, tuple[float, ...]] = {}
    for goal in goals(funnel):
        ratios = [_ratio(funnel, name, parent, number, goal) for number in range(2 * rounds(funnel))]
        found[goal] = tuple(ratio for ratio in ratios if ratio is not None)
    return found


def _ratio(funnel: Funnel, name: str, parent: str, number: int, goal: Goal) -> float | None:
    target = "batch" if goal == "batch" else "latency"
    mine, theirs = run_id(name, number, target), run_id(parent, number, target)
    if mine not in funnel.results or theirs not in funnel.results:
        return None
    read = {"batch": throughput, "online": latency_s, "memory": memory_bytes}[goal]
    one, other = read(funnel, mine), read(funnel, theirs)
    ratio = one / other if goal == "batch" else other / one
    return ratio if 0 < ratio < math.inf else None


def gain(ratios: Sequence[float]) -> float:
    """The median of a goal's rounds; 0 where there is none."""
    return float(np.median(ratios)) if ratios else 0.0


_WHAT: dict[Goal, str] = {
    "batch": "the items/s",
    "online": "the speed of one request at a time",
    "memory": "the memory",
}


def told(funnel: Funnel, one: Turned) -> str:
    """How settings fared beside their parent."""
    found = gains(funnel, one.variant.name, one.parent)
    if not any(found.values()):
        return f"it was not measured beside `{one.parent}`"
    return in_words(found, one.parent)


def in_words(gains: Mapping[Goal, Sequence[float]], than: str) -> str:
    """How many times as good as another one in each goal, in interleaved rounds; one goal has a round at least."""
    count = max(len(ratios) for ratios in gains.values())
    # A gain is how many times less memory; what is said is how much of it is left.
    shown = {goal: [1 / r for r in ratios] if goal == "memory" else ratios for goal, ratios in gains.items()}
    parts = [
        f"{gain(ratios):.2f}× {_WHAT[goal]} [{min(ratios):.2f}–{max(ratios):.2f}]"
        for goal, ratios in shown.items()
        if ratios
    ]
    rounds_ = f"{count} interleaved round{'' if count == 1 else 's'}"
    return f"{' and '.join(parts)} of `{than}` in {rounds_} (lowest–highest)"
