"""With half of the processor taken away: accel's defaults beside runtimes left to themselves, which don't see it.

    python -m benchmarks.hardware.quota prepare [--models minilm,resnet50]
    python -m benchmarks.hardware.quota measure [--models …] [--minutes 20] [--blocks 5] [--cores 1,0.5]
    python -m benchmarks.hardware.quota collect

Each run is a process of its own in a control group with that quota (an affinity to as many processors where groups
can't be made); accel's side and the runtime left to itself take turns in a random order, accel's twice in each block.
`prepare` may run on a busy machine, `measure` wants a quiet one; both go on where they were.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.errors import AccelError, VariantError
from accel.measurement import cgroup
from accel.plugins import Named
from accel.recipe import Variant, variant_name
from accel.result import Role, write_atomically
from accel.samples import Samples
from benchmarks.batching.rows import Where
from benchmarks.compression.bench import Bench
from benchmarks.compression.rows import load, write
from benchmarks.compression.sittings import Clock
from benchmarks.compression.table import say
from benchmarks.hardware.limits import Limit, limited
from benchmarks.hardware.rows import RUNTIMES, SIZE, Limited, Pair, Quota, Under
from benchmarks.knobs.rows import FOLDER
from benchmarks.race import Race, Side, go_on, run_path
from benchmarks.subject import ROOT, place

MODELS = ("minilm", "resnet50")
BLOCKS, SECONDS = 5, 2.0
_ITEMS = 32
_PATIENCE_S = 300.0
_SIDES = ("accel", "own")


class Half:
    """One model: its files, its samples, its runs by limit."""

    def __init__(self, model: str, *, blocks: int = BLOCKS, seconds: float = SECONDS) -> None:
        self.bench = Bench(model, place() / "quota" / Path(model).stem)
        self.blocks, self.seconds = blocks, seconds

    def prepare(self, longest_s: float) -> None:
        """An FP32 artefact a runtime."""
        for runtime in RUNTIMES:
            cell = self.bench.of(_variant(runtime), runtime, longest_s=longest_s, again=True)
            say(f"{self.bench.model:10} {runtime:12} {cell.outcome} {cell.reason[:120]}")

    def _folder(self, runtime: str) -> Path | None:
        cell = load(self.bench.root, _variant(runtime).name)
        if cell is None or cell.outcome != "ready":
            return None
        return Path(self.bench.prepared(cell.variant).prepared.folder)

    def measure(self, cores: float, clock: Clock) -> None:
        """Block after block of all runtimes, so that whoever is cut has some of each."""
        with limited(cores) as limit:
            for blocks in range(1, self.blocks + 1):
                for race in self._races(limit, blocks):
                    go_on(race, clock, say)

    def _races(self, limit: Limit, blocks: int) -> Iterator[Race]:
        for runtime in RUNTIMES:
            folder = self._folder(runtime)
            if folder is not None:
                kept = self._kept(limit.name, runtime)
                kept.mkdir(parents=True, exist_ok=True)
                write_atomically(kept.parent / "limit.json", msgspec.json.encode(limit))
                sides = tuple(self._side(side, limit, runtime, folder, kept) for side in _SIDES)
                yield Race(name=f"{self.bench.model}, {runtime}", folder=kept, sides=sides, blocks=blocks)

    def _kept(self, limit: str, runtime: str) -> Path:
        return self.bench.root / "limits" / limit / runtime

    def _side(self, side: str, limit: Limit, runtime: str, folder: Path, kept: Path) -> Side:
        def go(block: int, role: Role) -> Under:
            told = asked(limit, side, runtime, folder, (self._inputs(1), self._inputs(SIZE)), self.seconds)
            write_atomically(kept / f"{side}.detail", msgspec.json.encode(told["detail"]))
            one = told["one"]
            return Under(
                target="batch",
                block=block,
                role=role,
                value=told["several"]["rate"],
                level="valid",
                size=SIZE,
                one_rate=one["rate"],
                one_p50_s=one["p50_s"],
                one_p99_s=one["p99_s"],
                cpu_s=told["cpu_s"],
                held=told["held"],
                periods=told["periods"],
            )

        return Side(name=side, go=go)

    def _inputs(self, size: int) -> Path:
        """Batches of the evaluation's samples in a fixed random order."""
        folder = self.bench.root / f"inputs-{size}"
        if not (folder / "whole").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            samples = Samples.open(self.bench.folder.samples).to_ram()
            ids = np.random.default_rng(0).permutation(np.asarray(self.bench.context.reference_ids, np.int64))
            for number, chosen in enumerate(np.resize(ids, _ITEMS).reshape(-1, size)):
                for name, array in samples.batch(chosen).items():
                    np.save(folder / f"{name}-{number:03d}.npy", array)
            (folder / "whole").touch()
        return folder

    def record(self) -> Quota:
        """Everything that is known."""
        folders = sorted(path.parent for path in (self.bench.root / "limits").glob("*/limit.json"))
        return Quota(
            model=self.bench.model,
            random_weights=self.bench.record.source.random_weights,
            where=Where.here(),
            limits=tuple(self._limited(folder) for folder in folders),
        )

    def _limited(self, folder: Path) -> Limited:
        limit = msgspec.json.decode((folder / "limit.json").read_bytes(), type=Limit)
        pairs = tuple(pair for runtime in RUNTIMES if (pair := self._pair(folder / runtime)) is not None)
        says = next((p.settings["accel"].get("accel says", "") for p in pairs if "accel" in p.settings), "")
        return Limited(name=limit.name, words=limit.words, says=says, pairs=pairs)

    def _pair(self, folder: Path) -> Pair | None:
        ours = runs_of(folder, "accel", ("baseline", "repeat"), self.blocks)
        theirs = runs_of(folder, "own", ("candidate",), self.blocks)
        settings = {side: json.loads(p.read_bytes()) for side in _SIDES if (p := folder / f"{side}.detail").is_file()}
        return Pair(runtime=folder.name, ours=ours, theirs=theirs, settings=settings) if ours and theirs else None


