"""V20: with something else busy beside a study for part of it, the hogged blocks are flagged, the recommendation stays
right, and a finding says which blocks, when and by what witness (the issue's item 11).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import accel
from accel.analysis.conclusion import Conclusion, StudyRecord
from accel.analysis.reading import conclude
from accel.measurement.trace import Trace
from accel.result import Result, Witness
from tests.synthetic import synthetic_study, usual_variants
from tests.validation.experiment import Row

VIRTUAL = 4
SLOWED = (1.5, 2.5)
"""By how much a hogged run takes longer."""
STUDIES, BUDGET = 2, "150s"
ITEM_S = 0.002
TRUTHS = {"fast": 0.0013, "near": 0.0019, "slow": 0.003}
HOGGED = (2, 3)
"""Blocks (0-based) beside which the hog works."""
LIMIT_S = 900.0

_SPIN = "while True: pass"


def quick() -> list[Row]:
    """Studies of known truth in which two of eight blocks, and in which one side of two blocks, ran beside a hog."""
    both = [_virtual(seed, candidates_only=False) for seed in range(VIRTUAL // 2)]
    one_side = [_virtual(seed, candidates_only=True) for seed in range(VIRTUAL // 2, VIRTUAL)]
    right = sum(_is_right(found, "openvino int8") for found in (*both, *one_side))
    named = sum(_names(found, [b + 1 for b in HOGGED]) for found in (*both, *one_side))
    unflagged = conclude(*_study(VIRTUAL, candidates_only=True, flagged=False))
    shift = unflagged.row("openvino int8").speedup_batch
    kept = one_side[0].row("openvino int8").speedup_batch
    truth = _truth()
    return [
        _row(
            f"{VIRTUAL} studies, two of eight blocks beside a hog",
            "the recommendation is right in all",
            f"right in {right} of {VIRTUAL}",
            right == VIRTUAL,
        ),
        _row(
            f"{VIRTUAL} studies, two of eight blocks beside a hog",
            "a finding names blocks 3–4, when and the witness in all",
            f"named in {named} of {VIRTUAL}",
            named == VIRTUAL,
        ),
        _row(
            "the hog slows one side only: the ratio with and without flags",
            "flagged: within 5 % of the truth; unflagged: farther off",
            f"truth {truth:.2f}, flagged {kept.ratio.value:.2f}, unflagged {shift.ratio.value:.2f}"
            if kept and shift
            else "no comparison",
            kept is not None
            and shift is not None
            and abs(kept.ratio.value / truth - 1) < 0.05 < abs(shift.ratio.value / truth - 1),
        ),
    ]


def full() -> Iterator[Row]:
    """The virtual ones, then real studies of stubs while every processor is kept busy for two blocks."""
    yield from quick()
    for number in range(STUDIES):
        begun = time.perf_counter()
        study, hog = _real(number)
        yield from _judged(number, study, hog, time.perf_counter() - begun)


# --- virtual ---------------------------------------------------------------------------------------------------


def _virtual(seed: int, *, candidates_only: bool) -> Conclusion:
    return conclude(*_study(seed, candidates_only=candidates_only))


def _study(seed: int, *, candidates_only: bool, flagged: bool = True) -> tuple[StudyRecord, list[Result], Path]:
    folder = Path(tempfile.mkdtemp(prefix="accel-hog-"))
    record = synthetic_study(folder, seed=seed, blocks=8, confirmations=0, online=False, measured_s=0.3)
    results = [Result.load(path) for path in sorted((folder / "runs").glob("*.json"))]
    rng = np.random.default_rng(seed)
    hogged = [
        _hogged(r, folder / "runs", rng, flagged=flagged)
        if r.phase == "blocks" and r.block in HOGGED and (r.role == "candidate" or not candidates_only)
        else r
        for r in results
    ]
    return msgspec.structs.replace(record, target="batch"), hogged, folder / "runs"


def _hogged(result: Result, runs: Path, rng: np.random.Generator, *, flagged: bool) -> Result:
    """The same run, slower, with what W3 says of it."""
    trace = Trace.load(runs / str(result.trace))
    factor = rng.uniform(*SLOWED)
    times = ("due", "taken", "started", "finished")
    slower = {name: np.round(getattr(trace, name) * factor).astype(np.int64) for name in times}
    digest = msgspec.structs.replace(trace, **slower).save(runs / str(result.trace))
    said = f"Threads that could have run waited {100 * (factor - 1):.2g} % of their running time."
    busy = Witness(id="W3", value=factor - 1, warn=0.05, unstable=0.25, invalid=None, level="unstable", sentence=said)
    marks: dict[str, Any] = {"validity": "unstable", "witnesses": (busy,)} if flagged else {}
    return msgspec.structs.replace(result, trace_sha256=digest, **marks)


def _truth() -> float:
    original, fast = synthetic_times()
    return original / fast


def synthetic_times() -> tuple[float, float]:
    """Seconds of a batch of 16: the original's and the true winner's."""
    from tests.synthetic import BASELINE

    fast = next(m for m in usual_variants() if m.variant.name == "openvino int8")
    return BASELINE.seconds(16), fast.seconds(16)


def _is_right(found: Conclusion, winner: str) -> bool:
    answers = [a for a in (found.batch, found.online) if a is not None]
    return bool(answers) and all(a.winner == winner for a in answers)


def _names(found: Conclusion, blocks: Sequence[int]) -> bool:
    """True if a finding tells of disturbed blocks, these among them, with a time and a witness."""
    said = [f.what for f in found.findings if "blocks were disturbed by the machine" in f.what]
    if not said or "after the start" not in said[0] or "(W" not in said[0]:
        return False
    return said[0].startswith("All ") or set(blocks) <= _listed(said[0])


def _listed(text: str) -> set[int]:
    """`… (blocks 2–4 and 6), …` as numbers."""
    inside = text[text.index("(block") : text.index(")")].replace("(blocks", "").replace("(block", "")
    spans = [part.split("–") for part in inside.replace(" and ", ",").split(",") if part.strip()]
    return {n for span in spans for n in range(int(span[0]), int(span[-1]) + 1)}


# --- real ------------------------------------------------------------------------------------------------------


class Hog:
    """Keeps every processor busy while the study says that it makes one of the hogged blocks."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        self._busy: list[subprocess.Popen[bytes]] = []
        self._since = 0.0

    def stage(self, text: str) -> None:
        wanted = any(text.startswith(f"block {b + 1} of") for b in HOGGED)
        if wanted and not self._busy:
            self._since = time.time()
            for cpu in sorted(os.sched_getaffinity(0)):
                self._busy.append(subprocess.Popen([sys.executable, "-c", _pinned(cpu)]))
        elif not wanted and self._busy:
            self.stop()

    def stop(self) -> None:
        for process in self._busy:
            process.kill()
            process.wait()
        if self._busy:
            self.spans.append((self._since, time.time()))
        self._busy = []

    def beside(self, result: Result) -> bool:
        """True if the hog worked through most of this run."""
        end = result.created_unix_ns * 1e-9
        begin = end - (result.wall_s or 0.0)
        shared = sum(max(0.0, min(end, b) - max(begin, a)) for a, b in self.spans)
        return shared > 0.5 * max(end - begin, 1e-9)

    def done(self, variant: str, result: Result) -> None:
        """Nothing."""

    def best(self, text: str) -> None:
        """Nothing."""

    def time(self, elapsed_s: float, budget_s: float) -> None:
        """Nothing."""


