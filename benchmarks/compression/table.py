"""Technique x backend over the recipes: what each compression does to speed, size and outputs, or why it isn't tried.

    python -m benchmarks.compression.table prepare [--models digits,minilm] [--longest 240] [--minutes 60]
    python -m benchmarks.compression.table measure [--models digits,minilm] [--minutes 25]
    python -m benchmarks.compression.table collect

`prepare` makes the artefacts (through accel's own cache), compares their outputs with the reference's and judges them;
it measures nothing, so it may run on a busy machine. `measure` wants a quiet one: it times what is prepared, the most
telling pairs first, each beside the same backend's FP32 form, until the time is up, and says what it left out. Both go
on where they were. `collect` writes reports/compression/table-*.json, which `python -m benchmarks.compression.page`
reads; `measure` does so by itself. Everything else lies in ACCEL_BENCH_OUT.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from accel.errors import AccelError, VariantError
from benchmarks.batching.rows import Where
from benchmarks.compression import rows
from benchmarks.compression.bench import Bench, root_of
from benchmarks.compression.rows import Cell
from benchmarks.compression.sittings import Clock, Sitting, is_done, settle, sit, sittings, spend
from benchmarks.compression.ways import BACKENDS, MODELS, pairs, tuning_s, variant_of, ways


def say(text: str) -> None:
    print(text, flush=True)


class Benches:
    """Models, each looked at when it is first asked for, so that the first is at work while others wait.

    refusing: write the cells of what isn't tried, which nothing has to be made for. make: looks at a model.
    """

    def __init__(self, *, refusing: bool = False, make: Callable[[str], Bench] = Bench) -> None:
        self._refusing, self._make = refusing, make
        self._found: dict[str, Bench | None] = {}

    def get(self, model: str) -> Bench | None:
        """None for a model that can't be looked at; why is said once."""
        if model not in self._found:
            try:
                self._found[model] = bench = self._make(model)
                if self._refusing:
                    say(f"{model}: {len(bench.refusals())} pairs are refused")
            except AccelError as error:
                say(f"{model}: {error}")
                self._found[model] = None
        return self._found[model]


def benches(models: Sequence[str]) -> dict[str, Bench]:
    """Every model that something is prepared of, by its name; looking at a new one is no work for a quiet time."""
    all_ = Benches()
    begun = [model for model in models if (root_of(model) / "cells").is_dir()]
    return {bench.model: bench for model in begun if (bench := all_.get(model)) is not None}


def prepare(
    models: Sequence[str],
    *,
    longest_s: float,
    minutes: float = math.inf,
    again: bool = False,
    stale: bool = True,
    backends: Sequence[str] = BACKENDS,
    tuning: bool = True,
) -> int:
    """Every cell, the telling ones of all models first. Gives how many are ready.

    tuning: False leaves out what trains, which a busy machine gets nowhere with in the time it has.
    """
    end, ready = time.perf_counter() + 60 * minutes, 0
    all_ = Benches(refusing=True)
    for telling in (True, False):
        for model, way, backend in pairs(tuple(models), telling=telling):
            if backend not in backends or (tuning_s(way) and not tuning):
                continue
            if time.perf_counter() > end:
                say("the time is up; the same command goes on here")
                return ready
            bench = all_.get(model)
            if bench is None:
                continue
            begun = time.perf_counter()
            most_s = longest_s + tuning_s(way)
            cell = bench.cell(way, backend, longest_s=most_s, again=again, stale=stale)
            ready += cell.outcome == "ready"
            took = time.perf_counter() - begun
            say(f"{model:10} {backend:12} {way.technique:44} {took:6.1f} s  {_told(cell)}")
    return ready


def _told(cell: Cell) -> str:
    quality = cell.quality.outcome if cell.quality is not None else ""
    return f"{cell.outcome} {quality} {cell.reason[:160]}".strip()


def cells_of(bench: Bench) -> list[Cell]:
    """The cells that are kept, in the table's order."""
    found = []
    for backend in BACKENDS:
        for way in ways(bench.model):
            cell = rows.load(bench.root, variant_of(way, backend).name)
            if cell is not None:
                found.append(cell)
    return found


