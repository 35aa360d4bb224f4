"""Which variants are rescued, for how long, and what becomes of what a rescue finds?

After screening, a quantized variant that lost its accuracy but is faster than its backend in float is searched for a
form that keeps the accuracy (`accel.rescue`). What is found becomes a variant of its own, `NAME-rescued`, which is
prepared, scored and timed like any other. Traps stay as they are: they are there to be refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from accel.analysis import guard, rescues
from accel.compression import is_probe
from accel.errors import VariantError
from accel.recipe import Variant
from accel.rescue.record import Rescue
from accel.result import Quality, SetUp
from accel.study.budget import BudgetEnded
from accel.study.rescuer import keep
from accel.study.screening import look_at, look_s, screened
from accel.study.speeds import latency_s, throughput

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_SUFFIX, _LONGEST_NAME = "-rescued", 120
_LEAST_S, _PREPARATIONS = 10.0, 3.0
"""A search for less than this, or than three preparations of the variant take, would find nothing."""


def rescue(funnel: Funnel) -> None:
    """Rescue what is worth it, the fastest first; each step skips what an earlier attempt finished."""
    begun = funnel.decisions.rescuing
    if funnel.decisions.blocks is None and funnel.services.rescue is not None:
        todo = [v for v in candidates(funnel) if not _is_over(funnel, v)]
        if begun is None and todo:
            now = funnel.budget.elapsed_s()
            begun = (now, now)
            funnel.decide(rescuing=begun)
        for i, variant in enumerate(todo):
            _rescue_one(funnel, variant, len(todo) - i)
        if begun is not None and todo:
            begun = (begun[0], funnel.budget.elapsed_s())
            funnel.decide(rescuing=begun)
    for variant in funnel.record.variants:
        if variant.name in funnel.decisions.rescued and not screened(funnel, variant):
            funnel.not_bought.append(f"`{variant.name}` was not tried: the budget was needed for the comparison")
    if begun is not None:
        funnel.budget.delayed_s = begun[1] - begun[0]


def candidates(funnel: Funnel) -> list[Variant]:
    """The quantized variants that lost too much accuracy, the fastest first; of equal ones the first alone.

    None where there is no accuracy: weights are random or inputs are made up.
    """
    record = funnel.record
    if record.source.random_weights or record.synthetic:
        return []
    found: list[Variant] = []
    for variant in record.variants:
        made = {**funnel.decisions.rescued, **funnel.decisions.derived, **(funnel.decisions.knobs or {})}
        asked = variant.trap or variant.name in made or variant.name == record.baseline
        if asked or not is_quantized(variant) or is_probe(variant.compression) or not _lost(funnel, variant):
            continue
        if all((v.compression, v.backend) != (variant.compression, variant.backend) for v in found):
            found.append(variant)
    return sorted(found, key=lambda v: latency_s(funnel, f"screening-{v.name}-latency"))


def is_quantized(variant: Variant) -> bool:
    """True if one of its compressions quantizes."""
    return any(c.name.startswith("quantize") for c in variant.compression)


def _lost(funnel: Funnel, variant: Variant) -> bool:
    """True if the guard says that it fails, or leaves it open with a value beyond the limit."""
    quality = _quality(funnel, variant)
    if quality is None or quality.rule == "outputs must match":
        return False
    beyond = not guard.within_limit(quality, funnel.record.accuracy_drop)
    return quality.outcome == "fails" or (quality.outcome == "unresolved" and beyond)


def _quality(funnel: Funnel, variant: Variant) -> Quality | None:
    runs = (f"screening-{variant.name}", f"screening-{variant.name}-latency")
    return next((r.quality for r in map(funnel.results.get, runs) if r is not None and r.quality is not None), None)


def _is_over(funnel: Funnel, variant: Variant) -> bool:
    """True if nothing is left to do: the search ended, and what it found has been looked at."""
    found = _kept(funnel, variant)
    if found is None:
        return False
    made = [v for v in funnel.record.variants if funnel.decisions.rescued.get(v.name) == variant.name]
    if made:
        return all(screened(funnel, v) for v in made)
    return found.complete and (found.chosen is None or _same(funnel, variant, found) is not None)


def _kept(funnel: Funnel, variant: Variant) -> Rescue | None:
    return next((r for r in rescues.read(funnel.folder.root) if r.variant == variant.name), None)


def _rescue_one(funnel: Funnel, variant: Variant, left: int) -> None:
    """Search within this one's part of the time, then look at what was found."""
    reason = _pointless(funnel, variant)
    if reason:
        none = Rescue(variant=variant.name, steps=(), chosen=None, said=reason, seconds=0.0, complete=True)
        keep(funnel.folder.root, none)
        return
    found = _kept(funnel, variant)
    if found is None or (found.chosen is None and not found.complete):
        seconds = _seconds(funnel, variant, left)
        if seconds is None:
            funnel.not_bought.append(f"a rescue of `{variant.name}`, which lost accuracy")
            return
        found = _searched(funnel, variant, seconds)
    if found is not None and found.chosen is not None:
        _look_at_found(funnel, variant, found)


