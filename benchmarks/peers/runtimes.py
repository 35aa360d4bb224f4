"""accel's winners beside what else there is: OpenVINO's benchmark_app, ONNX Runtime at its defaults, torch.compile.

    python -m benchmarks.peers.runtimes prepare [--models resnet50,bert_base,minilm]
    python -m benchmarks.peers.runtimes measure [--models …] [--minutes 10] [--blocks 6] [--budget 4m]

The throughput winner of an ordinary study of the recipe meets benchmark_app with the hint for throughput on the same
INT8 file, and the others at the same batch size; the latency winner meets the hint for latency, and the others one
request at a time. Everybody reads the same samples; every run has a process of its own, by turns in a new random order
each block. On both sides a batch is put together and its outputs copied inside the timed span. Prepare may run on a
busy machine, measure wants a quiet one; both go on where they were.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.errors import AccelError, VariantError
from accel.plugins import Named
from accel.recipe import Variant, variant_name
from accel.result import Role, write_atomically
from accel.samples import Samples
from accel.units import seconds
from benchmarks.batching.rows import Where
from benchmarks.compression.bench import Bench
from benchmarks.compression.rows import Cell, Run, Timed, load, write
from benchmarks.compression.sittings import Clock
from benchmarks.compression.table import say
from benchmarks.knobs.rows import FOLDER, Contest, Rivals
from benchmarks.race import Race, Side, go_on, of_accel, runs_of
from benchmarks.search.picks import pick_of
from benchmarks.search.rows import Pick
from benchmarks.search.study import finished, studied
from benchmarks.subject import ROOT, place

MODELS = ("resnet50", "bert_base", "minilm")
KIND, BLOCKS, BUDGET = "rivals", 5, "4m"
ACCEL = "accel"
APP, APP_ALONE, APP_SHIPPED = "benchmark_app", "benchmark_app, one item a request", "benchmark_app, copies not counted"
PLAIN, PLAIN_INT8, AUTOTUNE = "onnxruntime, FP32", "onnxruntime, accel's INT8 file", "torch.compile max-autotune"
_SOURCES = {"openvino": ("quantize_static",), "onnxruntime": ("quantize_static",), "plain": (), "eager": ()}
_MOST_ITEMS, _LEAST_BATCHES, _MOST_BYTES = 48, 4, 200_000_000
_SECONDS, _LONGEST_S, _CALLS, _PATIENCE_S = 1.5, 6.0, 8, 240.0
_TARGETS: tuple[Timed, ...] = ("batch", "latency")
_SLOW_BLOCKS = 4
"""torch.compile traces the module anew in every process, which takes longer than all the others together."""
_RIVAL = "benchmarks.peers.rival"


class Rival(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody else's way. what: a word of `benchmarks.peers.rival`; source: whose artefact's file it runs."""

    name: str
    what: str
    source: str
    size: int


def rivals(target: Timed, size: int) -> list[Rival]:
    """Who accel's winner meets."""
    found = [
        Rival(name=APP, what="app-copying", source="openvino", size=size),
        Rival(name=APP_SHIPPED, what="app", source="openvino", size=size),
        Rival(name=PLAIN, what="onnxruntime", source="plain", size=size),
        Rival(name=PLAIN_INT8, what="onnxruntime", source="onnxruntime", size=size),
        Rival(name=AUTOTUNE, what="torch", source="eager", size=size),
    ]
    if target == "batch" and size > 1:
        found.insert(1, Rival(name=APP_ALONE, what="app-copying", source="openvino", size=1))
    return found


def source_variant(source: str) -> Variant:
    """Whose artefact a rival's file is of."""
    backend = Named({"plain": "onnxruntime"}.get(source, source))
    chain = tuple(Named(name) for name in _SOURCES[source])
    return Variant(name=variant_name(chain, backend), backend=backend, compression=chain)


