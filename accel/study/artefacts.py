"""Which artefact belongs to which variant of a study: a small index, so that winners are found again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from accel.result import write_atomically
from accel.study.prepare import Prepared


def remember(study: Path, prepared: Prepared) -> None:
    """Note where a variant's artefact lies."""
    folder = study / "artefacts"
    folder.mkdir(exist_ok=True)
    write_atomically(folder / f"{prepared.variant.name}.json", msgspec.json.encode(prepared))


def find_prepared(study: Path, name: str) -> Prepared | None:
    """The artefact of a variant, or None if it is gone."""
    try:
        data = (study / "artefacts" / f"{name}.json").read_bytes()
        prepared = msgspec.json.decode(data, type=Prepared)
    except (OSError, msgspec.DecodeError):
        return None
    return prepared if Path(prepared.folder).is_dir() else None
