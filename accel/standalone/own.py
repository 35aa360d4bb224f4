"""A function of the user's own in a technique's field, such as `by` of `fine_tune`, on its way into a child."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accel.errors import InputError
from accel.model import pickles

_LOADER = '''"""Loads a function that this very run stored beside this file; its hash tells that it is the same."""

from pathlib import Path

from accel.model.pickles import restore

{name} = restore(Path(__file__).with_suffix(".pkl"), {sha256!r}, {roots!r})
'''


def with_files(techniques: Any, folder: Path) -> Any:
    """`techniques` with each function in a dict's field put into a file of its own in `folder`, as `file.py:function`.

    Raises InputError if a function can't be handed to another process.
    """
    if isinstance(techniques, dict):
        return {key: _file(value, key, folder) if callable(value) else value for key, value in techniques.items()}
    if isinstance(techniques, list | tuple):
        return [with_files(one, folder) for one in techniques]
    return techniques


def _file(function: Callable[..., Any], field: str, folder: Path) -> str:
    number = len(list(folder.glob("own_*.py"))) if folder.is_dir() else 0
    path = folder / f"own_{number}.py"
    try:
        sha256, roots = pickles.store(function, path.with_suffix(".pkl"))
    except Exception as error:  # an object's own pickling may raise anything
        raise InputError(
            f"The function given as `{field}` can't be handed to another process ({type(error).__name__}: {error}). "
            "Put it into a file and give `file.py:function`."
        ) from None
    called = getattr(function, "__name__", "")
    name = called if called.isidentifier() and not keyword.iskeyword(called) else "function"
    path.write_text(_LOADER.format(name=name, sha256=sha256, roots=roots), "utf-8")
    return f"{path}:{name}"
