"""Plants a bug: a module of accel is imported with a few words of its source replaced, in this process only.

Also in the processes it starts: they find the `sitecustomize` of the folder `planted`, which plants the same bug.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

import msgspec

VARIABLE = "ACCEL_TESTS_PLANTED_BUG"
_SITE = Path(__file__).parent / "planted"


class Edit(msgspec.Struct, frozen=True):
    """In `module`, `old` (which stands there exactly once) becomes `new`."""

    module: str
    old: str
    new: str


class Bug(msgspec.Struct, frozen=True, kw_only=True):
    """A deliberate mistake and the experiments that have to notice it.

    rule: what it breaks or removes, as measurement rules or witnesses are called ("11", "W3").
    red: words of experiments ("V6"; "V14:many" asks that function instead of `quick`); one of them is enough.
    """

    name: str
    what: str
    rule: str
    edits: tuple[Edit, ...]
    red: tuple[str, ...]


class StaleError(Exception):
    """The words that a bug replaces don't stand in the source any more (or more than once)."""


def edited(source: str, edits: Sequence[Edit]) -> str:
    """The source with every edit made; StaleError if one doesn't fit.

    >>> edited("a = 1", [Edit("m", "1", "2")])
    'a = 2'
    """
    for edit in edits:
        if source.count(edit.old) != 1:
            raise StaleError(f"`{edit.old}` stands {source.count(edit.old)} times in {edit.module}, not once")
        source = source.replace(edit.old, edit.new)
    return source


def plant(edits: Sequence[Edit]) -> None:
    """Let every later import of the edited modules, here and in children, get the bug. Nothing may be imported yet."""
    loaded = {e.module for e in edits} & set(sys.modules)
    if loaded:
        raise RuntimeError(f"already imported: {', '.join(sorted(loaded))}")
    sys.meta_path.insert(0, _Finder(edits))
    os.environ[VARIABLE] = msgspec.json.encode(list(edits)).decode()
    repository = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_SITE), repository, os.environ.get("PYTHONPATH", "")])


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, edits: Sequence[Edit]) -> None:
        self._edits = edits

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        edits = [e for e in self._edits if e.module == fullname]
        if not edits:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin, edits)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, edits: Sequence[Edit]) -> None:
        super().__init__(fullname, path)
        self._edits = edits

    def get_code(self, fullname: str) -> CodeType:
        source = edited(Path(self.path).read_text("utf-8"), self._edits)
        return compile(source, self.path, "exec", dont_inherit=True)
