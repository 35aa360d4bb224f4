"""A study that is killed, at any moment and again and again, goes on with --resume and ends as if it had not been."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import accel
from accel.errors import InputError
from accel.measurement.trace import Trace
from accel.result import Result
from accel.study.decisions import Decisions
from accel.study.folder import StudyFolder
from tests import small_models
from tests.study.processes import children_of

ROOT = Path(__file__).parents[2]
TIMES = "warmup_s=0.05, warmup_iterations=2, screen_s=0.15, tune_s=0.1, measure_s=0.2"

KILL = "os.kill(os.getpid(), signal.SIGKILL)"
PLANTED = {
    "before the lock": "StudyFolder.lock = lambda self: {kill}",
    "before study.json": "StudyFolder.write_record = lambda self, record: {kill}",
    "while the reference is written": "Live.answer = nth(Live.answer, 2)",
    "before the reference is noted": "Session._write_context = nth(Session._write_context, 1)",
    "between a trace and its result": "Result.save = nth(Result.save, 3)",
    "between two runs of screening": "Funnel.add = nth(Funnel.add, 1)",
    "when the finalists are settled": "Decisions.save = nth(Decisions.save, 1)",
    "within the first block": "Result.save = nth(Result.save, 2)",
    "while the winner is copied": "winner.write_winner = lambda *a: {kill}",
}
SCRIPT = """
import os, signal, sys
import msgspec
from accel.result import Result
from accel.study import profiles, winner
from accel.study.decisions import Decisions
from accel.study.folder import StudyFolder
from accel.study.funnel import Funnel
from accel.study.live import Live
from accel.study.session import Session

def nth(function, n):
    calls = []
    def wrapped(*a, **k):
        calls.append(0)
        if len(calls) == n:
            {kill}
        return function(*a, **k)
    return wrapped

