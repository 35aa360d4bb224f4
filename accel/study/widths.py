"""Are the intervals of a running study narrow enough to stop making blocks? (rule 21)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from accel.analysis.comparison import MIN_EFFECTS
from accel.analysis.paired import Paired, floor_of, race_of
from accel.analysis.runs import Run, load_runs
from accel.analysis.stopping import enough

if TYPE_CHECKING:
    from accel.study.funnel import Funnel


def narrow_enough(funnel: Funnel, made: int) -> bool:
    """True if `made` blocks need no further one: by the width of every finalist's intervals, never by what they say."""
    profile = funnel.profile
    if profile.blocks >= profile.most_blocks:
        return made >= profile.blocks
    targets: dict[str, tuple[Paired, ...]] = {"batch": ("batch",), "online": ("latency",), "memory": ("latency",)}
    results = [r for r in funnel.results.values() if r.phase == "blocks" and not funnel.has_failed(r.variant.name)]
    runs, _ = load_runs(results, funnel.folder.runs)
    return all(_narrow(funnel, runs, target) for target in targets.get(funnel.record.target, ("latency", "batch")))


def _narrow(funnel: Funnel, runs: list[Run], target: Paired) -> bool:
    effect = MIN_EFFECTS.get(funnel.profile.name, 0.03)
    theirs, pairs = race_of(runs, funnel.record.baseline, target)
    floor = floor_of(theirs, target, min_effect=effect, seed=funnel.record.seed)
    delta = max(math.log1p(effect), floor.value)
    return enough(pairs, delta, least=funnel.profile.blocks, most=funnel.profile.most_blocks)
