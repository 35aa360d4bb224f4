"""How long does a run have to be, and how long will it take? Longer for a slow model, shorter for a small budget."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from accel.study.live import Turn
from accel.study.speeds import latency_s, throughput

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_CALLS, _BATCHES = 25, 8
"""What a run should hold at least: enough calls for a median, enough batches for their scatter."""
_LONGEST_S, _SHARE = 5.0, 0.03
"""What a slow model's run may take, and how much of the budget."""
_LEAST_WARM_CALLS, _ENOUGH_WARM_S = 3, 2.0
_AROUND_S, _AROUND_SERVER_S = 0.2, 1.8
"""Reading counters and writing the trace; with load before and for 1 s after the counted part."""


def call_s(funnel: Funnel, turn: Turn, name: str) -> float:
    """Seconds that one call of a closed run takes, as far as anything is known about it; else 0."""
    known = funnel.item_s.get(name, funnel.item_s.get(funnel.record.baseline, 0.0))
    if turn.target == "batch":
        rate = throughput(funnel, f"screening-{name}-batch")
        return (1 / rate if rate > 0 else known) * int(turn.batching.fields.get("size", 1))
    seen = latency_s(funnel, f"screening-{name}-latency")
    return seen if math.isfinite(seen) else known


def fitted(funnel: Funnel, turn: Turn, name: str) -> Turn:
    """The same turn, longer where a slow model would get through too few calls for a number with an interval.

    Never longer than 3 % of the budget for that; where even warming up would take more, one call has to do.
    """
    each_s, most_s = call_s(funnel, turn, name), _SHARE * funnel.budget.total_s
    if turn.target in ("latency", "batch"):
        calls = _CALLS if turn.target == "latency" else _BATCHES
        wanted = min(1.1 * calls * each_s, _LONGEST_S, most_s)
        turn = msgspec.structs.replace(turn, duration_s=max(turn.duration_s, wanted))
    if _LEAST_WARM_CALLS * each_s > most_s:
        turn = msgspec.structs.replace(turn, warmup_iterations=1, warmup_s=0.0)
    return turn


def expected_s(funnel: Funnel, turn: Turn, name: str) -> float:
    """About how long a turn takes, from warming up to its last answer."""
    each_s, profile = call_s(funnel, turn, name), funnel.profile
    iterations = profile.warmup_iterations if turn.warmup_iterations is None else turn.warmup_iterations
    at_least_s = profile.warmup_s if turn.warmup_s is None else turn.warmup_s
    patient_s = max(at_least_s, _ENOUGH_WARM_S, _LEAST_WARM_CALLS * each_s)
    warming_s = max(at_least_s, min(iterations * each_s, patient_s))
    around_s = _AROUND_S
    if turn.scenario.name == "server":
        around_s = _AROUND_SERVER_S + max(0.0, float(turn.scenario.fields.get("tail_s", 0.0)) - 1.0)
    return warming_s + turn.duration_s + each_s + around_s
