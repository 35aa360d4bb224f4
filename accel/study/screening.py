"""The first look: prepare every variant, compare its outputs with the reference's, score them, time it briefly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from accel import plugins
from accel.errors import VariantError
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Role
from accel.study.answers import Answered, agree, find, keep
from accel.study.budget import COMPILES_S, NOT_BOUGHT, BudgetEnded
from accel.study.lengths import expected_s, fitted
from accel.study.live import Live, Target, Turn
from accel.study.prepare import Prepared
from accel.study.scoring import Score
from accel.units import show_seconds

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

SCREEN_SIZE = 8
_ANSWER_AFTER_S = 30.0
_OPENING_S = 4.0
_SHARE, _BATCHES = 0.10, 4
_SLOW_SHARE = "the part of the budget that slow compilations may take"


def screen(funnel: Funnel) -> None:
    """Prepare, check, score and briefly time every variant, the baseline first."""
    for variant in funnel.record.variants:
        is_baseline = variant.name == funnel.record.baseline
        # Who was rescued is looked at within the time of the rescues, and who was derived by who derived it.
        made = (funnel.decisions.rescued, funnel.decisions.derived, funnel.decisions.knobs or {})
        if screened(funnel, variant) or any(variant.name in names for names in made):
            continue
        if not is_baseline:
            # From here on, artefacts are made: of the model as it is now.
            funnel.services.confirm()
        if not is_baseline and (reason := _why_not(funnel, variant)):
            funnel.not_bought.append(f"`{variant.name}` was not tried: {reason}")
            continue
        look_at(funnel, variant)
        _say_answer(funnel)
    funnel.services.confirm()
    _say_answer(funnel, last=True)


def look_at(funnel: Funnel, variant: Variant) -> None:
    """Prepare, check, score and time one; raises BudgetEnded only where not even the baseline was timed."""
    is_baseline = variant.name == funnel.record.baseline
    try:
        with funnel.budget.within(_longest_s(funnel, variant), _SLOW_SHARE):
            _screen_one(funnel, variant, "baseline" if is_baseline else "candidate")
    except BudgetEnded as error:
        if is_baseline and not funnel.baseline_ok():
            raise
        _cut(funnel, variant, error)


def _why_not(funnel: Funnel, variant: Variant) -> str:
    """Why a candidate isn't tried any more; "" if it is."""
    if not _may_try(funnel):
        return "the budget was needed for the comparison"
    budget, took_s = funnel.budget, _compiled_s(funnel)
    if not _compiles_long(variant) or budget.allows_compiling(took_s) or _is_needed(funnel, variant):
        return ""
    gone = f"{show_seconds(sum(took_s))} are gone" if took_s else f"one takes {show_seconds(COMPILES_S)} or more"
    return (
        f"{'another' if took_s else 'a'} slow compilation doesn't fit into the {show_seconds(budget.compiling_s)} of "
        f"--budget that they may take together ({gone})"
    )


def _longest_s(funnel: Funnel, variant: Variant) -> float:
    """When a first look is cut: a slow compilation that turns out slower yet, with what is left of their share."""
    if variant.name == funnel.record.baseline or not _compiles_long(variant) or _all_compile_long(funnel):
        return math.inf
    return max(COMPILES_S, funnel.budget.compiling_s - sum(_compiled_s(funnel)))


def _is_needed(funnel: Funnel, variant: Variant) -> bool:
    """True for a slow compilation that is to be had for nothing, or where nothing else is asked for."""
    return funnel.services.is_made(variant) or _all_compile_long(funnel)


def _all_compile_long(funnel: Funnel) -> bool:
    others = (v for v in funnel.record.variants if v.name != funnel.record.baseline and not v.trap)
    return all(_compiles_long(v) for v in others)


def _may_try(funnel: Funnel) -> bool:
    """True while another candidate fits; the first may take what is left, or there would be nothing to compare with."""
    if funnel.decisions.blocks is not None:
        return False
    seconds = look_s(funnel)
    if not any(r.role == "candidate" for r in funnel.results.values()):
        return funnel.budget.fits(seconds)
    return funnel.budget.allows_screening(funnel.profile, seconds)


def _compiles_long(variant: Variant) -> bool:
    return bool(getattr(plugins.load("compilation", variant.backend.name), "slow_to_build", False))


def _compiled_s(funnel: Funnel) -> list[float]:
    """What this study's slow compilations took so far, opening included, since some compile again then.

    Making what came from the cache took nothing; one that was cut took all of their share.
    """
    names = [v.name for v in funnel.record.variants if _compiles_long(v) and v.name != funnel.record.baseline]
    timed = (funnel.results.get(f"screening-{name}-latency") for name in names)
    cut = [r for name in names if (r := funnel.results.get(f"screening-{name}")) is not None and r.status == "skipped"]
    took_s = [
        (0.0 if s.cached else s.made_s) + (s.start_s or 0.0)
        for r in timed
        if r is not None and (s := r.set_up) is not None
    ]
    return [*took_s, *(funnel.budget.compiling_s for r in cut if r.reason.startswith(NOT_BOUGHT))]


def look_s(funnel: Funnel) -> float:
    """What a variant as fast as the baseline takes: a child, all answers, two runs."""
    name = funnel.record.baseline
    runs = [fitted(funnel, t, name) for t in turns_of(funnel, funnel.variant(name), "candidate", screen_size(funnel))]
    answers_s = funnel.item_s.get(name, 0.0) * len(funnel.services.evaluation)
    return _OPENING_S + answers_s + sum(expected_s(funnel, t, name) for t in runs)