def _variant(runtime: str) -> Variant:
    return Variant(name=variant_name((), Named(runtime)), backend=Named(runtime))


def runs_of(folder: Path, side: str, roles: Sequence[Role], blocks: int) -> tuple[Under, ...]:
    """The runs of a side that are there."""
    paths = [run_path(folder, side, block, role) for block in range(blocks) for role in roles]
    return tuple(msgspec.json.decode(path.read_bytes(), type=Under) for path in paths if path.is_file())


def asked(
    limit: Limit, side: str, runtime: str, folder: Path, inputs: tuple[Path, Path], seconds: float
) -> dict[str, Any]:
    """What a run says of itself. Raises VariantError with the last line that it printed."""
    told = msgspec.json.encode(limit).decode()
    command = [sys.executable, "-m", "benchmarks.hardware.alone", told, side, runtime, str(folder)]
    command += [*map(str, inputs), "--seconds", str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, cwd=ROOT)
    except subprocess.TimeoutExpired:
        raise VariantError(f"it took longer than {_PATIENCE_S:.0f} s") from None
    lines = [line for line in (done.stderr if done.returncode else done.stdout).splitlines() if line.strip()]
    if done.returncode or not lines:
        raise VariantError(lines[-1].strip()[:300] if lines else f"exit status {done.returncode}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def usual_cores() -> tuple[float, ...]:
    """Half of the machine, and half of one core."""
    return tuple(dict.fromkeys((cgroup.usable_cores() / 2, 0.5)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("prepare", "measure", "collect"))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each of a run's two loops")
    parser.add_argument("--cores", default=",".join(f"{c:g}" for c in usual_cores()), help="quotas, in cores")
    parser.add_argument("--longest", type=float, default=600.0, help="seconds that making one artefact may take")
    parser.add_argument("--reports", type=Path, default=FOLDER)
    given = parser.parse_args(arguments)
    clock = Clock(60 * given.minutes)
    for model in [m for m in given.models.split(",") if m]:
        try:
            half = Half(model, blocks=given.blocks, seconds=given.seconds)
            if given.what == "prepare":
                half.prepare(given.longest)
                continue
            for cores in map(float, given.cores.split(",") if given.what == "measure" else ()):
                say(f"{model}: {cores:g} cores ({clock.left_s:.0f} s left)")
                half.measure(cores, clock)
            say(str(write(half.record(), f"quota-{half.bench.model}", given.reports)))
        except AccelError as error:
            say(f"{model}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
