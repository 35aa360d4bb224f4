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


def look(
    options: Options, folder: StudyFolder, workshop: Workshop, on_stage: Callable[[str], None]
) -> tuple[dict[str, Any], Given]:
    """What `prepare_child.inspect` replies, and the metric as a child takes it; samples lie in `folder` afterwards.

    Raises InputError for what is wrong with model or samples, NothingMeasured if the child dies of them.
    """
    given = {n: give(getattr(options, n), folder.model, n) for n in ("samples", "labels", "metric")}
    told = {"padding": options.padding, "seed": options.seed}
    return workshop.inspect({**msgspec.to_builtins(given), "options": told}, on_stage), given["metric"]
