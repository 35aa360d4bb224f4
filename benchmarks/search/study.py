"""The ordinary study of a recipe, as `accel bench RECIPE` makes it: run once, kept, and read by who needs its picks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import accel
from benchmarks.compression.sittings import Clock
from benchmarks.subject import place, recipe_of

TARGET = "both"


def folder_of(kind: str, model: str) -> Path:
    """Where an experiment's study of a model lies."""
    return place() / kind / f"{Path(model).stem}-study"


def finished(kind: str, model: str) -> accel.Study | None:
    """The study, if it has come to its end."""
    folder = folder_of(kind, model)
    if not (folder / "study.json").is_file():
        return None
    study = accel.Study(folder)
    ended = study.record.finished_unix_ns is not None and not study.record.interrupted
    return study if ended and study.record.elapsed_s else None


def studied(kind: str, model: str, budget_s: float, clock: Clock, said: Callable[[str], None]) -> accel.Study | None:
    """The study; made if it isn't there and the time allows. Raises AccelError if nothing could be measured."""
    found = finished(kind, model)
    if found is not None:
        return found
    if clock.left_s < budget_s:
        said(f"not measured, for want of time: the study of {model} ({budget_s:.0f} s)")
        return None
    said(f"{model}: an ordinary study of {budget_s:.0f} s ({clock.left_s:.0f} s left)")
    folder = folder_of(kind, model)
    accel.bench(str(recipe_of(model)), out=folder, budget=f"{budget_s:.0f}s", target=TARGET, resume=True)
    return finished(kind, model)
