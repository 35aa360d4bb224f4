"""What an unchanged artefact answered to unchanged samples, kept between studies beside the artefacts.

Only of the reference and of the original: a candidate's answers are evidence for the guard, and are given anew in every
study. Keyed like artefacts, and by the samples and all fields of the backend.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from accel.analysis.outputs import relative_error
from accel.measurement.outputs import load_ids, load_outputs
from accel.recipe import Variant
from accel.result import write_atomically
from accel.study.cache import cache_root, remove, source_sha256

Place = Callable[[Variant], "Path | None"]
"""Where the answers of a variant are kept; None where nothing can vouch for the model."""
_ENTRY, _OUTPUTS = "answers.json", "outputs.npz"
_FARTHEST = 1e-3


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """ids: whose answers, in order. seconds: what all of them took; item_s: what one took, where that is known.

    sha256: of the file that holds the answers.
    """

    ids: tuple[int, ...]
    seconds: float
    item_s: float = 0.0
    sha256: str = ""


def place_of(artefact_key: str | None, variant: Variant, samples_sha256: str, told: dict[str, Any]) -> Path | None:
    """Where the answers of an artefact lie, if they are kept. told: what else decides which samples are answered."""
    if artefact_key is None:
        return None
    parts = {"artefact": artefact_key, "backend": variant.backend, "samples": samples_sha256, "told": told}
    parts["accel"] = _source()
    digest = hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:32]
    return cache_root() / f"answers-{digest}"


def find(place: Path | None, out: Path) -> Answered | None:
    """Put the kept answers into `out`; None if there are none, or not those that were kept."""
    if place is None or not place.is_dir():
        return None
    part = out.with_name(f"{out.name}.part")
    with contextlib.suppress(OSError, msgspec.DecodeError):
        answered = msgspec.json.decode((place / _ENTRY).read_bytes(), type=Answered)
        shutil.copyfile(place / _OUTPUTS, part)
        if _hash(part) == answered.sha256:
            part.replace(out)
            with contextlib.suppress(OSError):  # somebody else's folder
                os.utime(place)
            return answered
    part.unlink(missing_ok=True)
    remove(place)  # or it would stand in the way of a whole one
    return None


def keep(place: Path | None, out: Path, answered: Answered) -> None:
    """Keep the answers in `out`, whole or not at all; where there is no room, they are given anew next time."""
    if place is None or place.is_dir():
        return
    with contextlib.suppress(OSError):
        work = Path(tempfile.mkdtemp(prefix=".making-", dir=place.parent))
        try:
            shutil.copyfile(out, work / _OUTPUTS)
            hashed = msgspec.structs.replace(answered, sha256=_hash(work / _OUTPUTS))
            write_atomically(work / _ENTRY, msgspec.json.encode(hashed))
            work.rename(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _source() -> str:
    """Of the code that feeds samples and stores what is answered."""
    return source_sha256("measurement", "samples")


def agree(kept: Path, fresh: Path) -> bool:
    """True if fresh answers to some of the samples are the kept ones, but for rounding."""
    ids, some = [int(i) for i in load_ids(kept)], [int(i) for i in load_ids(fresh)]
    theirs, ours = load_outputs(kept), load_outputs(fresh)
    if theirs.keys() != ours.keys() or not set(some) <= set(ids):
        return False
    pairs = [
        (theirs[name][ids.index(i)], row) for name, rows in ours.items() for i, row in zip(some, rows, strict=True)
    ]
    return all(a.shape == b.shape and relative_error(a, b) <= _FARTHEST for a, b in pairs)
