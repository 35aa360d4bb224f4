"""What the experiments on compression keep: plain records, a JSON file a cell while they run, one a model for good."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from accel.compilation import Effective
from accel.plugins import Named
from accel.result import Level, Numerics, Quality, Role, SetUp, write_atomically
from benchmarks.batching.rows import REPORTS, Where

FOLDER = REPORTS / "compression"
Outcome = Literal["ready", "refused", "skipped", "failed", "wrong", "late"]
Timed = Literal["latency", "batch"]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One timed run, one number: seconds (median, one request at a time) or items a second (in batches of `size`).

    block: in which all sides took turns. flags: witnesses that saw something.
    """

    target: Timed
    block: int
    role: Role
    value: float
    level: Level
    size: int = 1
    flags: tuple[str, ...] = ()


class Cell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One technique on one backend for one model.

    outcome: ready to be timed; refused (it makes no sense here), skipped (a package is missing), failed, wrong (the
        outputs are nonsense) or late (making it took too long); `reason` says why.
    key: of everything the artefact depends on; runs of another key are not this cell's.
    probe: a speed probe: its accuracy was given away and not won back, so it can't win.
    failed_runs: why it couldn't be timed although it was ready.
    stale: the techniques' source has changed since the artefact was made.
    """

    model: str
    technique: str
    backend: str
    variant: str
    outcome: Outcome
    compression: tuple[Named, ...] = ()
    key: str = ""
    reason: str = ""
    next_step: str = ""
    probe: bool = False
    quality: Quality | None = None
    artefact_bytes: int | None = None
    set_up: SetUp | None = None
    numerics: Numerics | None = None
    effective: Effective | None = None
    notes: tuple[str, ...] = ()
    item_s: float | None = None
    runs: tuple[Run, ...] = ()
    failed_runs: str = ""
    stale: bool = False


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Every cell of one model.

    caches_bytes: of the machine, by level. evaluation, calibration: samples that quality and ranges rest on.
    unprepared: (technique, backend) that nobody has got to.
    """

    model: str
    random_weights: bool
    where: Where
    caches_bytes: dict[str, int]
    evaluation: int
    calibration: int
    accuracy_drop: float
    cells: tuple[Cell, ...]
    unprepared: tuple[tuple[str, str], ...] = ()


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the layers of one artefact whose weights are stored in few bits, beside what float32 takes.

    stored_bytes: codes, scales and zero points. codes: how many weights by the type they are stored in.
    """

    technique: str
    backend: str
    layers: int
    float_bytes: int
    stored_bytes: int
    codes: dict[str, int]
    file_bytes: int


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of every such artefact of one model."""

    model: str
    float_file_bytes: dict[str, int]
    layers: tuple[Layers, ...]


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """One model quantized by several tools; in their cells `technique` is the tool and `backend` the runtime.

    settings: by tool, what was called. beside: by variant, accel's outputs judged with that tool's as the reference.
    """

    model: str
    random_weights: bool
    where: Where
    settings: dict[str, str]
    cells: tuple[Cell, ...]
    beside: dict[str, Quality] = {}


Record = TypeVar("Record", bound=msgspec.Struct)


def cell_path(folder: Path, variant: str) -> Path:
    """Where a cell lies while the experiment runs."""
    return folder / "cells" / f"{variant}.json"


def load(folder: Path, variant: str) -> Cell | None:
    """A kept cell, or None if there is none that this version can read."""
    try:
        return msgspec.json.decode(cell_path(folder, variant).read_bytes(), type=Cell)
    except (OSError, msgspec.DecodeError):
        return None


def keep(folder: Path, cell: Cell) -> None:
    """Commit a cell."""
    path = cell_path(folder, cell.variant)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(cell), indent=1))


def write(record: msgspec.Struct, name: str, folder: Path = FOLDER) -> Path:
    """Commit `folder/NAME.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return path


def read(kind: type[Record], pattern: str, folder: Path = FOLDER) -> list[Record]:
    """Every record of a kind, in the order of the files' names."""
    return [msgspec.json.decode(path.read_bytes(), type=kind) for path in sorted(folder.glob(pattern))]