def _pointless(funnel: Funnel, variant: Variant) -> str:
    """Why nothing could be gained: it isn't faster than the same backend in float, so a rescue has nothing to keep."""
    if funnel.record.validation_count == 0:
        return "Not tried: there are too few samples to keep a validation part beside calibration and evaluation."
    alone = next(
        (v for v in funnel.record.variants if v.backend == variant.backend and not v.compression and v.instances == 1),
        None,
    )
    other = funnel.record.baseline if alone is None else alone.name
    run = f"screening-{variant.name}-latency"
    if run not in funnel.results or f"screening-{other}-latency" not in funnel.results:
        return ""
    faster = latency_s(funnel, run) < latency_s(funnel, f"screening-{other}-latency")
    more = throughput(funnel, f"screening-{variant.name}-batch") > throughput(funnel, f"screening-{other}-batch")
    return "" if faster or more else f"Not tried: it isn't faster than `{other}`, so there is no speed to keep."


def _seconds(funnel: Funnel, variant: Variant, left: int) -> float | None:
    """Its part of what rescues may still take, less a look at what is found; None if that is too little to search."""
    begun = funnel.decisions.rescuing or (funnel.budget.elapsed_s(),) * 2
    until_s = funnel.budget.rescues_until_s(funnel.profile, begun[0])
    rest_s = min(until_s - funnel.budget.elapsed_s(), funnel.budget.left_s())
    made_s = _made_s(funnel, variant)
    look = made_s + look_s(funnel)
    least_s = max(_LEAST_S, _PREPARATIONS * made_s)
    seconds = max(rest_s / left - look, min(least_s, rest_s - look))
    return seconds if seconds >= least_s else None


def _made_s(funnel: Funnel, variant: Variant) -> float:
    """What preparing the failing variant took."""
    runs = (funnel.results.get(f"screening-{variant.name}{end}") for end in ("", "-latency"))
    made = next((r.set_up for r in runs if r is not None and r.set_up is not None), SetUp())
    return made.made_s


def _searched(funnel: Funnel, variant: Variant, seconds: float) -> Rescue | None:
    assert funnel.services.rescue is not None
    funnel.progress.stage(f"{variant.name}: rescue")
    try:
        found = funnel.services.rescue(variant, seconds)
    except BudgetEnded as error:
        funnel.not_bought.append(f"a rescue of `{variant.name}`: {error.words}")
        return None
    except VariantError as error:
        funnel.not_bought.append(f"a rescue of `{variant.name}`: {error.reason}")
        return None
    finally:
        funnel.progress.time(funnel.budget.elapsed_s(), funnel.budget.total_s)
    keep(funnel.folder.root, found)
    if not found.complete and found.chosen is None:
        funnel.not_bought.append(f"the rest of a rescue of `{variant.name}`")
    return found


def _look_at_found(funnel: Funnel, parent: Variant, found: Rescue) -> None:
    """Make what was found a variant of this study, once, and look at it as screening does."""
    same = _same(funnel, parent, found)
    if same is None:
        same = _adopted(funnel, parent, found)
    if not screened(funnel, same):
        funnel.progress.stage(f"{same.name}: preparing")
        look_at(funnel, same)


def _same(funnel: Funnel, parent: Variant, found: Rescue) -> Variant | None:
    """The variant that already is what was found: an earlier attempt's, or one that was in the study anyway."""
    wanted = (found.chosen, parent.backend, parent.instances)
    return next((v for v in funnel.record.variants if (v.compression, v.backend, v.instances) == wanted), None)


def _adopted(funnel: Funnel, parent: Variant, found: Rescue) -> Variant:
    name = parent.name[: _LONGEST_NAME - len(_SUFFIX)] + _SUFFIX
    while any(v.name == name for v in funnel.record.variants):
        name = f"{name[: _LONGEST_NAME - 2]}-2"
    variant = msgspec.structs.replace(parent, name=name, compression=found.chosen or ())
    # Noted first, so that an attempt that resumes knows whose it is.
    funnel.decide(rescued=funnel.decisions.rescued | {name: parent.name})
    behind = [v.name for v in funnel.record.variants].index(parent.name) + 1
    variants = (*funnel.record.variants[:behind], variant, *funnel.record.variants[behind:])
    funnel.record = msgspec.structs.replace(funnel.record, variants=variants)
    funnel.folder.write_record(funnel.record)
    return variant
