"""One rescue as the study asks for it: in a prepare child, scored on the validation part, kept under rescues/.

The child gets calibration and validation samples and nothing else, so whatever it tries is chosen without the
evaluation part, on which the chosen form is judged afterwards like any other variant.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from accel.analysis.conclusion import StudyRecord
from accel.analysis.rescues import FOLDER, steps_of
from accel.measurement.isolation import ChildFailed
from accel.recipe import Variant
from accel.rescue.choice import best
from accel.rescue.record import Rescue, Step
from accel.result import write_atomically
from accel.study.budget import BudgetEnded
from accel.study.context import Context
from accel.study.folder import StudyFolder
from accel.study.judging import terms_of
from accel.study.prepare import Workshop
from accel.study.reference import Reference

_REFERENCE_SHARE = 0.2
_MARGIN_S, _MARGIN = 20.0, 1.5
"""How long beyond its time a search may take before it is cut: it stops between two steps, not within one."""


class Rescuer:
    """Searches for a form of a variant that keeps the guard's limit; its steps are on disk as soon as they are made."""

    def __init__(
        self,
        folder: StudyFolder,
        record: StudyRecord,
        context: Context,
        workshop: Workshop,
        reference: Reference,
        on_stage: Callable[[str], Callable[[str], None]],
    ) -> None:
        self._root, self._samples = folder.root / FOLDER, folder.samples
        self._record, self._context = record, context
        self._workshop, self._reference, self._on_stage = workshop, reference, on_stage

    def __call__(self, variant: Variant, seconds: float) -> Rescue:
        """Search for `seconds`, going on where an earlier attempt was cut: steps on disk aren't made again.

        A child that breaks or is cut leaves what its steps found. Raises VariantError if there are no outputs of the
        reference to score by, BudgetEnded.
        """
        begun = time.monotonic()
        steps = self._root / variant.name
        steps.mkdir(parents=True, exist_ok=True)
        reference, ids = self._reference.validation(_REFERENCE_SHARE * seconds)
        left_s = max(1.0, seconds - (time.monotonic() - begun))
        asked = self._asked(variant, steps, reference, ids, left_s)
        try:
            longest_s = _MARGIN * left_s + _MARGIN_S
            found = self._workshop.rescue(variant, asked, self._on_stage(variant.name), longest_s=longest_s)
        except BudgetEnded as error:
            found = cut(variant.name, steps_of(steps), f"its time ended while {error.doing}", complete=False)
        except ChildFailed as error:
            found = cut(variant.name, steps_of(steps), f"it broke off: {error.reason}", complete=error.cause != "hang")
        return msgspec.structs.replace(found, variant=variant.name, seconds=time.monotonic() - begun)

    def _asked(
        self, variant: Variant, steps: Path, reference: Path, ids: tuple[int, ...], seconds: float
    ) -> dict[str, Any]:
        terms = terms_of(self._record, compressed=True)
        return {
            "variant": msgspec.to_builtins(variant),
            "seconds": seconds,
            "steps": str(steps),
            "reference": str(reference),
            "ids": list(ids),
            "metric": msgspec.to_builtins(self._context.metric),
            "terms": msgspec.to_builtins(terms),
            **seen_before(self._record, self._context),
        }


def seen_before(record: StudyRecord, context: Context) -> dict[str, Any]:
    """What the first look at the model found, so that a child reads the source again only where it must."""
    return {
        "signature": msgspec.to_builtins(record.signature),
        "facts": msgspec.to_builtins(record.facts),
        "load_s": context.load_s,
    }


def cut(variant: str, steps: tuple[Step, ...], why: str, *, complete: bool) -> Rescue:
    """What a search that didn't come to its end has found: the fastest acceptable form among its steps, if any."""
    chosen = best(steps)
    found = "no improvement was found before" if chosen is None else f"the best before was: {chosen.what}"
    return Rescue(
        variant=variant,
        steps=steps,
        chosen=None if chosen is None else chosen.compression,
        said=f"Cut short, since {why}; {found}.",
        seconds=0.0,
        complete=complete,
    )


def keep(study: Path, rescue: Rescue) -> None:
    """Commit a rescue to the study's `rescues/VARIANT.json`."""
    folder = study / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    data = msgspec.json.format(msgspec.json.encode(rescue), indent=1)
    write_atomically(folder / f"{rescue.variant}.json", data)
