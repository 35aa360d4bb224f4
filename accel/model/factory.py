"""`file.py:factory` and `package.module:factory`: find them, import them, call them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from accel.errors import InputError, nearest

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_factory(location: str) -> bool:
    """True for the two spellings of a factory.

    >>> is_factory("models/net.py:build"), is_factory("package.net:build"), is_factory("net.onnx")
    (True, True, False)
    """
    where, colon, _ = location.rpartition(":")
    return bool(colon) and (where.endswith(".py") or _DOTTED.fullmatch(location) is not None)


@contextlib.contextmanager
def importable(folders: Sequence[str | Path]) -> Iterator[None]:
    """Put folders first on sys.path, and take them off again."""
    added = [str(folder) for folder in folders]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            with contextlib.suppress(ValueError):
                sys.path.remove(folder)


def call_factory(location: str) -> tuple[Any, Callable[[], Any]]:
    """Import and call a factory without arguments; returns (what it gave, the factory).

    The folder of its file is on sys.path during import and call only, so that nothing else is shadowed later.
    Raises InputError with the reason if it can't be found, imported or called.
    """
    with importable(_folders(location)):
        factory = attribute(location)
        if not callable(factory):
            raise InputError(f"`{location}` must be a function without arguments, but is a {type(factory).__name__}.")
        try:
            return factory(), factory
        except (Exception, SystemExit) as error:
            raise InputError(
                f"The factory `{location}` failed with {_said(error)}. A factory takes no arguments and returns what "
                "it makes."
            ) from error


def attribute(location: str) -> Any:
    """What `file.py:name` or `package.module:name` refers to, imported but not called."""
    where, _, name = location.rpartition(":")
    with importable(_folders(location)):
        found: Any = _import(where)
        for part in name.split("."):
            if not hasattr(found, part):
                known = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
                raise InputError(f"`{where}` has no `{name}`. {nearest(name, known)}")
            found = getattr(found, part)
        return found


def _folders(location: str) -> list[Path]:
    where = location.rpartition(":")[0]
    return [Path(where).resolve().parent] if where.endswith(".py") else [Path.cwd()]


def _import(where: str) -> ModuleType:
    try:
        return _import_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"`{where}` can't be imported: {_said(error)}. Import it in Python to see the whole error."
        ) from error


def _said(error: BaseException) -> str:
    """An error's type and first line, without the full stop."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line[:300]}".rstrip(" .:")


def _import_file(path: Path) -> ModuleType:
    name = f"accel_given_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
