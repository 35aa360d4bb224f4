"""Which processes work for a study: its children's working folder lies in the study's own."""

from __future__ import annotations

import time
from pathlib import Path

import psutil


def children_of(folder: Path, within_s: float = 5.0) -> list[str]:
    """Command lines of what still lives in `folder` after a moment of grace; [] as soon as there is nothing."""
    deadline = time.monotonic() + within_s
    while (found := _now(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _now(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and Path(process.cwd()).is_relative_to(folder):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
