"""accel's static INT8 beside other tools' files: as fast, as accurate?"""

from __future__ import annotations

from collections.abc import Sequence

from accel.result import Quality
from benchmarks.compression import words
from benchmarks.compression.reading import FRESH_EFFECT, at_least_as_fast, compared, line
from benchmarks.compression.rows import Cell, Peers

ACCEL, FLOAT = "accel", "float32"
CLOSE_DB = 1.0
"""Distances to the float outputs that differ by less count as the same."""


def peers(found: Sequence[Peers]) -> list[str]:
    """One table a model and runtime."""
    parts: list[str] = []
    for one in found:
        for runtime in dict.fromkeys(c.backend for c in one.cells):
            parts += _of_runtime(one, [c for c in one.cells if c.backend == runtime], runtime)
        calls = [f"- {tool}: `{called}`" for tool, called in one.settings.items()]
        parts += ["\n".join(calls)] if calls else []
    if not parts:
        return []
    about = (
        "Everybody quantizes the same float32 file with the same calibration samples; the same engine runs every file "
        "of a runtime, each run in a fresh process, by turns. *accel against it*: how many times as fast accel's file "
        "is. *At least as fast*: yes if it surely isn't slower by 3 % (or by what measuring twice showed). "
        "*As accurate*: accel's answers judged with the other tool's as the yardstick, 1 point being the limit; with "
        "random weights, whether its outputs lie as close to the float ones (less than 1 dB counts as the same)."
    )
    return ["## Against other tools", about, *parts]


def _of_runtime(one: Peers, cells: Sequence[Cell], runtime: str) -> list[str]:
    ours = next((c for c in cells if c.technique == ACCEL), None)
    body = [_row(one, cell, ours) for cell in cells]
    head = ["file", "outputs", "size", "one at a time", "in batches of 8", "accel against it, one at a time"]
    head += ["accel against it, in batches", "at least as fast", "as accurate"]
    weights = ", random weights" if one.random_weights else ""
    said = _sentence(one, cells, ours)
    return [f"### {words.title(one.model)}{weights}, run by {runtime}", words.grid(head, body), *said]


def _sentence(one: Peers, cells: Sequence[Cell], ours: Cell | None) -> list[str]:
    """Against whom accel's file is at least as fast and as accurate."""
    if ours is None or ours.outcome != "ready":
        return []
    sides: dict[bool | None, list[str]] = {}
    for cell in cells:
        if cell.outcome == "ready" and cell.technique not in (ACCEL, FLOAT):
            fast = fast_as(cell, ours)
            if fast:
                both = _all([*fast, accurate(one, cell, ours)])
                wrong = " (whose outputs fail)" if cell.quality and cell.quality.outcome == "fails" else ""
                sides.setdefault(both, []).append(f"{cell.technique}{wrong}")
    named = {True: "at least as fast and as accurate as", None: "not settled against", False: "not so against"}
    said = [f"{named[side]} {words.listed(sides[side])}" for side in (True, None, False) if side in sides]
    return [f"accel's file: {'; '.join(said)}."] if said else []


def fast_as(cell: Cell, ours: Cell) -> list[bool | None]:
    """Whether accel's file is at least as fast as another's, by target; empty where that wasn't measured."""
    against = compared(cell, [ours], min_effect=FRESH_EFFECT).get(ours.variant, {})
    return [at_least_as_fast(c) for c in against.values()]


def _row(one: Peers, cell: Cell, ours: Cell | None) -> list[str]:
    if cell.outcome != "ready":
        return [cell.technique, words.sentence(f"{cell.outcome}: {cell.reason}", cell.next_step), *[""] * 7]
    figures = line(cell, {})
    own = [
        cell.technique,
        words.sentence(words.outputs(cell)).rstrip("."),
        words.size(cell, None),
        words.milliseconds(figures.latency),
        words.per_second(figures.rate),
    ]
    if ours is None or cell is ours or ours.outcome != "ready":
        return [*own, "", "", "", ""]
    against = compared(cell, [ours], min_effect=FRESH_EFFECT).get(ours.variant, {})
    fast = fast_as(cell, ours)
    own += [words.ratio(against.get("latency")), words.ratio(against.get("batch"))]
    if cell.technique == FLOAT:
        return [*own, "", ""]
    return [*own, words.HOLDS[_all(fast)] if fast else "not measured", words.HOLDS[accurate(one, cell, ours)]]


def _all(found: Sequence[bool | None]) -> bool | None:
    return False if False in found else None if None in found else True


def accurate(one: Peers, cell: Cell, ours: Cell) -> bool | None:
    """Is accel's file as accurate as another's? None: the samples can't settle it."""
    if one.random_weights:
        mine, theirs = _closeness(ours.quality), _closeness(cell.quality)
        return None if mine is None or theirs is None else mine >= theirs - CLOSE_DB
    beside = one.beside.get(cell.variant)
    outcome = "" if beside is None else beside.outcome
    return True if outcome == "passes" else False if outcome == "fails" else None


def _closeness(quality: Quality | None) -> float | None:
    """dB from the float outputs; None where they aren't known."""
    return None if quality is None else quality.sqnr_db
