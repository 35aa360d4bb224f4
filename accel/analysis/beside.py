"""Two variants of one study, compared in the interleaved blocks that it stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from accel.analysis.conclusion import Comparison, StudyRecord
from accel.analysis.paired import Floor
from accel.analysis.race import floors, online, paired
from accel.analysis.rows import Known, known
from accel.analysis.runs import load_runs
from accel.result import Result


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """`new` against `old`, two variants that ran in the same blocks: a ratio above 1 means that `new` is better.

    Each is None where the study didn't measure it for both.
    """

    old: str
    new: str
    latency: Comparison | None
    batch: Comparison | None
    online: Comparison | None


def beside(record: StudyRecord, results: Sequence[Result], folder: Path, old: str, new: str) -> Beside:
    """Compare any two variants of a study. folder: where the traces lie."""
    runs, notes = load_runs(results, folder)
    by_name = {v.name: v for v in record.variants} | {r.variant.name: r.variant for r in results}

    def of(name: str) -> Known:
        mine = [r for r in results if r.variant.name == name]
        return known(
            by_name[name], record, mine, [r for r in runs if r.result.variant.name == name], notes.get(name, [])
        )

    a, b = of(old), of(new)
    floor = (
        floors(of(record.baseline), record) if record.baseline in by_name else {"latency": Floor(), "batch": Floor()}
    )
    return Beside(
        old=old,
        new=new,
        latency=paired(a, b, "latency", record, floor["latency"]),
        batch=paired(a, b, "batch", record, floor["batch"]),
        online=online(a, b, record, max(f.value for f in floor.values())),
    )
