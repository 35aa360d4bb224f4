"""The ordinary study of a recipe, as `accel bench RECIPE` makes it: run once, kept, and read by who needs its picks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import accel
from accel.units import seconds
from benchmarks.compression.sittings import Clock
from benchmarks.subject import place, recipe_of

BUDGET = "3m"
TARGET = "both"


def folder_of(model: str) -> Path:
    """Where a model's study lies."""
    return place() / "search" / f"{Path(model).stem}-study"


def finished(model: str) -> accel.Study | None:
    """The study, if it has come to its end."""
    folder = folder_of(model)
    if not (folder / "study.json").is_file():
        return None
    study = accel.Study(folder)
    ended = study.record.finished_unix_ns is not None and not study.record.interrupted
    return study if ended else None


def studied(model: str, budget: str, clock: Clock, said: Callable[[str], None]) -> accel.Study | None:
    """The study; made if it isn't there and the time allows. Raises AccelError if nothing could be measured."""
    found = finished(model)
    if found is not None:
        return found
    if clock.left_s < seconds(budget, "--budget"):
        said(f"not measured, for want of time: the study of {model} ({budget})")
        return None
    said(f"{model}: an ordinary study of {budget} ({clock.left_s:.0f} s left)")
    accel.bench(str(recipe_of(model)), out=folder_of(model), budget=budget, target=TARGET, resume=True)
    return finished(model)
