"""The first look at what was given: where the model comes from, and what a child finds out about it and the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from accel.model import Source, describe
from accel.study.folder import StudyFolder
from accel.study.given import Given, give
from accel.study.options import Options
from accel.study.prepare import Workshop


def describe_source(options: Options, folder: StudyFolder) -> Source:
    """The model's source as plain data; a live object is stored in `folder`. Raises InputError."""
    return describe(
        options.model,
        folder=folder.model,
        trust_file=options.trust_file,
        random_weights=options.random_weights,
        name=options.name,
        samples=options.samples,
    )


def given_of(options: Options, folder: StudyFolder) -> dict[str, Given]:
    """Samples, labels and metric as a child takes them; live objects are stored in `folder`. Raises InputError."""
    return {n: give(getattr(options, n), folder.model, n) for n in ("samples", "labels", "metric")}


def told_of(options: Options) -> dict[str, Any]:
    """What else the child is told."""
    return {"padding": options.padding, "seed": options.seed}


def look(
    options: Options,
    folder: StudyFolder,
    workshop: Workshop,
    on_stage: Callable[[str], None],
    given: dict[str, Given] | None = None,
) -> dict[str, Any]:
    """What `prepare_child.inspect` replies; samples lie in `folder` afterwards.

    given: as `given_of` gives it, where it is known. Raises InputError for what is wrong with model or samples,
    NothingMeasured if the child dies of them.
    """
    given = given_of(options, folder) if given is None else given
    return workshop.inspect({**msgspec.to_builtins(given), "options": told_of(options)}, on_stage)
