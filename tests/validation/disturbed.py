"""Disturbs a stub in a measure child for real: a process on its core, a quota, a disk to wait for; the rows of V12."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import psutil

from accel.measurement import cgroup
from accel.measurement.snapshot import snapshot
from accel.plugins import Named
from accel.result import Result, Witness
from accel.study.folder import StudyFolder
from accel.study.live import Live, Turn
from accel.study.profiles import profile
from accel.study.standin import stand_in
from tests.validation import v16_truth
from tests.validation.engines import Reading
from tests.validation.experiment import Row

RUNS, SECONDS = 20, 1.0
MOST_WRONG = 1
FILE_MB = 64
CORE = 0
_HOG = "while True: pass"


def contention(folder: StudyFolder, runs: int = RUNS, seconds: float = SECONDS) -> Iterator[Row]:
    """Runs with and without a process beside them on the same core, by turns."""
    found: dict[str, list[Result]] = {"quiet": [], "hogged": []}
    began = time.perf_counter()
    with _stub(folder) as live:
        _pin(live, CORE)
        for i in range(runs):
            for kind, beside in (("quiet", contextlib.nullcontext), ("hogged", _hog)):
                with beside():
                    found[kind].append(_run(live, f"{kind}-{i}", seconds))
    seconds_each = (time.perf_counter() - began) / 2
    spread = {k: [_value(r, "W3") for r in rs] for k, rs in found.items()}
    flagged = {k: sum(_level(r, "W3") == "unstable" for r in rs) for k, rs in found.items()}
    switches = {k: [_value(r, "W4") for r in rs] for k, rs in found.items()}
    canaries = {k: float(np.median([s for r in rs for s in r.canary_s or ()])) for k, rs in found.items()}
    yield _real(
        f"W3 beside a process on the stub's core, {runs} runs of {seconds:g} s",
        f"unstable in >= {runs - MOST_WRONG}",
        f"{flagged['hogged']} unstable; W3 {min(spread['hogged']):.0%} to {max(spread['hogged']):.0%}",
        flagged["hogged"] >= runs - MOST_WRONG,
        seconds_each,
    )
    yield _real(
        f"W3 with nothing beside it, {runs} runs of {seconds:g} s by turns with those",
        f"not unstable in >= {runs - MOST_WRONG}",
        f"{flagged['quiet']} unstable; W3 {min(spread['quiet']):.1%} to {max(spread['quiet']):.1%}; "
        f"for the record: W4 {np.median(switches['quiet']):.3g}/s quiet, {np.median(switches['hogged']):.3g}/s hogged, "
        f"canary {canaries['hogged'] / canaries['quiet'] - 1:+.1%} hogged",
        flagged["quiet"] <= MOST_WRONG,
        seconds_each,
    )


def quota(folder: StudyFolder, runs: int = RUNS, seconds: float = SECONDS) -> Row:
    """Runs in a control group that may use half a core."""
    what = f"W2 under a CPU quota of 50 %, {runs} runs of {seconds:g} s"
    began = time.perf_counter()
    found: list[Result] = []
    try:
        with _stub(folder) as live, _half_a_core(_pid(live)):
            found = [_run(live, f"quota-{i}", seconds) for i in range(runs)]
    except OSError as error:
        reason = f"no control group can be made here ({type(error).__name__})"
        return _real(what, f"unstable in {runs}", "", True, 0.0, not_run=reason)
    flagged = sum(_level(r, "W2") == "unstable" for r in found)
    return _real(
        what,
        f"unstable in {runs}",
        f"{flagged} unstable; W2 {min(_value(r, 'W2') for r in found):.0%} of the periods at least",
        flagged == runs,
        time.perf_counter() - began,
    )


def from_disk(folder: StudyFolder, runs: int = 5, seconds: float = SECONDS) -> Row:
    """An engine that reads a file from the disk for each answer, so that nothing runs while it waits."""
    what = f"W5: an engine that waits for the disk, {runs} runs of {seconds:g} s"
    if snapshot().stall_us is None:
        return _real(what, "unstable in all", "", True, 0.0, not_run="this kernel doesn't tell its stalls")
    began = time.perf_counter()
    path = folder.root / "large"
    path.write_bytes(os.urandom(FILE_MB << 20))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    with v16_truth.live(folder, "reading", Reading(str(path))) as live:
        found = [_run(live, f"disk-{i}", seconds) for i in range(runs)]
    stalls = [_value(r, "W5") for r in found]
    flagged = sum("unstable" in (_level(r, "W5"), _level(r, "W5F")) for r in found)
    return _real(
        what,
        "unstable in all",
        f"{flagged} unstable; W5 {min(stalls):.1%} to {max(stalls):.1%}",
        flagged == runs,
        time.perf_counter() - began,
    )


def _stub(folder: StudyFolder) -> Live:
    return Live(stand_in(folder, "stub", item_s=0.002), folder, profile("quick"), seed=1, tag="v12")


def _run(live: Live, name: str, seconds: float) -> Result:
    turn = Turn(
        run_id=name,
        phase="measure",
        target="latency",
        scenario=Named("single_stream"),
        batching=Named("single"),
        duration_s=seconds,
        trial=0,
        warmup_s=0.2,
    )
    return live.run(turn, reference=None, check_limit=1e-3, common=lambda fields: Result(study_id="v12", **fields))


def _pid(live: Live) -> int:
    (child,) = [c for c in psutil.Process().children() if "accel.measurement.worker" in " ".join(c.cmdline())]
    return int(child.pid)


def _pin(live: Live, core: int) -> None:
    psutil.Process(_pid(live)).cpu_affinity([core])


@contextlib.contextmanager
def _hog() -> Iterator[None]:
    """A process that never rests, on the stub's core."""
    hog = subprocess.Popen([sys.executable, "-c", _HOG])
    try:
        psutil.Process(hog.pid).cpu_affinity([CORE])
        yield
    finally:
        hog.kill()
        hog.wait()


@contextlib.contextmanager
def _half_a_core(pid: int) -> Iterator[None]:
    """A new control group with a quota of 50 % and `pid` in it, removed again. Raises OSError if that isn't allowed."""
    parent = next(cgroup.folders(cgroup.ROOT, "cpu"), None)
    if parent is None:
        raise FileNotFoundError("no control group for the processor")
    group = parent / f"accel-v12-{os.getpid()}"
    group.mkdir()
    try:
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text("50000 100000")
        else:
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text("50000")
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with contextlib.suppress(OSError):
            for left in (group / "cgroup.procs").read_text().split():
                (parent / "cgroup.procs").write_text(left)
        with contextlib.suppress(OSError):
            group.rmdir()


def _found(result: Result, name: str) -> Witness | None:
    return next((w for w in result.witnesses if w.id == name), None)


def _value(result: Result, name: str) -> float:
    found = _found(result, name)
    return float("nan") if found is None else found.value


def _level(result: Result, name: str) -> str:
    found = _found(result, name)
    return "missing" if found is None else found.level


def _real(what: str, criterion: str, measured: str, passed: bool, seconds: float, *, not_run: str = "") -> Row:
    return Row(
        experiment="V12",
        what=what,
        criterion=criterion,
        measured=measured,
        passed=passed,
        kind="real",
        seconds=seconds,
        not_run=not_run,
    )
