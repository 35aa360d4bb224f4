"""Paths as whoever wrote them meant them: from a recipe's own folder, or from where the program was started."""

from __future__ import annotations

import re
from pathlib import Path

from accel.plugins import Named


def located(text: str, folder: Path) -> str:
    """A path (or `file.py:name`) seen from `folder`; words that aren't paths stay as they are.

    >>> located("demo", Path("/r")), located("../m.onnx", Path("/r/s")), located("pkg.mod:make", Path("/r"))
    ('demo', '/r/m.onnx', 'pkg.mod:make')
    """
    file, colon, name = text.partition(".py:")
    if colon:
        return f"{_absolute(file + '.py', folder)}:{name}"
    if ":" in text or re.fullmatch(r"\w+", text):
        return str(_absolute(text, folder)) if ":" not in text and (folder / text).exists() else text
    return str(_absolute(text, folder))


def with_files(named: Named, folder: Path) -> Named:
    """A plug-in whose fields of the form `file.py:name` are seen from `folder`, since a child works in another one.

    >>> with_files(Named("fine_tune", {"by": "tune.py:run", "seconds": 5}), Path("/r")).fields
    {'by': '/r/tune.py:run', 'seconds': 5}
    """
    own = {k: located(v, folder) for k, v in named.fields.items() if isinstance(v, str) and ".py:" in v}
    return Named(named.name, named.fields | own)


def _absolute(text: str, folder: Path) -> Path:
    joined = folder.absolute() / Path(text).expanduser()
    parts: list[str] = []
    for part in joined.parts:
        parts = parts[:-1] if part == ".." and len(parts) > 1 else [*parts, part]
    return Path(*parts)
