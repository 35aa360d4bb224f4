"""Engines for the `callable` backend that do one wrong thing each: cache, answer wrongly, read from disk, grow.

They need numpy only: a measure child imports this module to restore them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


def _right(inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The true answer: four sums over each sample, so that no two samples have the same."""
    x = inputs["x"].astype(np.float64)
    return np.stack([(x**p).sum(axis=1) for p in (1, 2, 3, 4)], axis=1).astype(np.float32)


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        continue


class Honest(msgspec.Struct):
    """Works `seconds` for every answer."""

    seconds: float = 0.002

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        _spin(self.seconds)
        return {"y": _right(inputs)}


class Caching(msgspec.Struct):
    """Works only if it wasn't asked the same just before."""

    seconds: float = 0.002
    last: bytes = b""

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        asked = inputs["x"].tobytes()
        if asked != self.last:
            _spin(self.seconds)
            self.last = asked
        return {"y": _right(inputs)}


class Careless(msgspec.Struct):
    """Right for the first `calls` answers, then off by `by` of the value, for the sake of speed."""

    calls: int
    by: float = 0.02
    made: int = 0

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        self.made += 1
        _spin(0.002)
        return {"y": _right(inputs) * np.float32(1.0 if self.made <= self.calls else 1.0 + self.by)}


class Stale(msgspec.Struct):
    """Answers what was asked before: every answer is right, but for somebody else."""

    before: Any = None

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        answer = _right(inputs)
        given = answer if self.before is None or len(self.before) != len(answer) else self.before
        self.before = answer
        _spin(0.002)
        return {"y": given}


class Growing(msgspec.Struct):
    """Holds `megabytes` while it answers and gives them back."""

    megabytes: int

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        held = np.ones(self.megabytes * 131_072)
        _spin(0.002)
        return {"y": _right(inputs) + np.float32(0.0 * held[-1] if len(held) else 0.0)}


class Reading(msgspec.Struct):
    """Reads 200 pages here and there in a file for every answer, and sees to it that they come from the disk."""

    path: str

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        file = os.open(self.path, os.O_RDONLY)
        pages = os.fstat(file).st_size // 4096
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        for i in range(200):
            os.pread(file, 4096, (i * 7919) % pages * 4096)
        os.close(file)
        return {"y": _right(inputs)}


def artefact(folder: Path, engine: Any) -> None:
    """Store an engine as `accel.compilation.callable` would, for samples of 16 numbers and answers of four."""
    from accel.compilation.callable import Callable
    from accel.model.types import Signature, Tensor

    signature = Signature(
        inputs=(Tensor(name="x", dtype="float32", shape=("batch", 16)),),
        outputs=(Tensor(name="y", dtype="float32", shape=("batch", 4)),),
        batch="any",
    )
    model: Any = SimpleNamespace(as_form=lambda _: engine, signature=signature, precision="float32")
    folder.mkdir(parents=True, exist_ok=True)
    Callable().build(model, folder)