def measure(models: Sequence[str], *, minutes: float, reports: Path) -> list[Sitting]:
    """Time what is prepared, for so long; gives the sittings that the time didn't allow."""
    all_ = benches(models)
    listed = list(sittings({name: cells_of(bench) for name, bench in all_.items()}))
    left = sit_all(listed, all_, minutes=minutes)
    collect(all_, reports)
    return left


def sit_all(listed: Sequence[Sitting], all_: dict[str, Bench], *, minutes: float) -> list[Sitting]:
    """Every sitting that isn't done and that the time allows; gives those left out, and says so."""
    failed: set[tuple[str, str]] = set()

    def go(sitting: Sitting) -> None:
        model = sitting.base.model
        chosen = tuple(c for c in sitting.candidates if (model, c.variant) not in failed)
        failed.update((model, variant) for variant in _sat(sitting, chosen, all_[model]))

    def done(sitting: Sitting) -> bool:
        return is_done(sitting, all_[sitting.base.model])

    left = spend(listed, Clock(60 * minutes), done=done, go=go, said=say)
    for sitting in left:
        say(f"not measured, for want of time: {sitting}")
    return left


def _sat(sitting: Sitting, chosen: tuple[Cell, ...], bench: Bench) -> dict[str, str]:
    """Why candidates dropped out of a sitting of those chosen, by variant."""
    sitting = msgspec.structs.replace(sitting, candidates=chosen)
    dropped: dict[str, str] = {}
    try:
        readies = {c.variant: bench.prepared(c.variant) for c in sitting.cells}
        dropped = sit(sitting, bench, readies)
    except (VariantError, OSError) as error:
        say(f"  the base fails: {error}")
    for variant, reason in dropped.items():
        say(f"  {variant} dropped out: {reason}")
    settle(sitting, bench, dropped)
    return dropped


def collect(all_: dict[str, Bench], reports: Path) -> None:
    """One JSON a model, of all its cells."""
    for name, bench in all_.items():
        record, cells = bench.record, cells_of(bench)
        table = rows.Table(
            model=name,
            random_weights=record.source.random_weights,
            where=Where.here(),
            caches_bytes=record.machine.caches_bytes,
            evaluation=len(bench.context.reference_ids),
            calibration=record.calibration_count,
            accuracy_drop=record.accuracy_drop,
            cells=tuple(msgspec.structs.replace(c, stale=c.outcome == "ready" and bench.is_stale(c)) for c in cells),
            unprepared=tuple(
                (way.technique, backend)
                for backend in BACKENDS
                for way in ways(name)
                if variant_of(way, backend).name not in {c.variant for c in cells}
            ),
        )
        say(str(rows.write(table, f"table-{name}", reports)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("prepare", "measure", "collect"))
    parser.add_argument("--models", default=",".join(MODELS), help="recipes, separated by commas")
    parser.add_argument("--minutes", type=float, help="measure: 25 by default; prepare: as long as it takes")
    parser.add_argument("--longest", type=float, default=240.0, help="seconds that making one artefact may take")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="prepare: those alone")
    parser.add_argument("--no-tuning", action="store_true", help="prepare: leave what trains to a quiet time")
    parser.add_argument("--again", action="store_true", help="prepare: try once more what failed")
    parser.add_argument("--keep-stale", action="store_true", help="prepare: keep what an older version made")
    parser.add_argument("--reports", type=Path, default=rows.FOLDER, help="folder of the JSON files")
    given = parser.parse_args(arguments)
    models = [m for m in given.models.split(",") if m]
    if given.what == "prepare":
        minutes = math.inf if given.minutes is None else given.minutes
        count = prepare(
            models,
            longest_s=given.longest,
            minutes=minutes,
            again=given.again,
            stale=not given.keep_stale,
            backends=given.backends.split(","),
            tuning=not given.no_tuning,
        )
        say(f"{count} pairs are ready")
    elif given.what == "measure":
        measure(models, minutes=25.0 if given.minutes is None else given.minutes, reports=given.reports)
    else:
        collect(benches(models), given.reports)
    return 0


if __name__ == "__main__":
    sys.exit(main())
