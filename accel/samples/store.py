"""How samples lie on disk and how rows and batches are read back: a folder of plain .npy and one samples.json."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
Ids = Sequence[int] | Int64
INDEX = "samples.json"
PARTS = ("calibration", "validation", "evaluation")


def _no_ids() -> Int64:
    return np.zeros(0, np.int64)


class Samples(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """N items, padded to one shape, with the real length of each where an axis is ragged.

    inputs: name -> (N, ...) array. ragged: name -> which axis *of the item* varies (the batch axis isn't counted).
    lengths: name -> (N,) real length along that axis. padding: name -> what fills the rest.
    labels: (N, ...) or None. calibration, validation, evaluation: ids; every id is in exactly one of the three.
    synthetic: True if nobody gave inputs. notes: what was changed or is too little, in sentences.
    sha256: of everything that can change a result (inputs, labels, lengths, parts).
    """

    inputs: dict[str, Array]
    calibration: Int64
    evaluation: Int64
    sha256: str
    validation: Int64 = msgspec.field(default_factory=_no_ids)
    ragged: dict[str, int] = {}
    lengths: dict[str, Int64] = {}
    padding: dict[str, float] = {}
    labels: Array | None = None
    synthetic: bool = False
    metric: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: Path) -> Samples:
        """Map a folder that `write` made; nothing is read until it is used. Raises InputError if it isn't one."""
        return _open(Path(folder))

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.calibration) + len(self.validation) + len(self.evaluation)

    def batch(self, ids: Ids) -> dict[str, Array]:
        """Stack the rows `ids`; a ragged axis is as long as the longest of *these* rows, as a server would pad."""
        index = np.asarray(ids, np.int64)
        return {name: self._cut(name, index)[index] for name in self.inputs}

    def row(self, i: int) -> dict[str, Array]:
        """One item with a batch axis of 1, as views, at its real length."""
        index = np.array([i])
        return {name: self._cut(name, index)[i : i + 1] for name in self.inputs}

    def _cut(self, name: str, index: Int64) -> Array:
        array = self.inputs[name]
        if name not in self.ragged or not len(index):
            return array
        longest = int(self.lengths[name][index].max())
        return array[(slice(None),) * (self.ragged[name] + 1) + (slice(0, longest),)]

    def to_ram(self) -> Samples:
        """The same samples with every array copied into memory, so that no request waits for the disk."""
        inputs = {name: np.array(array) for name, array in self.inputs.items()}
        labels = None if self.labels is None else np.array(self.labels)
        return msgspec.structs.replace(self, inputs=inputs, labels=labels)

    def only(self, ids: Ids) -> Samples:
        """The rows `ids`, numbered anew in that order; each stays in the part it was in."""
        index = np.asarray(ids, np.int64)

        def part(of: Int64) -> Int64:
            return np.flatnonzero(np.isin(index, of)).astype(np.int64)

        return msgspec.structs.replace(
            self,
            inputs={name: array[index] for name, array in self.inputs.items()},
            lengths={name: length[index] for name, length in self.lengths.items()},
            labels=None if self.labels is None else self.labels[index],
            calibration=part(self.calibration),
            validation=part(self.validation),
            evaluation=part(self.evaluation),
            sha256=hashlib.sha256(self.sha256.encode() + index.tobytes()).hexdigest(),
        )


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """samples.json: the names behind the numbered files, and all that isn't an array."""

    names: tuple[str, ...]
    ragged: dict[str, int]
    padding: dict[str, float]
    synthetic: bool
    metric: str | None
    labelled: bool
    notes: tuple[str, ...]
    sha256: str


def _open(folder: Path) -> Samples:
    try:
        index = msgspec.json.decode((folder / INDEX).read_bytes(), type=Index)
    except FileNotFoundError:
        raise InputError(f"`{folder}` holds no samples: it has no {INDEX}.") from None
    except msgspec.DecodeError as error:
        raise InputError(f"`{folder / INDEX}` can't be read: {error}.") from None

    def read(name: str, *, mapped: bool = True) -> Array:
        array: Array = np.load(folder / f"{name}.npy", mmap_mode="r" if mapped else None, allow_pickle=False)
        return array

    numbered = list(enumerate(index.names))
    return Samples(
        inputs={name: read(f"input_{i}") for i, name in numbered},
        ragged=index.ragged,
        lengths={name: read(f"lengths_{i}", mapped=False) for i, name in numbered if name in index.ragged},
        padding=index.padding,
        labels=read("labels") if index.labelled else None,
        calibration=read("calibration", mapped=False),
        # Samples that were stored before there was such a part have none.
        validation=read("validation", mapped=False) if (folder / "validation.npy").is_file() else _no_ids(),
        evaluation=read("evaluation", mapped=False),
        synthetic=index.synthetic,
        metric=index.metric,
        notes=index.notes,
        sha256=index.sha256,
    )


def write(samples: Samples, folder: Path) -> Samples:
    """Store samples in `folder` (made whole beside it, then renamed; an old one is replaced) and map them."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    index = Index(
        names=tuple(samples.inputs),
        ragged=samples.ragged,
        padding=samples.padding,
        synthetic=samples.synthetic,
        metric=samples.metric,
        labelled=samples.labels is not None,
        notes=samples.notes,
        sha256=samples.sha256 or digest(samples),
    )
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        for name, array in _files(samples):
            np.save(part / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        (part / INDEX).write_bytes(msgspec.json.format(msgspec.json.encode(index)))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(part, folder)  # noqa: PTH105  # the commit point: a reader sees all of it or nothing
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _open(folder)


def _files(samples: Samples) -> list[tuple[str, Array]]:
    files: list[tuple[str, Array]] = [(part, getattr(samples, part)) for part in PARTS]
    for i, (name, array) in enumerate(samples.inputs.items()):
        files.append((f"input_{i}", array))
        if name in samples.ragged:
            files.append((f"lengths_{i}", samples.lengths[name]))
    if samples.labels is not None:
        files.append(("labels", samples.labels))
    return files


def digest(samples: Samples) -> str:
    """Hash of names, dtypes, shapes and bytes of every array, and of the parts."""
    sha = hashlib.sha256()
    sha.update(repr((tuple(samples.inputs), sorted(samples.ragged.items()), sorted(samples.padding.items()))).encode())
    for name, array in _files(samples):
        sha.update(f"{name}{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def listed(names: Mapping[str, object] | Sequence[str]) -> str:
    """Names for a sentence: `a`, `b`."""
    return ", ".join(f"`{name}`" for name in names)