brief = msgspec.structs.replace(profiles.PROFILES["quick"], blocks={blocks}, confirmations=1, {times})
profiles.PROFILES["quick"] = brief
{planted}
from accel.cli.main import main
sys.exit(main())
"""


class Killable:
    """One study as a user starts it, on a network so small that a whole one takes seconds."""

    def __init__(self, folder: Path, *, blocks: int = 2, budget: str = "3m") -> None:
        self.budget = budget
        model = small_models.cnn(folder)
        self.samples = folder / "samples.npz"
        np.savez(self.samples, **small_models.items(model.signature, 80))
        self.model, self.out, self.blocks = model.as_form("onnx"), folder / "out", blocks
        self.env = os.environ | {"ACCEL_CACHE": str(folder / "cache")}

    def start(self, planted: str = "", *, resume: bool = True) -> subprocess.Popen[str]:
        code = SCRIPT.format(kill=KILL, times=TIMES, blocks=self.blocks, planted=planted.format(kill=KILL))
        words = ["bench", self.model, "--samples", self.samples, "--out", self.out, "--budget", self.budget]
        words += ["--target", "batch", "--backend", "openvino", "--batch", "1", "--batch", "8"]
        words += ["--resume"] if resume else []
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=self.env,
        )

    def finish(self) -> accel.Study:
        """One attempt that nobody disturbs."""
        process = self.start()
        text = process.communicate(timeout=120)[0]
        assert process.returncode == 0, text
        return accel.open_study(self.out)

    def committed(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in (self.out / "runs").glob("*.json")}


@pytest.fixture
def killable(tmp_path: Path) -> Killable:
    return Killable(tmp_path)


def nothing_holds(out: Path) -> None:
    """No process is left and the lock is free."""
    assert children_of(out) == []
    if (out / ".lock").exists():
        with (out / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_whole(study: accel.Study, *, blocks: int, confirmations: int = 1) -> None:
    """Every planned run is there, each with the trace it vouches for."""
    results = {r.run_id: r for r in study.results}
    for path in (study.folder / "runs").glob("*.json"):
        result = Result.load(path)
        assert result.run_id == path.stem
        trace = study.folder / "runs" / str(result.trace)
        assert hashlib.sha256(trace.read_bytes()).hexdigest() == result.trace_sha256
        assert len(Trace.load(trace)) > 0
    decided = Decisions.load(study.folder)
    assert decided.blocks is not None
    names = [e.name for e in decided.blocks]
    # Settings that aren't better get no more than their rounds; which are tried depends on who was fastest.
    tried = set(decided.knobs or {}) - set(names)
    screened = [v.name for v in study.record.variants if v.name not in tried]
    planned = {f"screening-{name}-{t}" for name in screened for t in ("latency", "batch")}
    base = study.record.baseline
    assert names[0] == base
    for block in range(blocks):
        for who in (base, f"repeat-{base}", *names[1:]):
            planned |= {f"blocks-{block}-{who}-{t}" for t in ("latency", "batch")}
    for pair in range(confirmations):
        planned |= {f"confirmation-{pair}-{e.name}-batch" for e in decided.confirming or ()}
    planned |= {f"tuning-{n}-batch-{s}" for n in names if n not in decided.derived for s in (1, 8)}
    assert planned <= set(results)
    # On a busy machine disturbed blocks and confirmations are made again; which sizes several instances are tried at
    # depends on what was measured; the winner is looked at closer, under load and step by step, at the end.
    others = ("look-", "load-", "steps-", *(f"tuning-{name}-batch-" for name in decided.derived))
    others += tuple(f"tuning-{v.name}-round-" for v in study.record.variants)
    others += tuple(f"screening-{name}-" for name in tried)
    others += tuple(f"screening-{v.name}-runoff-" for v in study.record.variants)
    made = range(confirmations, 2 * confirmations)
    others += tuple(f"confirmation-{pair}-" for pair in made)
    more = [r.run_id for i, r in results.items() if i not in planned and r.block not in decided.repeats]
    assert [run_id for run_id in more if not run_id.startswith(others)] == []
    assert all(r.status == "ok" for r in results.values())
    assert study.record.finished_unix_ns is not None
    with study.best("batch").load() as model:
        assert model({"x": np.zeros((3, 3, 16, 16), np.float32)})["y"].shape == (3, 5)


def test_killed_ten_times_at_random_moments(killable: Killable) -> None:
    rng = random.Random(20)
    seen: dict[str, bytes] = {}
    spent = 0.0
    for attempt in range(10):
        process = killable.start(resume=attempt > 0)
        try:
            process.wait(rng.uniform(0.3, 4.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        text = process.communicate()[0]
        assert process.returncode in (-signal.SIGKILL, 0), text
        nothing_holds(killable.out)
        now = killable.committed()
        assert seen.items() <= now.items(), "a committed run is never made again"
        assert StudyFolder(killable.out).spent_s() >= spent
        seen, spent = now, StudyFolder(killable.out).spent_s()
    study = killable.finish()
    assert seen.items() <= killable.committed().items()
    assert not study.record.not_bought
    is_whole(study, blocks=2, confirmations=1)
    nothing_holds(killable.out)


def test_killed_at_every_awkward_moment(killable: Killable) -> None:
    for i, (moment, planted) in enumerate(PLANTED.items()):
        process = killable.start(planted, resume=i > 0)
        text = process.communicate(timeout=120)[0]
        assert process.returncode == -signal.SIGKILL, (moment, text)
        nothing_holds(killable.out)
    is_whole(killable.finish(), blocks=2)


def test_a_study_whose_time_is_up_finishes_what_it_began_within_its_grace(tmp_path: Path) -> None:
    """Half a block is half a comparison; a tenth of the budget is there for it, and nothing new is begun."""
    killable = Killable(tmp_path, blocks=6, budget="30m")
    planted = (
        "add = Funnel.add\n"
        "def stop(self, result):\n"
        "    add(self, result)\n"
        "    if result.run_id.startswith('blocks-1-'):\n"
        "        {kill}\n"
        "Funnel.add = stop"
    )
    process = killable.start(planted, resume=False)
    text = process.communicate(timeout=120)[0]
    assert process.returncode == -signal.SIGKILL, text
    StudyFolder(killable.out).write_spent(10_000.0)
    study = killable.finish()
    is_whole(study, blocks=2, confirmations=0)
    assert study.record.elapsed_s is not None
    assert 10_000 < study.record.elapsed_s < 10_180
    assert any(text.startswith("4 of 6 blocks") for text in study.record.not_bought)
    before = killable.committed()

    shutil.rmtree(tmp_path / "cache")
    shutil.rmtree(study.folder / "winner")
    again = killable.finish()
    assert killable.committed() == before, "nothing is measured a second time"
    is_whole(again, blocks=2, confirmations=0)
    assert again.record.not_bought == study.record.not_bought


def test_a_resumed_study_stays_the_one_it_was(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    killable = Killable(tmp_path)
    process = killable.start("Session._reference = lambda *a: {kill}", resume=False)
    process.communicate(timeout=60)
    assert folder.record_path.exists()
    other = small_models.mlp(tmp_path)
    with pytest.raises(InputError, match="begun with the name `cnn` and can't go on with `mlp`"):
        accel.bench(other.as_form("onnx"), out=folder.root, resume=True)
    with pytest.raises(InputError, match="begun with the target `batch`"):
        accel.bench(killable.model, out=folder.root, resume=True, target="online")
    with pytest.raises(InputError, match="begun with the profile `quick`"):
        accel.bench(killable.model, out=folder.root, resume=True, profile="shared")
    assert folder.record().budget_s == 180.0
    assert msgspec.json.decode((folder.model / "context.json").read_bytes())["sizes"] == [1, 8]
