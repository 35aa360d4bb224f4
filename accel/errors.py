"""What can go wrong, as one tree.

AccelError                    shown as one sentence, never as a traceback
├── InputError        exit 2  something the user gave is wrong
│   ├── NoStudy               a folder holds no study; names one below it
│   └── MissingLibrary        an optional package is not installed; says which and how to get it
├── GateFailed        exit 1  a gate or a guard the user asked for failed
├── NothingMeasured   exit 3  no variant could be measured
└── VariantError              one variant failed; becomes a row, the study goes on

A message names the thing, the rule, the value and the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class AccelError(Exception):
    """Base of everything accel raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 2


class InputError(AccelError):
    """Something the user gave is wrong."""


class NoStudy(InputError):
    """A folder that should hold a study doesn't; the newest study below it is named, if there is one."""

    def __init__(self, folder: Path) -> None:
        found = max(folder.glob("*/study.json"), key=lambda path: path.stat().st_mtime, default=None)
        step = "Name a folder that `accel bench` wrote." if found is None else f"Did you mean `{found.parent}`?"
        super().__init__(f"`{folder}` holds no study: there is no study.json in it. {step}")


class MissingLibrary(InputError):
    """An optional package is missing.

    >>> print(MissingLibrary("timm", "The model"))
    The model needs the package `timm`, which is not installed. Install it with: pip install timm
    """

    def __init__(self, package: str, what: str, *, extra: str | None = None, line: str | None = None) -> None:
        line = line or (f'pip install "accel-bench[{extra}]"' if extra else f"pip install {package}")
        super().__init__(f"{what} needs the package `{package}`, which is not installed. Install it with: {line}")
        self.package = package
        self.install = line


class GateFailed(AccelError):
    """A gate or a guard that the user asked for failed."""

    exit_code = 1


class NothingMeasured(AccelError):
    """Not one variant could be measured."""

    exit_code = 3


class VariantError(AccelError):
    """One variant can't be built or run; `next_step` says what to do about it, if anything."""

    def __init__(self, reason: str, next_step: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_step = next_step


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that offers the nearest known words, for a misspelt name.

    >>> nearest("openvno", ["openvino", "onnxruntime"])
    'Did you mean `openvino`?'
    """
    choices = sorted(known)
    if not choices:
        return "There are none."
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if close:
        return f"Did you mean `{close[0]}`?"
    return "Known: " + ", ".join(f"`{c}`" for c in choices) + "."
