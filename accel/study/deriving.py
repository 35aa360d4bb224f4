"""Variants that a study derives from those it has measured: what they inherit, and the runs each of them gets.

One that differs in fields which don't shape its artefact opens its parent's, so nothing is prepared anew and its
outputs are its parent's.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec

from accel.errors import VariantError
from accel.plugins import Named
from accel.recipe import Variant
from accel.study.live import Turn
from accel.study.scoring import Score
from accel.study.tuning import best_size

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

LONGEST_NAME = 120


def is_new(funnel: Funnel, variant: Variant) -> bool:
    """True unless somebody asked for it, or for one of that name, who is in the race anyway."""
    asked = [v for v in funnel.record.variants if v.name not in funnel.decisions.derived]
    return all(v.name != variant.name and msgspec.structs.replace(v, name=variant.name) != variant for v in asked)


def adopt(funnel: Funnel, parent: str, variant: Variant, *, shares: bool = True) -> None:
    """Make the variant one of this study's; once, however often the study resumes. shares: its parent's artefact."""
    if shares and funnel.decisions.derived.get(variant.name) != parent:
        funnel.decide(derived=funnel.decisions.derived | {variant.name: parent})
    if all(v.name != variant.name for v in funnel.record.variants):
        funnel.record = msgspec.structs.replace(funnel.record, variants=(*funnel.record.variants, variant))
        funnel.folder.write_record(funnel.record)


def score_of_parent(funnel: Funnel, parent: str, name: str) -> Score:
    """The parent's, with its answers: the artefact is the same, and timed outputs are checked all the same."""
    shutil.copyfile(funnel.folder.reference / f"{parent}.npz", funnel.folder.reference / f"{name}.npz")
    screened = funnel.results[f"screening-{parent}-latency"]
    if screened.quality is None:
        raise VariantError(f"`{parent}` was not scored, so nothing is derived from it")
    limit = screened.check.limit if screened.check is not None else 0.0
    return Score(quality=screened.quality, wrong=None, largest_error=limit / 2)


def usual_turns(funnel: Funnel, parent: str, name: str) -> list[Turn]:
    """The runs that screening and tuning make of every variant, at the parent's best size, the one below, and 1."""
    profile, best = funnel.profile, best_size(funnel, parent)
    sizes = sorted({1, best, *[s for s in funnel.sizes if s < best][-1:]})
    offline = [("screening", f"screening-{name}-batch", best, profile.screen_s)]
    offline += [("tuning", f"tuning-{name}-batch-{size}", size, profile.tune_s) for size in sizes]
    first = Turn(
        run_id=f"screening-{name}-latency",
        phase="screening",
        target="latency",
        scenario=Named("single_stream"),
        batching=Named("single"),
        duration_s=profile.screen_s,
        trial=0,
    )
    return [first] + [
        msgspec.structs.replace(
            first,
            run_id=run_id,
            phase=phase,
            target="batch",
            scenario=Named("offline"),
            batching=Named("fixed", {"size": size}),
            duration_s=duration_s,
            trial=size,
        )
        for phase, run_id, size, duration_s in offline
    ]
