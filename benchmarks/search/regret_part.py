"""What HARDWARE.md says of accel's advice: the table of regrets."""

from __future__ import annotations

from collections.abc import Sequence

from accel.analysis.conclusion import Comparison
from accel.result import Quality
from benchmarks.compression import words
from benchmarks.compression.reading import FRESH_EFFECT, compared, reaches
from benchmarks.search.grid import LEAST
from benchmarks.search.rows import Duel, Pick, Regret

WITHIN, SHARE = 0.95, 0.15
"""What is wanted: the pick at least so fast as the grid's best, in at most so much of the grid's time."""
_HOW = {"batch": "in batches", "latency": "one at a time"}
_ABOUT = (
    "A full grid (backend × compression × threads, streams and the like × batch size) measured once, and an ordinary "
    "study of the same recipe. *The pick against the best*: how many times as fast the study's pick is as the grid's "
    "best cell whose outputs don't fail, both measured afresh by turns, each run in a fresh process; at least "
    f"{WITHIN} was wanted. In batches the pick is the study's answer, one at a time its fastest row of those it looked "
    "at closely. *Fresh samples*: the guard on samples that neither study nor grid has seen. *Measuring*: opening, the "
    "guard and every cell of the grid, each once for at least the seconds that stand there; of the study everything "
    "but its confirmations. *Making*: the seconds that the artefacts took when they were made, which lay in the cache "
    f"for both. At most {100 * SHARE:.0f} % was wanted."
)


def regrets(found: Sequence[Regret]) -> list[str]:
    """One row a model and target."""
    rows = [_row(one, duel) for one in found for duel in one.duels]
    if not rows:
        return []
    head = ["model", "", "the grid's best", "the study's pick", "the pick against the best", f"≥ {WITHIN}"]
    head += ["fresh samples"]
    body = [words.grid(head, rows), words.grid(_TIME_HEAD, [_time_row(one) for one in found])]
    return ["## The pick against a full grid", _ABOUT, *body, *_said(found)]


def _row(one: Regret, duel: Duel) -> list[str]:
    found = ratio(duel)
    held = True if duel.same else None if found is None else reaches(found, WITHIN)
    measured = "the same cell" if duel.same else "not measured" if found is None else words.times(found.ratio)
    return [
        words.title(one.model),
        _HOW[duel.target],
        _cell(duel, duel.best),
        _cell(duel, duel.pick),
        measured,
        "" if found is None and not duel.same else words.HOLDS[held],
        _guard(duel.fresh),
    ]


def ratio(duel: Duel) -> Comparison | None:
    """How many times as fast the pick is as the grid's best; None before three blocks are there."""
    if duel.same or not duel.best_cell.runs or not duel.pick_cell.runs:
        return None
    found = compared(duel.best_cell, [duel.pick_cell], min_effect=FRESH_EFFECT)
    return found[duel.pick_cell.variant].get(duel.target)


def _cell(duel: Duel, pick: Pick) -> str:
    return f"`{pick.variant}`" + (f", batches of {pick.size}" if duel.target == "batch" else "")


def _guard(quality: Quality | None) -> str:
    if quality is None:
        return "not looked at"
    return {"passes": "passes", "fails": "**fails**", "unresolved": "unresolved"}.get(quality.outcome, "not judged")


_TIME_HEAD = ["model", "cells", "failed", "measuring the grid", "the study's measuring", "share"]
_TIME_HEAD += [f"≤ {100 * SHARE:.0f} %", "making: grid, study", "share with making"]


def _time_row(one: Regret) -> list[str]:
    failed = sum(bool(t.cell.failed_runs) for t in one.grid)
    count = cells(one)
    counted = str(count) if count >= LEAST else f"{count} (fewer than {LEAST})"
    counted += f" of {min(t.seconds for t in one.grid):g} s" if one.grid else ""
    counted += f", **{one.unmeasured} configurations still to come**" if one.unmeasured else ""
    row = [words.title(one.model), counted, str(failed), f"{measuring_s(one):.0f} s"]
    share, whole = share_of(one), share_of(one, making=True)
    if one.study_s is None or share is None or whole is None:
        return [*row, "–", "–", "", f"{making_s(one):.0f} s, –", "–"]
    both = f"{making_s(one):.0f} s, {one.made_s or 0.0:.0f} s"
    held = "yes" if share <= SHARE else "**no**"
    return [*row, f"{one.study_s:.0f} s", f"{100 * share:.0f} %", held, both, f"{100 * whole:.0f} %"]


def cells(one: Regret) -> int:
    """How many cells were measured: configurations × batch sizes."""
    return sum(run.target == "batch" for tried in one.grid for run in tried.cell.runs)


def measuring_s(one: Regret) -> float:
    """Opening every configuration, the guard and every cell."""
    return sum(tried.took_s for tried in one.grid)


def making_s(one: Regret) -> float:
    """Making the grid's artefacts, each once."""
    return sum(tried.made_s for tried in one.grid)


def share_of(one: Regret, *, making: bool = False) -> float | None:
    """The study's share of the grid's time, with or without making artefacts on both sides."""
    grid_s = measuring_s(one) + (making_s(one) if making else 0.0)
    if one.study_s is None or not grid_s:
        return None
    return (one.study_s + ((one.made_s or 0.0) if making else 0.0)) / grid_s


def _said(found: Sequence[Regret]) -> list[str]:
    duels = [duel for one in found for duel in one.duels]
    held = [True if d.same else None if (r := ratio(d)) is None else reaches(r, WITHIN) for d in duels]
    fails = sum(d.fresh is not None and d.fresh.outcome == "fails" for d in duels)
    judged = sum(d.fresh is not None for d in duels)
    shares = [s for one in found if (s := share_of(one)) is not None]
    return [
        f"- Within 5 % of the grid's best: {held.count(True)} of {len(duels)} picks; surely not: {held.count(False)}.\n"
        f"- The guard fails on fresh samples: {fails} of {judged} picks.\n"
        f"- At most {100 * SHARE:.0f} % of the grid's time: {sum(s <= SHARE for s in shares)} of {len(shares)} studies."
    ]
