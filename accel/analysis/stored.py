"""Read back what a study keeps beside its results: a folder of JSON files, one value each."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from accel.errors import InputError

_Value = TypeVar("_Value")


def every(folder: Path, kind: type[_Value], what: str) -> tuple[_Value, ...]:
    """Every value in a folder by the name of its file; () if there is no such folder.

    Raises InputError with the path of a file that can't be read. what: what a file is called in that sentence.
    """
    return tuple(_one(path, kind, what) for path in sorted(folder.glob("*.json")))


def _one(path: Path, kind: type[_Value], what: str) -> _Value:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"The {what} `{path}` can't be read: {error}. Delete it and use --resume.") from None