class Meeting:
    """One model: its files, its samples, accel's winners. study: whose; short: as briefly as it goes, for a trial."""

    def __init__(
        self, model: str, *, blocks: int = BLOCKS, budget: str = BUDGET, study: str = KIND, short: bool = False
    ) -> None:
        self.bench = Bench(model, place() / KIND / Path(model).stem)
        self.model, self.blocks, self.budget, self.short = self.bench.model, blocks, budget, short
        self.study = study

    def prepare(self, longest_s: float) -> None:
        """The files that rivals run, and torch's cache of what max-autotune compiles."""
        for source in _SOURCES:
            variant = source_variant(source)
            cell = self.bench.of(variant, source, longest_s=longest_s, again=True)
            say(f"{self.model:10} {variant.name:40} {cell.outcome} {cell.reason[:120]}")
        for size in (1, 8):
            rival = Rival(name=AUTOTUNE, what="torch", source="eager", size=size)
            if self._file(rival) is not None:
                try:
                    self._asked(rival, "latency", 0.1, timeout_s=longest_s)
                    say(f"{self.model:10} {AUTOTUNE}: compiled for batches of {size}")
                except VariantError as error:
                    say(f"{self.model:10} {AUTOTUNE}: {error.reason}")

    def _file(self, rival: Rival) -> Path | None:
        """What a rival opens: a file, or the folder of a stored module; None if there is none."""
        cell = load(self.bench.root, source_variant(rival.source).name)
        if cell is None or cell.outcome != "ready":
            return None
        folder = Path(self.bench.prepared(cell.variant).prepared.folder)
        return folder if rival.what == "torch" else folder / ("model.xml" if "app" in rival.what else "model.onnx")

    def _why_not(self, rival: Rival) -> str:
        cell = load(self.bench.root, source_variant(rival.source).name)
        return "its file isn't prepared" if cell is None else cell.reason

    # --- measuring -------------------------------------------------------------------------------------------------

    def picks(self) -> dict[Timed, Pick]:
        """accel's winners, by target, as the study says."""
        study = finished(self.study, self.model)
        if study is None:
            return {}
        found = {target: pick_of(study.conclusion, target) for target in _TARGETS}
        return {target: pick for target, pick in found.items() if pick is not None}

    def measure(self, clock: Clock) -> None:
        """The study if there is none, then both races, as far as the time goes."""
        if studied(self.study, self.model, seconds(self.budget, "--budget"), clock, say) is None:
            return
        for target, pick in self.picks().items():
            race = self.race(target, pick)
            say(f"{race.name}: {len(race.sides)} sides, {race.blocks} blocks ({clock.left_s:.0f} s left)")
            go_on(race, clock, say)

    def _winner(self, target: Timed, pick: Pick) -> Cell:
        study = finished(self.study, self.model)
        assert study is not None
        variant = study.conclusion.row(pick.variant).variant
        return self.bench.of(
            msgspec.structs.replace(variant, name=f"{target}-{variant.name}"[:120]), ACCEL, longest_s=900.0
        )

    def race(self, target: Timed, pick: Pick) -> Race:
        """accel's winner first, then whoever has a file to run."""
        cell = self._winner(target, pick)
        if cell.outcome != "ready":
            raise VariantError(f"the winner `{pick.variant}` can't be opened: {cell.reason}")
        run_s = self._seconds(cell, pick.size)
        ready = self.bench.prepared(cell.variant)
        own = of_accel(ACCEL, self.bench, ready, target, pick.size, run_s)
        folder = self.bench.root / "races" / f"{target}-{pick.variant}-{pick.size}"[:200]
        able = [rival for rival in rivals(target, pick.size) if self._file(rival) is not None]
        sides = (own, *(self._side(rival, target, run_s, folder) for rival in able))
        return Race(name=f"{self.model}, {target}", folder=folder, sides=sides, blocks=self.blocks)

    def _seconds(self, cell: Cell, size: int) -> float:
        if self.short:
            return 0.1
        return min(max(_SECONDS, _CALLS * size * (cell.item_s or 0.0)), _LONGEST_S)

    def _side(self, rival: Rival, target: Timed, seconds: float, folder: Path) -> Side:
        def go(block: int, role: Role) -> Run:
            told = self._asked(rival, target, seconds, timeout_s=_PATIENCE_S)
            write_atomically(detail_path(folder, rival), msgspec.json.encode(told))
            value = told["rate"] if target == "batch" else told["median_s"]
            return Run(target=target, block=block, role=role, value=value, level="valid", size=rival.size)

        return Side(name=rival.name, go=go, blocks=_SLOW_BLOCKS if rival.what == "torch" else None)

    def _asked(self, rival: Rival, target: Timed, seconds: float, *, timeout_s: float) -> dict[str, Any]:
        """What a rival's process says of its run. Raises VariantError with the last line that it printed."""
        file = self._file(rival)
        assert file is not None
        return asked_of(
            rival.what,
            file,
            self._inputs(rival.size),
            seconds,
            "throughput" if target == "batch" else "latency",
            timeout_s=timeout_s,
            cache=self.bench.root / "inductor",
        )

    def _inputs(self, size: int) -> Path:
        """The evaluation's samples in a fixed random order, in batches of one size, padded as accel pads them."""
        folder = self.bench.root / f"inputs-{size}"
        if (folder / "whole").is_file():
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        samples = Samples.open(self.bench.folder.samples).to_ram()
        ids = np.random.default_rng(0).permutation(np.asarray(self.bench.context.reference_ids, np.int64))
        whole = np.resize(ids, max(size, len(ids) // size * size)).reshape(-1, size)
        written = 0
        for number, chosen in enumerate(whole[: max(_LEAST_BATCHES, _MOST_ITEMS // size)]):
            batch = samples.batch(chosen)
            written += sum(array.nbytes for array in batch.values())
            if number and written > _MOST_BYTES:
                break
            for name, array in batch.items():
                np.save(folder / f"{name}-{number:03d}.npy", array)
        (folder / "whole").touch()
        return folder

    # --- the record ------------------------------------------------------------------------------------------------

    def record(self) -> Rivals:
        """Everything that is known."""
        contests = [self._contest(target, pick) for target, pick in self.picks().items()]
        return Rivals(
            model=self.model,
            random_weights=self.bench.record.source.random_weights,
            where=Where.here(),
            contests=tuple(contests),
        )

    def _contest(self, target: Timed, pick: Pick) -> Contest:
        race, own = self.race(target, pick), self._winner(target, pick)
        ours = msgspec.structs.replace(own, variant=pick.variant, runs=runs_of(race, ACCEL))
        cells = [self._cell(race, rival) for rival in rivals(target, pick.size)]
        return Contest(target=target, size=pick.size, cells=(ours, *cells), details=self._details(race, target, pick))

    def _cell(self, race: Race, rival: Rival) -> Cell:
        source = source_variant(rival.source)
        there = self._file(rival) is not None
        return Cell(
            model=self.model,
            technique=rival.name,
            backend=source.backend.name,
            variant=rival.name,
            outcome="ready" if there else "failed",
            compression=source.compression,
            reason="" if there else self._why_not(rival),
            runs=runs_of(race, rival.name),
        )

    def _details(self, race: Race, target: Timed, pick: Pick) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for rival in rivals(target, pick.size):
            path = detail_path(race.folder, rival)
            if path.is_file():
                told = json.loads(path.read_bytes())
                found[rival.name] = told["detail"] | ({"command": told["command"]} if "command" in told else {})
        run = next(self.bench.folder.runs.glob(f"race-{ACCEL}-{target}-*.json"), None)
        if run is not None:
            effective = json.loads(run.read_bytes())["effective"]
            own = {"precision": effective["precision"], "threads": str(effective["threads"])}
            found[ACCEL] = own | effective["detail"]
        return found


def asked_of(
    what: str, model: Path, inputs: Path, seconds: float, hint: str, *, timeout_s: float, cache: Path | None = None
) -> dict[str, Any]:
    """What a run of `benchmarks.peers.rival` says of itself; cache: where inductor keeps what it compiled.

    Raises VariantError with the last line that it printed.
    """
    command = [sys.executable, "-m", _RIVAL, what, str(model), str(inputs), "--seconds", str(seconds), "--hint", hint]
    env = os.environ | {"OPENVINO_TELEMETRY_DISABLE": "1"}
    env |= {} if cache is None else {"TORCHINDUCTOR_CACHE_DIR": str(cache)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, env=env, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        raise VariantError(f"it took longer than {timeout_s:.0f} s") from None
    lines = [line for line in (done.stderr if done.returncode else done.stdout).splitlines() if line.strip()]
    if done.returncode or not lines:
        raise VariantError(lines[-1].strip()[:300] if lines else f"exit status {done.returncode}")
    told: dict[str, Any] = json.loads(lines[-1])
    return told


def detail_path(folder: Path, rival: Rival) -> Path:
    """Where the last run's settings lie."""
    words = "".join(c if c.isalnum() else "_" for c in rival.name)
    return folder / f"{words}.detail"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("prepare", "measure", "collect"))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--longest", type=float, default=600.0, help="seconds that making one artefact may take")
    parser.add_argument("--budget", default=BUDGET, help="measure: of a study that isn't there yet")
    parser.add_argument(
        "--study",
        choices=(KIND, "search"),
        default=KIND,
        help="whose winners: of a study of its own, or of the search's",
    )
    parser.add_argument("--short", action="store_true", help="measure: tiny times, to try the machinery; no figures")
    parser.add_argument("--reports", type=Path, default=FOLDER)
    given = parser.parse_args(arguments)
    clock = Clock(60 * (given.minutes if given.what == "measure" else 0.0))
    for model in [m for m in given.models.split(",") if m]:
        try:
            meeting = Meeting(model, blocks=given.blocks, budget=given.budget, study=given.study, short=given.short)
            if given.what == "prepare":
                meeting.prepare(given.longest)
                continue
            if given.what == "measure":
                meeting.measure(clock)
            say(str(write(meeting.record(), f"peers-{meeting.model}", given.reports)))
        except AccelError as error:
            say(f"{model}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
