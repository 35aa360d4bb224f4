"""Live objects on their way into a child: stored by value where needed, checked by hash before they are read."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import pickletools
import sys
import sysconfig
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from accel.errors import InputError
from accel.model.factory import importable


def dumps(given: object) -> tuple[bytes, tuple[str, ...]]:
    """Pickle an object; classes and functions of `__main__` and of given files go by value.

    Returns the bytes and the folders that must be on sys.path to import the modules it refers to by name (those that
    are neither installed nor of the standard library). Raises whatever the object's own pickling raises.
    """
    import cloudpickle

    own = [m for name, m in list(sys.modules.items()) if name.startswith("accel_given_") and m is not None]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        buffer = io.BytesIO()
        cloudpickle.Pickler(buffer).dump(given)
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)
    return buffer.getvalue(), _roots(buffer.getvalue())


def _roots(data: bytes) -> tuple[str, ...]:
    """Folders of the modules named in a pickle that no other process would find."""
    words = {str(arg) for _, arg, _ in pickletools.genops(data) if isinstance(arg, str)}
    names = {part for word in words for part in word.split(" ")[:1]}
    found = {root for name in names if (root := _root(sys.modules.get(name))) is not None}
    return tuple(sorted(found))


def _root(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    if module is None or not file or module.__name__.partition(".")[0] in ("__main__", "__mp_main__", "accel"):
        return None
    path = Path(file).resolve()
    installed = {Path(p).resolve() for p in sysconfig.get_paths().values()} | {Path(sys.prefix).resolve()}
    if any(path.is_relative_to(folder) for folder in installed) or "site-packages" in path.parts:
        return None
    depth = module.__name__.count(".") + (path.name == "__init__.py")
    return str(path.parents[depth])


def store(given: object, path: Path) -> tuple[str, tuple[str, ...]]:
    """Write a pickle that only this user can read; returns (sha256, folders for sys.path)."""
    data, roots = dumps(given)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    part.replace(path)
    return hashlib.sha256(data).hexdigest(), roots


def restore(path: Path, sha256: str | None, roots: tuple[str, ...]) -> Any:
    """Read what `store` wrote. Raises InputError if the file isn't the one that was written."""
    data = path.read_bytes()
    if sha256 is None or hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(f"`{path}` isn't the object that was stored there (its hash differs), so it isn't loaded.")
    with importable(roots), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*isinstance\(treespec", category=FutureWarning)  # torch's own
        return pickle.loads(data)  # noqa: S301  # our own file: the hash was handed over apart from it


def roots_of(module: ModuleType | None) -> tuple[str, ...]:
    """The folder a module was imported from, if no other process would find it."""
    root = _root(module)
    return (root,) if root else ()
