"""What did the rescues of a study find? Read from `rescues/` beside its runs, and told in a few words.

A rescue chooses on the validation part; what is said of the rescued variant here comes from its own row, which was
judged on the evaluation part like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from accel.analysis.conclusion import Row
from accel.analysis.stored import every
from accel.rescue.record import Rescue, Step
from accel.result import Quality

FOLDER = "rescues"
STEPS = "steps.jsonl"


def read(study: Path) -> tuple[Rescue, ...]:
    """Every rescue of a study folder, by name; a study without them has none.

    Raises InputError with the path of a file that can't be read.
    """
    return every(study / FOLDER, Rescue, "rescue")


def steps_of(folder: Path) -> tuple[Step, ...]:
    """The steps that an unfinished search has committed, one JSON a line; a last line cut in half is left out."""
    try:
        lines = (folder / STEPS).read_bytes().splitlines(keepends=True)
    except OSError:
        return ()
    return tuple(step for line in lines if line.endswith(b"\n") and (step := _step(line)) is not None)


def _step(line: bytes) -> Step | None:
    try:
        return msgspec.json.decode(line, type=Step)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def rescued_row(rescue: Rescue, rows: Sequence[Row]) -> Row | None:
    """The row of the form that a rescue chose: the variant on the same backend with the same compression.

    That may be one which was in the study anyway. None if nothing was chosen, or if it wasn't prepared.
    """
    parent = next((r for r in rows if r.name == rescue.variant), None)
    if parent is None or rescue.chosen is None:
        return None
    return next(
        (
            r
            for r in rows
            if r.variant.compression == rescue.chosen
            and (r.variant.backend, r.variant.instances) == (parent.variant.backend, parent.variant.instances)
        ),
        None,
    )


def chosen_step(rescue: Rescue) -> Step | None:
    """The step whose compression was chosen; the last one where several share it."""
    return next((s for s in reversed(rescue.steps) if s.compression == rescue.chosen), None)


def kept(rescue: Rescue) -> tuple[float, float | None, float | None] | None:
    """(share, low, high) of the time saved against the same backend's FP32 that the chosen form keeps; rough.

    From relative times t taken in one process by turns: (1 - t_chosen) / (1 - t_start). The ends join those of both
    intervals, which is wider than needed. None where either wasn't timed or the failing variant saved nothing.
    """
    first, last = next((s for s in rescue.steps if s.kind == "start"), None), chosen_step(rescue)
    if first is None or last is None or first.relative_time is None or last.relative_time is None:
        return None
    if first.relative_time >= 1:
        return None
    value = (1 - last.relative_time) / (1 - first.relative_time)
    ends = (first.relative_time_low, first.relative_time_high, last.relative_time_low, last.relative_time_high)
    if any(end is None for end in ends) or (first.relative_time_high or 1.0) >= 1:
        return value, None, None
    first_low, first_high, last_low, last_high = (float(end or 0.0) for end in ends)
    corners = [(1 - last) / (1 - first) for last in (last_low, last_high) for first in (first_low, first_high)]
    return value, min(corners), max(corners)


def lost(quality: Quality) -> str:
    """What a quality gave up, to stand behind a variant's name: `lost 55 points of accuracy`."""
    if quality.drop is not None and quality.metric is not None:
        return f"lost {100 * quality.drop:.2g} points of {quality.metric}"
    if "agreement" in quality.rule and quality.agreement is not None:
        return f"gave the original's answer on only {100 * quality.agreement:.1f} % of the samples"
    if quality.sqnr_db is not None:
        return f"strayed to {quality.sqnr_db:.1f} dB from the original"
    return "failed the guard"