def _cut(funnel: Funnel, variant: Variant, error: BudgetEnded) -> None:
    """What was measured of it stays; one of which nothing was is a row that says why."""
    timed = f"screening-{variant.name}-latency" in funnel.results
    what = f"the rest of a first look at `{variant.name}`" if timed else f"`{variant.name}`"
    funnel.not_bought.append(f"{what}: {error.words}")
    if not timed:
        funnel.commit_failure(variant, error, "skipped")


def screen_size(funnel: Funnel) -> int:
    """The batch that screening runs at: smaller where a few such batches would take a tenth of the budget."""
    item_s, most_s = funnel.services.reference_item_s, _SHARE * funnel.budget.total_s
    return max(s for s in (1, 2, 4, SCREEN_SIZE) if s == 1 or _BATCHES * s * item_s <= most_s)


def screened(funnel: Funnel, variant: Variant) -> bool:
    """True if the first look at a variant is over, whatever it found."""
    failed = funnel.results.get(f"screening-{variant.name}")
    latency = funnel.results.get(f"screening-{variant.name}-latency")
    batch = funnel.results.get(f"screening-{variant.name}-batch")
    return failed is not None or (latency is not None and batch is not None)


def _screen_one(funnel: Funnel, variant: Variant, role: Role) -> None:
    """Screen at the usual batch size; a model that can't take it is tried item by item before it is given up."""
    try:
        prepared = funnel.prepared(variant)
        funnel.progress.stage(f"{variant.name}: screening")
        try:
            _answer_and_time(funnel, prepared, role, screen_size(funnel), ())
        except BudgetEnded:
            raise
        except VariantError as error:
            if funnel.record.signature.batch != "any" or getattr(error, "cause", "") == "hang":
                raise
            note = f"fails at batches of {screen_size(funnel)} ({error.reason}), so it is run item by item"
            _answer_and_time(funnel, prepared, role, 1, (note,))
    except BudgetEnded:
        raise
    except VariantError as error:
        funnel.commit_failure(variant, error, getattr(error, "status", "failed"))


def _answer_and_time(funnel: Funnel, prepared: Prepared, role: Role, size: int, notes: tuple[str, ...]) -> None:
    prepared = msgspec.structs.replace(prepared, notes=(*prepared.notes, *notes))
    with funnel.opened(prepared, f"screening-{size}") as live:
        size = allowed(live.sizes, size)
        scored = _score(funnel, live, size)
        if scored.wrong is not None:
            funnel.commit_failure(prepared.variant, VariantError(scored.wrong), "wrong", scored, live)
            return
        for turn in turns_of(funnel, prepared.variant, role, size):
            if turn.run_id not in funnel.results:
                funnel.measure(live, turn, scored)


def _score(funnel: Funnel, live: Live, size: int) -> Score:
    variant = live.prepared.variant
    out = funnel.folder.reference / f"{variant.name}.npz"
    ids = funnel.services.evaluation
    took = _answered_before(funnel, live, ids, out)
    if took is None:
        took = live.answer(ids, size, out, timeout_s=funnel.services.infer_timeout_s)
        if variant.name == funnel.record.baseline:
            keep(funnel.services.answers(variant), out, Answered(ids=tuple(ids), seconds=took))
    funnel.item_s[variant.name] = took / len(ids)
    return funnel.services.score(variant, out)


def _answered_before(funnel: Funnel, live: Live, ids: list[int], out: Path) -> float | None:
    """Seconds that the same artefact of the original took for all of them in an earlier study, its answers in `out`.

    None where there are none, for candidates, and if its first answer now isn't the one of then.
    """
    variant = live.prepared.variant
    if variant.name != funnel.record.baseline or (place := funnel.services.answers(variant)) is None:
        return None
    known = find(place, out)
    if known is None or known.ids != tuple(ids):
        return None
    probe = out.with_name(f"{out.stem}.first.npz")
    try:
        live.answer(ids[:1], 1, probe, timeout_s=funnel.services.infer_timeout_s)
        return known.seconds if agree(out, probe) else None
    finally:
        probe.unlink(missing_ok=True)


def turns_of(funnel: Funnel, variant: Variant, role: Role, size: int) -> list[Turn]:
    """One at a time, and in batches of that size."""
    chosen: list[tuple[Target, Named, Named]] = [
        ("latency", Named("single_stream"), Named("single")),
        ("batch", Named("offline"), Named("fixed", {"size": size})),
    ]
    return [
        Turn(
            run_id=f"screening-{variant.name}-{target}",
            phase="screening",
            target=target,
            scenario=scenario,
            batching=batching,
            duration_s=funnel.profile.screen_s,
            trial=0,
            role=role,
        )
        for target, scenario, batching in chosen
    ]


def allowed(sizes: tuple[int, ...] | None, size: int) -> int:
    """The largest batch an engine takes that isn't above `size`; its smallest one if all are above."""
    return size if sizes is None else max([s for s in sizes if s <= size] or [sizes[0]])


def _say_answer(funnel: Funnel, *, last: bool = False) -> None:
    """What looks best so far, labelled as what it is: soon after the start, and again when that changes."""
    if not last and funnel.budget.elapsed_s() < _ANSWER_AFTER_S:
        return
    conclusion = funnel.read()
    for answer in (conclusion.batch, conclusion.online, conclusion.memory):
        if answer is not None and funnel.answered.get(answer.target) != answer.winner:
            funnel.answered[answer.target] = answer.winner
            funnel.progress.best(f"screening, {answer.target}: {answer.sentence}")
