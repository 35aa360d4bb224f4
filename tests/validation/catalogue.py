"""Which experiments are there? One module `vNN_name.py` each; the number is its place in the table."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from accel.errors import InputError
from tests.validation.experiment import Row

FOLDER = Path(__file__).parent
PACKAGE = "tests.validation"
_NAME = re.compile(r"v(\d+)_\w+")
LIMIT_S = 1800.0
"""After so long an experiment is ended, unless its module says otherwise by a `LIMIT_S` of its own."""


def modules(folder: Path = FOLDER) -> list[str]:
    """Names of the modules, in the order of their numbers."""
    found = [path.stem for path in folder.glob("v*.py") if _NAME.fullmatch(path.stem)]
    return sorted(found, key=lambda name: (_number(name), name))


def word(module: str) -> str:
    """What an experiment is called in tables.

    >>> word("v03_false_alarms")
    'V3'
    """
    return f"V{_number(module)}"


def chosen(only: Iterable[str], names: list[str]) -> list[str]:
    """Those of `names` that are asked for ("V3", "v03_false_alarms"); InputError for a word that names none."""
    wanted = [w.strip().lower() for w in only if w.strip()]
    for one in wanted:
        if not any(one in (name, word(name).lower()) for name in names):
            raise InputError(f"There is no experiment `{one}`. There are: {', '.join(word(name) for name in names)}.")
    return [name for name in names if not wanted or name in wanted or word(name).lower() in wanted]


def load(name: str, package: str = PACKAGE) -> ModuleType:
    """Import one experiment."""
    return importlib.import_module(f"{package}.{name}" if package else name)


def full_rows(name: str, package: str = PACKAGE) -> Iterator[Row]:
    """The rows of a whole experiment as they are finished; a module without `full` has its quick rows only."""
    module = load(name, package)
    yield from module.full() if hasattr(module, "full") else module.quick()


def limit_s(name: str, package: str = PACKAGE) -> float:
    """How long this experiment may take; one that can't be imported gets as long as any, and its child says why."""
    try:
        return float(getattr(load(name, package), "LIMIT_S", LIMIT_S))
    except Exception:
        return LIMIT_S


def _number(module: str) -> int:
    found = _NAME.fullmatch(module)
    if found is None:
        raise ValueError(f"`{module}` is no name of an experiment")
    return int(found[1])
