"""A Python of its own, as a child is."""

from __future__ import annotations

import subprocess
import sys


def run_code(code: str) -> str:
    return _run(["-c", code])


def run_file(*words: str) -> str:
    return _run(list(words))


def _run(words: list[str]) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
