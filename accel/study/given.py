"""What the user handed over beside the model (samples, labels, a metric), as plain data that a child can read back.

Paths and factories stay what they are, so that only a child loads them. Live objects are stored in a file of this
study's own, whose hash travels with the command; no other pickle is ever loaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import msgspec

from accel.errors import InputError

METRICS = ("accuracy", "top5", "cosine")
_MOST_ITEMS = 100_000


class Given(msgspec.Struct, frozen=True):
    """kind "none", "text" (a path, a factory or a name) or "object" (stored at `text`, with its sha256)."""

    kind: Literal["none", "text", "object"]
    text: str = ""
    sha256: str = ""
    sys_path: tuple[str, ...] = ()

    @property
    def is_own(self) -> bool:
        """True for a function or a factory of the user's, which runs in a child only."""
        return self.kind == "object" or ":" in self.text


def give(value: Any, folder: Path, name: str) -> Given:
    """Make `value` plain. Raises InputError if a live object can't be stored."""
    if value is None:
        return Given("none")
    if isinstance(value, str | os.PathLike):
        return Given("text", absolute(os.fspath(value)))
    if not isinstance(value, Mapping) and not hasattr(value, "shape") and not callable(value):
        value = list(islice(value, _MOST_ITEMS)) if isinstance(value, Iterable) else value
    import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(value)
    except Exception as error:
        raise InputError(
            f"The {name} can't be handed to a child process ({type(error).__name__}: {error}). "
            f"Give it as `file.py:{name}`, a function that returns it."
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pkl"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    import sys

    return Given("object", str(path), hashlib.sha256(data).hexdigest(), tuple(p for p in sys.path if p))


def absolute(text: str) -> str:
    """A path or `file.py:name` from here, since a child works in another folder; other words stay as they are.

    >>> absolute("accuracy"), absolute("package.module:name")
    ('accuracy', 'package.module:name')
    """
    where, colon, name = text.rpartition(":")
    if colon and where.endswith(".py"):
        return f"{Path(where).expanduser().absolute()}:{name}"
    path = Path(text).expanduser()
    return str(path.absolute()) if path.exists() or path.suffix in (".npz", ".npy") or os.sep in text else text


def take(given: Given) -> Any:
    """Read a value back; a stored object only if its bytes are the ones that were stored."""
    if given.kind == "none":
        return None
    if given.kind == "text":
        return given.text
    data = Path(given.text).read_bytes()
    if hashlib.sha256(data).hexdigest() != given.sha256:
        raise InputError(f"`{given.text}` isn't the file this study stored. Start the study again with another --out.")
    import cloudpickle

    from accel.model.factory import importable

    with importable(given.sys_path):
        return cloudpickle.loads(data)


def metric_of(given: Given) -> Any:
    """The metric as the guard takes it: a built-in's name, a function, or None."""
    value = take(given)
    if isinstance(value, str) and ":" in value:
        from accel.model.factory import attribute

        value = attribute(value)
    if value is not None and not isinstance(value, str) and not callable(value):
        raise InputError(
            f"The metric `{given.text}` must be a function of (outputs, labels), but is a {type(value).__name__}."
        )
    return value


def metric_name(given: Given) -> str | None:
    """What a metric is called in tables; the function's own name where it is one."""
    if given.kind == "none":
        return None
    if given.kind == "text":
        return given.text.rpartition(":")[2]
    value = take(given)
    return getattr(value, "__name__", type(value).__name__)
