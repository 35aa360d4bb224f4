"""V18: would anybody notice? Every rule of the harness is broken on purpose, and an experiment has to turn red.

The bugs stand in `bugs/`, as words of the source that are replaced. Each is planted in a process of its own, which
then runs the quick size of the experiments that have to notice: at least one row fails, or the experiment itself.
A bug that nobody notices is a rule that earns nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tests.validation import bugs, catalogue
from tests.validation.experiment import Row
from tests.validation.planting import Bug, StaleError, edited, plant

LIMIT_S = 2400.0
_ONE_S = 150
QUICK = (
    "latency from dispatch",
    "plan reset after lateness",
    "undrained dropped by the loop",
    "interpolated percentile",
    "no device sync",
    "inherited peak",
    "sequential order",
    "pooled values",
    "significance stopping",
    "float32 times",
)
"""The ten of the specification, planted in `make test`; all there are in `make validate`."""


class Noticed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one planted bug: which experiment noticed, and what it said."""

    bug: str
    by: str = ""
    said: str = ""
    seconds: float = 0.0


def quick() -> list[Row]:
    """Every bug still fits the source, and a few are planted."""
    named = [b for b in bugs.ALL if b.name in QUICK]
    return [_fitting(), *(_row(b, n) for b, n in zip(named, _noticed(named), strict=True))]


def full() -> Iterator[Row]:
    """Every bug, one after another; first the untouched code, which has to be green."""
    yield _fitting()
    untouched = Bug(name="untouched code", what="", rule="", edits=(), red=_all_named())
    for found in _noticed([untouched]):
        yield Row(
            experiment="V18",
            what="the untouched code",
            criterion="no experiment that is named here turns red",
            measured=f"{found.by}: {found.said}" if found.by else "all green",
            passed=not found.by,
            kind="virtual",
        )
    for bug in bugs.ALL:
        for found in _noticed([bug]):
            yield _row(bug, found)


def _fitting() -> Row:
    stale = []
    for bug in bugs.ALL:
        try:
            for module in {e.module for e in bug.edits}:
                path = Path(__file__).parents[2] / (module.replace(".", "/") + ".py")
                source = path if path.exists() else path.with_suffix("") / "__init__.py"
                edited(source.read_text("utf-8"), [e for e in bug.edits if e.module == module])
        except (StaleError, OSError) as error:
            stale.append(f"{bug.name}: {error}")
    return Row(
        experiment="V18",
        what=f"{len(bugs.ALL)} planted bugs fit the source",
        criterion="all",
        measured="; ".join(stale) or "all",
        passed=not stale,
        kind="virtual",
    )


def _row(bug: Bug, found: Noticed) -> Row:
    return Row(
        experiment="V18",
        what=f"planted: {bug.what} (rule {bug.rule})",
        criterion=f"{' or '.join(bug.red)} turns red",
        measured=f"{found.by}: {found.said}"
        if found.by
        else f"nobody noticed{': ' + found.said if found.said else ''}",
        passed=bool(found.by),
        kind="virtual",
        seconds=found.seconds,
    )


def _all_named() -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for bug in bugs.ALL for word in bug.red))


def _noticed(planted: Sequence[Bug]) -> list[Noticed]:
    """One process for all of them, which forks for each before it has imported anything of accel."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "noticed.jsonl"
        task = msgspec.json.encode(list(planted)).decode()
        done = subprocess.run(
            [sys.executable, "-m", "tests.validation.v18_mutations", str(out)],
            input=task.encode(),
            capture_output=True,
            cwd=Path(__file__).parents[2],
        )
        lines = out.read_bytes().splitlines() if out.exists() else []
        found = {n.bug: n for n in (msgspec.json.decode(line, type=Noticed) for line in lines)}
    tail = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return [found.get(b.name, Noticed(bug=b.name, said=tail)) for b in planted]


def _main(out: Path) -> None:
    import numpy  # noqa: F401  imported once, before the forks
    import scipy.stats  # noqa: F401

    for bug in msgspec.json.decode(sys.stdin.buffer.read(), type=list[Bug]):
        start = time.monotonic()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                _try(bug, out, start)
                code = 0
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(code)
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() - start > _ONE_S:
                os.kill(pid, 9)
                _tell(out, Noticed(bug=bug.name, by=bug.red[0], said=f"hangs: no end after {_ONE_S} s"))
            time.sleep(0.02)


def _try(bug: Bug, out: Path, start: float) -> None:
    """Plant it and let the named experiments look, until one notices."""
    plant(bug.edits)
    missing = []
    for word in bug.red:
        experiment, _, function = word.partition(":")
        names = [n for n in catalogue.modules() if catalogue.word(n) == experiment]
        missing += [] if names else [word]
        for name in names:
            said = _look(name, function or "quick")
            if said:
                _tell(out, Noticed(bug=bug.name, by=word, said=said, seconds=round(time.monotonic() - start, 1)))
                return
    said = f"{', '.join(missing)} isn't there" if missing else ""
    _tell(out, Noticed(bug=bug.name, said=said, seconds=round(time.monotonic() - start, 1)))


def _look(name: str, function: str) -> str:
    try:
        failed = [r for r in getattr(catalogue.load(name), function)() if not (r.passed or r.not_run)]
    except StaleError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return f"{failed[0].what}: {failed[0].measured} (must: {failed[0].criterion})"[:300] if failed else ""


def _tell(out: Path, found: Noticed) -> None:
    with out.open("ab") as file:
        file.write(msgspec.json.encode(found) + b"\n")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
