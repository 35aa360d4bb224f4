"""A fitted estimator in a .skops file: a zip that names the type of each part, seen before any of them loads."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

from accel.errors import InputError, MissingLibrary

_SHOWN = 6


def check_skops(path: Path) -> None:
    """Raise InputError unless the file is a zip with skops' schema in it; loads nothing and imports no skops."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("schema.json") as file:
            if not file.read(64).lstrip().startswith(b"{"):
                raise ValueError("the schema is no JSON object")
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, RuntimeError):  # encrypted: RuntimeError
        raise InputError(
            f"Model `{path}` is no .skops file, or it was cut off. Write it with skops.io.dump(estimator, path)."
        ) from None


def load_skops(path: Path, *, trusted: bool) -> tuple[Any, tuple[str, ...]]:
    """(the object, notes). Loads only types that skops trusts, unless the user trusts the file (`trusted`).

    Raises InputError with the unknown types. Trees are among them: scikit-learn doesn't check the node numbers in one,
    so that a forged file could read foreign memory (scikit-learn#34558).
    """
    try:
        import skops.io as skops
    except ImportError:
        raise MissingLibrary("skops", "a .skops model", extra="sklearn") from None
    try:
        unknown = sorted(skops.get_untrusted_types(file=path))
        if unknown and not trusted:
            raise InputError(_refusal(path, unknown))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            return skops.load(path, trusted=unknown), _versions(said)
    except InputError:
        raise
    except Exception as error:  # skops raises whatever the types in the file raise
        line = (str(error).splitlines() or [""])[0][:200]
        raise InputError(f"Model `{path}` can't be loaded by skops ({type(error).__name__}: {line}).") from None


def _refusal(path: Path, unknown: list[str]) -> str:
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    trees = " (skops trusts no trees, since a forged one could read foreign memory)" if _only_trees(unknown) else ""
    return (
        f"Model `{path}` holds types that aren't loaded from a file you haven't vouched for: "
        f"{', '.join(f'`{name}`' for name in unknown[:_SHOWN])}{more}{trees}. If you know who made it, allow it with "
        "--trust-file (trust_file=True): loading it may then run anything as you."
    )


def _only_trees(unknown: list[str]) -> bool:
    return {name.rpartition(".")[2] for name in unknown} <= {"Tree", "TreePredictor"}


def _versions(said: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """What scikit-learn warns of where a file was written by another version of it."""
    found: set[str] = set()
    for warned in said:
        message: Any = warned.message
        if type(message).__name__ == "InconsistentVersionWarning":
            found.add(
                f"The file was written by scikit-learn {message.original_sklearn_version} and is read by "
                f"{message.current_sklearn_version}, so its answers may differ."
            )
    return tuple(sorted(found))
