"""A stand-in for a model: artefacts of the `stub` backend with samples beside them, so that the harness and the machine
can be measured where the truth is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel import plugins
from accel.compilation._artefact import Artefact
from accel.model.types import Tensor
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import SetUp
from accel.samples import materialise
from accel.study.folder import StudyFolder
from accel.study.prepare import Prepared

_POOL = 256


def folder_of(root: Path, *, seed: int = 0) -> StudyFolder:
    """A study's folder with a pool of 256 small samples in it and nothing else."""
    folder = StudyFolder(root)
    folder.create(resume=False)
    given = {"x": np.random.Generator(np.random.PCG64(seed)).normal(size=(_POOL, 16)).astype(np.float32)}
    materialise(given, None, folder.samples, seed=seed, calibration=0)
    return folder


def stand_in(folder: StudyFolder, name: str, *, backend: str = "stub", instances: int = 1, **fields: Any) -> Prepared:
    """An artefact of `backend` (one that needs no model: `stub`, `null`, `callable` excepted) with these fields.

    Raises InputError for a field the backend doesn't have.
    """
    variant = Variant(name=name, backend=plugins.parse("compilation", {"name": backend, **fields}), instances=instances)
    place = folder.artefacts / name
    place.mkdir(parents=True, exist_ok=True)
    Artefact(
        file="",
        inputs=(Tensor(name="x", dtype="float32", shape=("batch", 16)),),
        outputs=(Tensor(name="y", dtype="float32", shape=("batch", 4)),),
        sizes=None,
        stored="nothing",
    ).save(place)
    return Prepared(variant=variant, folder=str(place), form="callable", set_up=SetUp(), artefact_bytes=0)


def renamed(prepared: Prepared, name: str, **fields: Any) -> Prepared:
    """The same artefact under another name and with other fields of its backend."""
    backend = Named(prepared.variant.backend.name, {**prepared.variant.backend.fields, **fields})
    variant = msgspec.structs.replace(prepared.variant, name=name, backend=backend)
    return msgspec.structs.replace(prepared, variant=variant)
