"""What was noticed, why does it matter, and what to type next? Weightiest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accel.analysis.batch_curve import BatchCurve
from accel.analysis.conclusion import Answer, Finding, Row, StudyRecord
from accel.analysis.findings import (
    batching,
    hardware,
    load,
    machine,
    numerics,
    rescues,
    roofline,
    runtime,
    study,
    variants,
)
from accel.analysis.findings.seen import Seen
from accel.analysis.load_curve import LoadPoint
from accel.analysis.paired import Floor, Paired
from accel.analysis.runs import Run
from accel.compilation._profile import Layers
from accel.rescue.record import Rescue
from accel.result import Result


def findings(
    rows: Sequence[Row],
    answers: Sequence[Answer],
    record: StudyRecord,
    results: Sequence[Result],
    floors: Mapping[Paired, Floor],
    runs: Sequence[Run] = (),
    *,
    loads: Sequence[LoadPoint] = (),
    curves: Sequence[BatchCurve] = (),
    rescued: Sequence[Rescue] = (),
    layers: Sequence[Layers] = (),
) -> tuple[Finding, ...]:
    """Everything worth a line, ordered by weight, then by text; a page shows the first few."""
    seen = Seen(
        record=record,
        rows=tuple(rows),
        answers=tuple(answers),
        results=tuple(results),
        floors=floors,
        runs=tuple(runs),
        loads=tuple(loads),
        batching=tuple(curves),
        rescues=tuple(rescued),
        layers=tuple(layers),
    )
    themes = (variants, rescues, numerics, runtime, roofline, machine, hardware, load, batching, study)
    found = [f for theme in themes for rule in theme.RULES for f in rule(seen)]
    unique = {f.what: f for f in sorted(found, key=lambda f: (f.weight, f.what))}
    return tuple(sorted(unique.values(), key=lambda f: (-f.weight, f.what)))


__all__ = ["findings"]