def _pinned(cpu: int) -> str:
    return f"import os; os.sched_setaffinity(0, {{{cpu}}})\n{_SPIN}"


def original(x: Any) -> Any:
    """The model: works for 2 ms an item and answers with zeros, as the stubs do."""
    import time as clock

    import numpy

    end = clock.perf_counter() + ITEM_S * len(x)
    while clock.perf_counter() < end:
        pass
    return {"y": numpy.zeros((len(x), 4), numpy.float32)}


def _real(number: int) -> tuple[accel.Study, Hog]:
    hog = Hog()
    given = np.random.default_rng(number).normal(size=(256, 16)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="accel-hog-") as place, contextlib.ExitStack() as stack:
        stack.callback(hog.stop)
        folder = Path(tempfile.mkdtemp(prefix="accel-hog-", dir=Path(place).parent))
        study = accel.bench(
            original,
            {"x": given},
            variants=[{"name": n, "backend": {"name": "stub", "item_s": s}} for n, s in TRUTHS.items()],
            target="both",
            slo="p90=20ms",
            batch=[1, 8],
            budget=BUDGET,
            seed=number,
            out=folder / "out",
            progress=hog,
        )
        return study, hog


def _judged(number: int, study: accel.Study, hog: Hog, took: float) -> Iterator[Row]:
    raced = [r for r in study.results if r.phase == "blocks" and r.trace is not None]
    beside = [r for r in raced if hog.beside(r)]
    flagged = sum(r.validity != "valid" for r in beside)
    quiet = [r for r in raced if not hog.beside(r)]
    loud = sum(r.validity != "valid" for r in quiet)
    blocks = sorted({r.block for r in beside if r.block is not None})
    found = study.conclusion
    answers = {a.target: a.winner for a in (found.batch, found.online) if a is not None}
    said = next((f.what for f in found.findings if "disturbed by the machine" in f.what), "nothing")
    name = f"real study {number + 1}, every processor busy during blocks 3–4"
    yield _row(
        name,
        "≥ 90 % of the hogged runs are flagged",
        f"{flagged} of {len(beside)} beside the hog, {loud} of {len(quiet)} elsewhere",
        bool(beside) and flagged >= 0.9 * len(beside),
        kind="real",
        seconds=took,
    )
    yield _row(
        name,
        "the recommendation is `fast` for batch and online",
        f"{answers}",
        set(answers.values()) == {"fast"},
        kind="real",
    )
    yield _row(
        name,
        "a finding names the hogged blocks, when and the witness",
        said,
        bool(blocks) and _names(found, [b + 1 for b in blocks]),
        kind="real",
    )


def _row(what: str, criterion: str, measured: str, passed: bool, *, kind: Any = "virtual", seconds: float = 0.0) -> Row:
    return Row(
        experiment="V20",
        what=what,
        criterion=criterion,
        measured=measured,
        passed=passed,
        kind=kind,
        seconds=round(seconds, 3),
    )
