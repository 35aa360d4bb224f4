"""Which stored requests a report draws: those of the original and the finalists, one at a time, deepest phase first."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from accel.analysis.conclusion import Conclusion
from accel.measurement.trace import Trace
from accel.report.charts._theme import leading
from accel.result import Result

_MOST_VARIANTS, _MOST_RUNS = 4, 12
_PHASES = ("confirmation", "blocks", "measure", "tuning", "screening")


def read(folder: Path, results: Sequence[Result], conclusion: Conclusion) -> dict[str, Trace]:
    """Variant name -> the counted requests of its single_stream runs; a trace that is gone is left out.

    folder: where the runs lie. Runs of different phases are never mixed.
    """
    shown = leading(conclusion, [r for r in conclusion.rows if r.status == "ok"], _MOST_VARIANTS)
    found = {row.name: _of(folder, [r for r in results if r.variant.name == row.name]) for row in shown}
    return {name: trace for name, trace in found.items() if trace is not None}


def _of(folder: Path, results: list[Result]) -> Trace | None:
    usable = [
        r
        for r in results
        if r.trace
        and r.status == "ok"
        and r.validity != "invalid"
        and r.scenario
        and r.scenario.name == "single_stream"
    ]
    for phase in _PHASES:
        runs = sorted((r for r in usable if r.phase == phase), key=lambda r: r.run_id)[:_MOST_RUNS]
        loaded = [t for t in (_loaded(folder / str(r.trace)) for r in runs) if t is not None]
        loaded = [t for t in loaded if len(t) and int(t.batch_size.max()) == 1]
        if loaded:
            return _joined(loaded)
    return None


def _loaded(path: Path) -> Trace | None:
    """A trace, or None if it is gone or damaged; the row it belongs to has a note that says so."""
    try:
        return Trace.load(path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _joined(traces: list[Trace]) -> Trace:
    names = [f.name for f in msgspec.structs.fields(Trace) if f.required]
    return Trace(**{n: np.concatenate([getattr(t, n) for t in traces]) for n in names})
