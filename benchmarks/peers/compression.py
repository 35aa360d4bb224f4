"""accel's static INT8 beside `onnxruntime.quantization` and `nncf` as their documentation calls them, in one run.

    python -m benchmarks.peers.compression prepare [--models resnet50,minilm]
    python -m benchmarks.peers.compression measure [--blocks 9] [--minutes 15]

Everybody gets the same float32 file and the same calibration samples, and makes a file; the same engine runs all files
of a runtime, each in a fresh process, by turns in a new random order every block. Outputs are judged as a study judges
them. neural-compressor wants NumPy 1, so it lives in an environment of its own, whose Python $NEURAL_COMPRESSOR names
(`make compression` makes one); without it its row says so. Prepare may run on a busy machine, measure wants a quiet
one; both go on where they were.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.compilation._artefact import Artefact
from accel.errors import AccelError, VariantError
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Quality, SetUp, write_atomically
from accel.samples import Samples
from accel.study.cache import folder_bytes
from accel.study.judging import Judge
from accel.study.prepare import Prepared
from benchmarks.batching.rows import Where
from benchmarks.compression import rows
from benchmarks.compression.bench import Bench
from benchmarks.compression.rows import Cell
from benchmarks.compression.sittings import BLOCKS, Clock, Sitting, is_done, sit, spend, with_runs
from benchmarks.compression.table import say
from benchmarks.compression.ways import Way
from benchmarks.peers.make import rows as rows_of
from benchmarks.subject import Ready, place

MODELS = ("resnet50", "minilm")
ACCEL, FLOAT = "accel", "float32"
ABSENT = "neural-compressor"
_ABSENT_WORD = "neural_compressor"
_BY_IT = Path(__file__).with_name("by_neural_compressor.py")
PEERS = {
    "onnxruntime": {"onnxruntime.quantization": "onnxruntime", "onnxruntime.quantization, U8S8": "advised"},
    "openvino": {},
}
"""By runtime: the tools beside NNCF, by what they are called on the page."""
TRANSFORMERS = ("minilm", "bert_base")
_FILES = {"onnxruntime": "model.onnx", "openvino": "model.xml"}
_LONGEST_S = 900.0


def tools(model: str, runtime: str) -> dict[str, str]:
    """Which peers make a file for a runtime: name on the page -> word of benchmarks.peers.make."""
    found = {**PEERS[runtime], "nncf": "nncf"}
    if runtime == "onnxruntime" and neural_compressor() is not None:
        found |= {ABSENT: _ABSENT_WORD}
    return found | ({"nncf, model_type=TRANSFORMER": "transformer"} if model in TRANSFORMERS else {})


def neural_compressor() -> str | None:
    """The Python in whose environment neural-compressor is; None if nobody named one."""
    named = os.environ.get("NEURAL_COMPRESSOR")
    return named if named and Path(named).is_file() else None


class Contest:
    """One model: accel's file, the float32 file and the peers' files of each runtime."""

    def __init__(self, model: str) -> None:
        self.bench = Bench(model, place() / "peers" / Path(model).stem)
        self.model = self.bench.model
        self.settings: dict[str, str] = {}

    def prepare(self, *, longest_s: float = _LONGEST_S) -> None:
        """Every cell that isn't there."""
        for runtime in _FILES:
            for technique, compression in ((FLOAT, ()), (ACCEL, (Named("quantize_static"),))):
                own = self.bench.cell(
                    Way(technique=technique, compression=compression), runtime, longest_s=longest_s, again=True
                )
                say(f"{self.model} {runtime} {technique}: {own.outcome} {own.reason}")
            for name, word in tools(self.model, runtime).items():
                cell = self._peer(name, word, runtime, longest_s)
                say(f"{self.model} {runtime} {name}: {cell.outcome} {cell.reason}")

    def _peer(self, name: str, word: str, runtime: str, longest_s: float) -> Cell:
        variant = Variant(
            name=f"{word}-by-peer+{runtime}",
            # What isn't quantized runs as the runtime's own default says, as with a user of the tool.
            backend=Named(runtime, {"precision": "auto"} if runtime == "openvino" else {}),
            compression=(Named("quantize_static"),),
        )
        there = rows.load(self.bench.root, variant.name)
        base = rows.load(self.bench.root, runtime)
        if there is not None and there.outcome == "ready" and base is not None and there.key == base.key:
            return there
        common: dict[str, Any] = {"model": self.model, "technique": name, "backend": runtime, "variant": variant.name}
        try:
            if base is None or base.outcome != "ready":
                raise VariantError("there is no float32 file to quantize")
            ready = self._ready(variant, word, longest_s)
            cell = Cell(
                **common,
                outcome="ready",
                key=base.key,
                quality=ready.quality,
                artefact_bytes=ready.prepared.artefact_bytes,
                notes=ready.prepared.notes,
                item_s=base.item_s,
            )
        except AccelError as error:
            cell = Cell(**common, outcome="failed", reason=str(error)[:400])
        rows.keep(self.bench.root, cell)
        return cell

    def _ready(self, variant: Variant, word: str, longest_s: float) -> Ready:
        """Let the tool make its file, put it where accel's engine opens it, and judge what it answers."""
        runtime = variant.backend.name
        plain = Path(self.bench.prepared(runtime).prepared.folder)
        folder = self.bench.root / "peers" / variant.name
        shutil.rmtree(folder, ignore_errors=True)
        make(self._command(word, plain / _FILES[runtime], folder), longest_s)
        told = json.loads((folder / "called.json").read_text())
        artefact = msgspec.structs.replace(Artefact.load(plain), stored="int8")
        artefact.save(folder)
        prepared = Prepared(
            variant=variant,
            folder=str(folder),
            form="openvino" if runtime == "openvino" else "onnx",
            set_up=SetUp(),
            artefact_bytes=folder_bytes(folder),
            notes=(f"{told['called']} ({told['version']})",),
        )
        ready = self.bench._compared(prepared)
        path = self.bench.folder.reference / f"{variant.name}.json"
        write_atomically(path, msgspec.json.encode(ready))
        return ready

    def _command(self, word: str, source: Path, folder: Path) -> list[str]:
        python = neural_compressor()
        if word != _ABSENT_WORD or python is None:
            paths = [str(p) for p in (source, self.bench.folder.samples, folder)]
            return [sys.executable, "-m", "benchmarks.peers.make", word, *paths]
        samples = Samples.open(self.bench.folder.samples)
        listed = enumerate(rows_of(samples, tuple(samples.inputs)))
        calibration = self.bench.root / "peers" / "calibration.npz"
        calibration.parent.mkdir(parents=True, exist_ok=True)
        np.savez(calibration, **{f"{at}/{name}": value for at, row in listed for name, value in row.items()})
        return [python, str(_BY_IT), str(source), str(calibration), str(folder)]

    def cells(self, runtime: str) -> list[Cell]:
        """Float32 first, then accel, then the peers, as far as they are kept."""
        names = [runtime, f"quantize_static+{runtime}"]
        names += [f"{word}-by-peer+{runtime}" for word in tools(self.model, runtime).values()]
        return [cell for name in names if (cell := rows.load(self.bench.root, name)) is not None]

    def sittings(self, blocks: int) -> list[Sitting]:
        """All files of a runtime together, as often as needed."""
        found = []
        for wave in range(-(-blocks // BLOCKS)):
            for runtime in _FILES:
                ready = [c for c in self.cells(runtime) if c.outcome == "ready"]
                if len(ready) > 1 and ready[0].technique == FLOAT:
                    found.append(Sitting(base=ready[0], candidates=tuple(ready[1:]), telling=True, wave=wave, part=0))
        return found

    def sit(self, sitting: Sitting) -> None:
        """Every run in a process of its own."""
        readies = {c.variant: self.bench.prepared(c.variant) for c in sitting.cells}
        for variant, reason in sit(sitting, self.bench, readies, fresh=True).items():
            say(f"  {variant} dropped out: {reason}")

    def record(self) -> rows.Peers:
        """Everything that is known, with the tool that isn't installed as a row that says so."""
        cells = [with_runs(c, self.bench) for runtime in _FILES for c in self.cells(runtime)]
        return rows.Peers(
            model=self.model,
            random_weights=self.bench.record.source.random_weights,
            where=Where.here(),
            settings={f"{c.technique} for {c.backend}": c.notes[0] for c in cells if c.technique in _peer_names()},
            cells=(*cells, *absent(self.model)),
            beside=self._beside(cells),
        )

    def _beside(self, cells: Sequence[Cell]) -> dict[str, Quality]:
        """accel's outputs judged with each peer's as the reference: the pairs of samples tell more than two values."""
        found: dict[str, Quality] = {}
        if self.bench.record.source.random_weights:
            return found
        for cell in cells:
            own = next((c for c in cells if c.technique == ACCEL and c.backend == cell.backend), None)
            if cell.technique in _peer_names() and cell.outcome == "ready" and own is not None:
                judge = Judge(self.bench.folder, self.bench.record, self.bench.context)
                judge._reference = self.bench.folder.reference / f"{cell.variant}.npz"
                outputs = self.bench.folder.reference / f"{own.variant}.npz"
                found[cell.variant] = judge.score(self.bench.prepared(own.variant).prepared.variant, outputs).quality
        return found


def _peer_names() -> set[str]:
    return {name for model in MODELS for runtime in _FILES for name in tools(model, runtime)}


def absent(model: str) -> tuple[Cell, ...]:
    """A row for neural-compressor where it is not compared: why."""
    if neural_compressor() is not None:
        return ()
    return (
        Cell(
            model=model,
            technique=ABSENT,
            backend="onnxruntime",
            variant=ABSENT,
            outcome="skipped",
            reason="no environment that has it is named",
            next_step="Set NEURAL_COMPRESSOR to the Python of an environment with neural-compressor==2.6.",
        ),
    )


def make(command: Sequence[str], longest_s: float) -> None:
    """Run a tool; raises VariantError with the last line it printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=longest_s, check=False)
    except subprocess.TimeoutExpired:
        raise VariantError(f"it took longer than {longest_s:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
        raise VariantError(lines[-1].strip())


def measure(models: Sequence[str], *, blocks: int, minutes: float, reports: Path) -> None:
    """Time what is prepared and write the records."""
    contests = {c.model: c for c in map(Contest, models)}
    listed = [s for c in contests.values() for s in c.sittings(blocks)]
    left = spend(
        sorted(listed, key=lambda s: s.wave),
        Clock(60 * minutes),
        done=lambda s: is_done(s, contests[s.base.model].bench),
        go=lambda s: contests[s.base.model].sit(s),
        said=say,
    )
    for sitting in left:
        say(f"not measured, for want of time: {sitting}")
    for model, contest in contests.items():
        say(str(rows.write(contest.record(), f"peers-{model}", reports)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("prepare", "measure"))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--reports", type=Path, default=rows.FOLDER)
    given = parser.parse_args(arguments)
    models = [m for m in given.models.split(",") if m]
    if given.what == "prepare":
        for model in models:
            Contest(model).prepare()
    else:
        measure(models, blocks=given.blocks, minutes=given.minutes, reports=given.reports)
    return 0


if __name__ == "__main__":
    sys.exit(main())
