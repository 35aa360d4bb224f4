"""The first look at a model, or an earlier study's of the same; and the second look that confirms the latter.

An earlier look that holds every byte is as good as a new one. Where it can't (a factory may read anything), the study
begins with it, and looks for itself before anything is prepared for that model: measuring can begin at once, and
nothing that is kept for later rests on a guess. If the model turns out to be another one, the study starts anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import msgspec

from accel.errors import InputError, NothingMeasured
from accel.measurement.machine import Machine
from accel.model import Source
from accel.study import looks
from accel.study.folder import StudyFolder
from accel.study.given import Given
from accel.study.looking import describe_source, given_of, look, told_of
from accel.study.options import Options
from accel.study.prepare import Workshop

Workshops = Callable[[Source, StudyFolder], Workshop]
OnStage = Callable[[str], None]


class Changed(Exception):
    """The model isn't the one that an earlier look found."""


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out, and the metric as a child takes it.

    look: under which key that is kept; None: it isn't. confirmed: a look of this study's own, or one that holds every
    byte, said so.
    """

    seen: dict[str, Any]
    metric: Given
    look: looks.Key | None
    confirmed: bool


class FirstLook:
    """Looks at the model of one study."""

    def __init__(
        self, options: Options, folder: StudyFolder, machine: Machine, workshop: Workshops, on_stage: OnStage
    ) -> None:
        self._options, self._folder, self._machine = options, folder, machine
        self._workshop, self._on_stage = workshop, on_stage

    def begin(self, source: Source, *, anew: bool = False) -> Begun:
        """An earlier look if there is one (never with `anew`), else a new one, which is kept; raises like `look`."""
        given = given_of(self._options, self._folder)
        key = self._key(source, given)
        known = None if key is None or anew else looks.find(key, self._folder)
        if key is not None and known is not None:
            # Where it lies is this study's own: the same bytes may have lain elsewhere, where others lie now.
            here = msgspec.structs.replace(source, random_weights=known["source"]["random_weights"])
            seen = known | {"source": msgspec.to_builtins(here)}
            return Begun(seen=seen, metric=given["metric"], look=key, confirmed=key.exact)
        seen = look(self._options, self._folder, self._workshop(source, self._folder), self._on_stage, given)
        # Not if the files were written to meanwhile: nobody knows which bytes were read.
        if key is not None and self._key(source, given) == key:
            looks.keep(key, self._folder, seen)
        return Begun(seen=seen, metric=given["metric"], look=key, confirmed=True)

    def confirm(self, identity: str | None, samples_sha256: str) -> None:
        """Look at what was given, hold it against what the study began with; raises Changed if it's another model."""
        place = StudyFolder(self._folder.root / "confirming")
        try:
            place.create(resume=True)
            source = describe_source(self._options, place)
            given = given_of(self._options, place)
            key = self._key(source, given)
            known = None if key is None else looks.find(key, place)
            if known is not None:
                # What was converted spares converting again; what the model came in, and the samples, are read anew.
                came_in = str(known["facts"]["forms"][0])
                for old in (place.samples, place.model / looks.FORMS / came_in):
                    shutil.rmtree(old, ignore_errors=True)
            seen = look(self._options, place, self._workshop(source, place), self._on_stage, given)
            same = seen["identity"] == identity and seen["samples"]["sha256"] == samples_sha256
        except (InputError, NothingMeasured):
            # A new look will say what is wrong with it, in a folder that holds nothing else.
            key, same = None, False
        finally:
            shutil.rmtree(place.root, ignore_errors=True)
        if not same:
            if key is not None:
                looks.forget(key)
            raise Changed

    def _key(self, source: Source, given: dict[str, Given]) -> looks.Key | None:
        return looks.key_of(source, given, told_of(self._options), self._machine, trusted=self._options.trust_file)
