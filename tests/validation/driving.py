"""Runs whole experiments one after another, each in a process of its own with a time limit, and keeps every row.

The child (`python -m tests.validation.driving MODULE PACKAGE FD`) writes one JSON line a row to a pipe of its own, so
that whatever a runtime prints can't be taken for a row.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from tests.validation import catalogue, table
from tests.validation.experiment import Row
from tests.validation.record import Experiment, Record, begun

Say = Callable[[str], None]
JSON, MARKDOWN = "validation.json", "VALIDATION.md"


def run_all(
    names: list[str], record: Record, out: Path, *, say: Say, order: list[str], package: str = catalogue.PACKAGE
) -> Record:
    """Run these experiments and save after every row; `order` is the order of the table."""
    for name in names:
        say(f"{catalogue.word(name)} ({name})")
        for state in run_one(name, package=package):
            record = record.with_(state, order)
            save(record, out)
            if state.rows and state.state == "running":
                say(_line(state.rows[-1]))
        if state.state != "done":
            say(f"  {state.state}: {state.reason}")
    return record


def save(record: Record, out: Path) -> None:
    """Write the record and the table that is made from it."""
    record.save(out / JSON)
    (out / MARKDOWN).write_text(table.markdown(record), encoding="utf-8")


def _line(row: Row) -> str:
    mark = "not run" if row.not_run else "yes" if row.passed else "NO"
    return f"  {mark:7s} {row.what}: {row.measured or row.not_run} ({row.criterion})"


def run_one(name: str, *, package: str = catalogue.PACKAGE) -> Iterator[Experiment]:
    """The experiment as it grows, row by row; the last one says how it ended."""
    state, start = begun(name), time.monotonic()
    limit_s = catalogue.limit_s(name, package)
    with tempfile.TemporaryFile() as log, _started(name, package, log) as (child, rows):
        timer = threading.Timer(limit_s, _end, (child,))
        timer.daemon = True
        timer.start()
        last = start
        for line in rows:
            row, now = msgspec.json.decode(line, type=Row), time.monotonic()
            row = row if row.seconds else msgspec.structs.replace(row, seconds=round(now - last, 3))
            last = now
            state = msgspec.structs.replace(state, rows=(*state.rows, row), seconds=round(now - start, 3))
            yield state
        code = child.wait()
        over = time.monotonic() - start >= limit_s
        timer.cancel()
        yield _ended(state, code, limit_s if over else None, time.monotonic() - start, log)


@contextlib.contextmanager
def _started(name: str, package: str, log: IO[bytes]) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """The child and its rows; however this ends, the child ends with it."""
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.validation.driving", name, package, str(writing)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(writing,),
        start_new_session=True,
    )
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as rows:
            yield child, rows
    finally:
        _end(child)
        child.wait()


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child and whatever it started; its group is its own."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)


def _ended(state: Experiment, code: int, over_s: float | None, seconds: float, log: IO[bytes]) -> Experiment:
    changes = {"seconds": round(seconds, 3)}
    if over_s is not None:
        return msgspec.structs.replace(state, state="timed out", reason=f"longer than {over_s:g} s", **changes)
    if code:
        log.seek(0)
        tail = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        return msgspec.structs.replace(
            state, state="crashed", reason=tail[-1].strip() if tail else f"exit {code}", **changes
        )
    if not state.rows:
        return msgspec.structs.replace(state, state="crashed", reason="it gave no rows", **changes)
    return msgspec.structs.replace(state, state="done", **changes)


def _child(name: str, package: str, fd: int) -> None:
    with os.fdopen(fd, "wb") as pipe:
        os.set_inheritable(pipe.fileno(), False)
        for row in catalogue.full_rows(name, package):
            pipe.write(msgspec.json.encode(row) + b"\n")
            pipe.flush()


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2], int(sys.argv[3]))
