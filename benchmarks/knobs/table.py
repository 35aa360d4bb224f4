"""Backend x knobs over the recipes: how much faster each is than the recipe as it comes, or why it isn't tried.

    python -m benchmarks.knobs.table prepare [--models digits,minilm] [--longest 300] [--minutes 60]
    python -m benchmarks.knobs.table measure [--models digits,minilm] [--minutes 10] [--waves 1]
    python -m benchmarks.knobs.table collect

`prepare` makes the artefacts and judges what they answer; it measures nothing, so it may run on a busy machine.
`measure` wants a quiet one: it times every knob beside the recipe's baseline (twice: A and A'), in blocks of random
order. Both go on where they were. `collect` writes reports/hardware/knobs-*.json; `measure` does so by itself.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from accel.measurement.cgroup import usable_cores
from accel.recipe import Variant
from benchmarks.batching.rows import Where
from benchmarks.compression.bench import Bench
from benchmarks.compression.rows import Cell, load, write
from benchmarks.compression.sittings import MOST, Sitting, with_runs
from benchmarks.compression.table import Benches, say, sit_all
from benchmarks.knobs import ways
from benchmarks.knobs.rows import FOLDER, Knobs
from benchmarks.subject import place

WAVES = 2
"""Three blocks each: three alone settle nothing beside fifty other comparisons."""


def open_bench(model: str) -> Bench:
    """A model with its cells; everything of it lies in a folder of its own."""
    return Bench(model, place() / "knobs" / Path(model).stem)


def pairs_of(bench: Bench) -> list[tuple[Variant, str]]:
    """Every (variant, label) of a model's table, the recipe's baseline first."""
    record = bench.record
    baseline = next(v for v in record.variants if v.name == record.baseline)
    images = any(len(tensor.shape) == 4 for tensor in record.signature.inputs)
    return ways.pairs(usable_cores(), baseline, images=images)


def prepare(models: Sequence[str], *, longest_s: float, minutes: float = math.inf, again: bool = False) -> int:
    """Every cell of every model; gives how many are ready."""
    end, ready = time.perf_counter() + 60 * minutes, 0
    all_ = Benches(make=open_bench)
    for model in models:
        bench = all_.get(model)
        if bench is None:
            continue
        listed = pairs_of(bench)
        say(f"{model}: {len(bench.refused(listed))} of {len(listed)} are refused")
        for variant, label in listed:
            if time.perf_counter() > end:
                say("the time is up; the same command goes on here")
                return ready
            cell = bench.of(variant, label, longest_s=longest_s, again=again)
            ready += cell.outcome == "ready"
            say(f"{model:10} {variant.name:40} {cell.outcome} {cell.reason[:120]}")
    return ready


def cells_of(bench: Bench) -> list[Cell]:
    """The cells that are kept, the baseline first."""
    return [cell for v, _ in pairs_of(bench) if (cell := load(bench.root, v.name)) is not None]


def sittings(cells: Sequence[Cell], waves: int) -> list[Sitting]:
    """The baseline with a handful of others, until all have sat; and all over again in fresh processes."""
    ready = [c for c in cells if c.outcome == "ready" and not c.failed_runs]
    if not ready or ready[0].technique != ways.BASELINE:
        return []
    size, others = ways.size_of(ready[0].model), ready[1:]
    return [
        Sitting(
            base=ready[0], candidates=tuple(others[i : i + MOST]), telling=True, wave=wave, part=i // MOST, size=size
        )
        for wave in range(waves)
        for i in range(0, len(others), MOST)
    ]


def benches(models: Sequence[str]) -> dict[str, Bench]:
    """Every model that something is prepared of; looking at a new one is no work for a quiet time."""
    all_ = Benches(make=open_bench)
    begun = [m for m in models if (place() / "knobs" / Path(m).stem / "cells").is_dir()]
    return {bench.model: bench for m in begun if (bench := all_.get(m)) is not None}


def measure(models: Sequence[str], *, minutes: float, waves: int, reports: Path) -> list[Sitting]:
    """Time what is prepared, for so long; gives the sittings that the time didn't allow."""
    all_ = benches(models)
    listed = [s for bench in all_.values() for s in sittings(cells_of(bench), waves)]
    left = sit_all(sorted(listed, key=lambda s: s.wave), all_, minutes=minutes)
    collect(all_, reports)
    return left


def collect(all_: dict[str, Bench], reports: Path) -> None:
    """One JSON a model, of all its cells."""
    for model, bench in all_.items():
        record = Knobs(
            model=model,
            random_weights=bench.record.source.random_weights,
            where=Where.here(),
            size=ways.size_of(model),
            cells=tuple(with_runs(cell, bench) for cell in cells_of(bench)),
        )
        say(str(write(record, f"knobs-{model}", reports)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("prepare", "measure", "collect"))
    parser.add_argument("--models", default=",".join(ways.MODELS), help="recipes, separated by commas")
    parser.add_argument("--minutes", type=float, help="measure: 10 by default; prepare: as long as it takes")
    parser.add_argument("--longest", type=float, default=300.0, help="seconds that making one artefact may take")
    parser.add_argument("--waves", type=int, default=WAVES, help="how often everything sits, each time afresh")
    parser.add_argument("--again", action="store_true", help="prepare: try once more what failed")
    parser.add_argument("--reports", type=Path, default=FOLDER, help="folder of the JSON files")
    given = parser.parse_args(arguments)
    models = [m for m in given.models.split(",") if m]
    if given.what == "prepare":
        minutes = math.inf if given.minutes is None else given.minutes
        say(f"{prepare(models, longest_s=given.longest, minutes=minutes, again=given.again)} are ready")
    elif given.what == "measure":
        minutes = 10.0 if given.minutes is None else given.minutes
        measure(models, minutes=minutes, waves=given.waves, reports=given.reports)
    else:
        collect(benches(models), given.reports)
    return 0


if __name__ == "__main__":
    sys.exit(main())
