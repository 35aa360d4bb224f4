"""A `null` artefact and a samples folder, built by hand, so that these tests need no model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from accel.compilation._artefact import Artefact
from accel.model import Tensor
from accel.samples.store import Samples, write


def samples_folder(folder: Path, n: int = 40) -> Path:
    rng = np.random.default_rng(3)
    ids = np.arange(n)
    write(
        Samples(
            inputs={"x": rng.normal(size=(n, 4)).astype(np.float32)},
            calibration=ids[: n // 4],
            evaluation=ids[n // 4 :],
            sha256="",
        ),
        folder,
    )
    return folder


def null_folder(folder: Path, sizes: tuple[int, ...] | None = None) -> Path:
    folder.mkdir(parents=True)
    Artefact(
        file="",
        inputs=(Tensor("x", "float32", ("batch", 4)),),
        outputs=(Tensor("y", "float32", ("batch", 3)),),
        sizes=sizes,
    ).save(folder)
    return folder
