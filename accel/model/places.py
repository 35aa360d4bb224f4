"""Does this path lead to a file that can be read? If not, which one was meant?"""

from __future__ import annotations

import difflib
from pathlib import Path

from accel.errors import InputError


def existing(path: Path, what: str) -> Path:
    """The path itself, if something is there; else InputError with the nearest name in that folder."""
    if path.exists():
        return path
    if not path.parent.is_dir():
        raise InputError(f"{what} `{path}`: there is no folder `{path.parent}`.")
    close = difflib.get_close_matches(path.name, sorted(p.name for p in path.parent.iterdir()), n=1, cutoff=0.6)
    offer = f" Did you mean `{path.parent / close[0]}`?" if close else ""
    raise InputError(f"{what} `{path}`: no such file.{offer}")


def readable_file(path: Path, what: str) -> Path:
    """The path itself, if it is a file with something in it; else InputError."""
    existing(path, what)
    if path.is_dir():
        raise InputError(f"{what} `{path}` is a folder, but must be a file.")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{what} `{path}` is empty (0 bytes). Export or copy it again.")
    except OSError as error:
        raise InputError(f"{what} `{path}` can't be read: {error.strerror}.") from None
    return path


def inside(path: Path, folder: Path) -> bool:
    """True if the path, links followed, lies in the folder."""
    return path.resolve().is_relative_to(folder.resolve())
