"""From the archives that a GPU machine wrote to one record a network, and from its runs to ratios with intervals."""

from __future__ import annotations

import math
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from accel.analysis.comparison import Pair, aa_floor, aa_suspicious, counting
from accel.analysis.conclusion import Comparison
from accel.analysis.paired import Floor, judged
from accel.analysis.runs import Run as AnyRun
from accel.analysis.runs import load_runs
from accel.errors import InputError
from accel.result import Result
from benchmarks.gpu.rows import SIZES, Cell, Run, Sitting, Table
from benchmarks.gpu.run import SITTING

MIN_EFFECT = 0.05
"""The smallest difference that counts between processes that rest between their turns, as in the profile `quick`."""
_SEED = 0


def read(archive: Path) -> Table:
    """What an archive holds, its Results checked as any study's are; raises InputError if it is none."""
    with tempfile.TemporaryDirectory(prefix="accel-gpu-") as place:
        folder = Path(place)
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            sitting = msgspec.json.decode((folder / SITTING).read_bytes(), type=Sitting)
        except (OSError, tarfile.TarError, msgspec.DecodeError) as error:
            raise InputError(f"`{archive}` isn't what `make gpu` wrote: {error}.") from None
        results = [Result.load(path) for path in sorted(folder.glob("*.json")) if path.name != SITTING]
        runs, _ = load_runs(results, folder)
        return Table(sitting=sitting, cells=tuple(_cells(sitting, runs)))


def _cells(sitting: Sitting, runs: Sequence[AnyRun]) -> list[Cell]:
    found = []
    for outcome in sitting.outcomes:
        for size in SIZES:
            own = [r for r in runs if r.result.variant.name == outcome.variant.name and r.size == size]
            if own:
                found.append(_cell(outcome.variant.name, size, own))
    return found


def _cell(variant: str, size: int, runs: Sequence[AnyRun]) -> Cell:
    ordered = sorted(runs, key=lambda r: (r.result.block or 0, r.result.role))
    last = ordered[-1].result
    apart = sorted((r.result.device_times for r in runs if r.result.device_times), key=lambda t: t.compute_s)
    peaks = [r.result.memory.gpu_peak_bytes for r in runs if r.result.memory and r.result.memory.gpu_peak_bytes]
    return Cell(
        variant=variant,
        size=size,
        runs=tuple(_run(r) for r in ordered),
        effective=last.effective,
        quality=last.quality,
        device_times=apart[len(apart) // 2] if apart else None,
        gpu_peak_bytes=max(peaks, default=None),
        open_s=last.set_up.open_s if last.set_up else None,
    )


def _run(run: AnyRun) -> Run:
    return Run(
        block=run.result.block or 0,
        role=run.result.role,
        items_per_s=run.throughput,
        batch_s=float(sorted(run.service_s)[len(run.service_s) // 2]),
        level=run.result.validity,
    )


def compared(table: Table, size: int) -> dict[str, Comparison]:
    """By variant: how many times as many items a second as the base at this batch size; all compared at once (Holm).

    Nothing for a variant that shares fewer than three blocks with the base.
    """
    cells = [c for c in table.cells if c.size == size]
    base = next((c for c in cells if c.variant == base_name(table)), None)
    if base is None:
        return {}
    floor = _floor(base)
    paired = {c.variant: _pairs(base, c) for c in cells if c is not base}
    return judged(paired, "batch", floor, delta=counting(MIN_EFFECT, floor.value))


def base_name(table: Table) -> str:
    """The variant that the others are compared with."""
    return table.sitting.outcomes[0].variant.name if table.sitting.outcomes else ""


def _by_block(cell: Cell, *, repeat: bool = False) -> dict[int, Run]:
    return {r.block: r for r in cell.runs if r.level != "invalid" and (r.role == "repeat") == repeat}


def _pairs(base: Cell, ours: Cell) -> list[Pair]:
    theirs, again, mine = _by_block(base), _by_block(base, repeat=True), _by_block(ours)
    return [
        Pair(
            block=block,
            base=theirs[block].items_per_s,
            candidate=mine[block].items_per_s,
            repeat=again[block].items_per_s if block in again else None,
            stable=all(s.level == "valid" for s in (theirs[block], mine[block])),
        )
        for block in sorted(theirs.keys() & mine.keys())
    ]


def _floor(base: Cell) -> Floor:
    first, second = _by_block(base), _by_block(base, repeat=True)
    both = [(first[b], second[b]) for b in sorted(first.keys() & second.keys())]
    logs = [math.log(b.items_per_s / a.items_per_s) for a, b in both if a.level == b.level == "valid"]
    if not logs:
        return Floor()
    return Floor(
        value=aa_floor(logs, _SEED),
        shift=abs(sum(logs) / len(logs)),
        suspicious=aa_suspicious(logs, math.log1p(MIN_EFFECT)),
    )
