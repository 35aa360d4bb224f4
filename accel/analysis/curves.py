"""Which latency-against-batch curves does a study hold? From its tuning runs, with pauses before a call beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from accel.analysis import Estimate
from accel.analysis.batch_curve import BatchCurve, batch_curve
from accel.analysis.conclusion import StudyRecord
from accel.analysis.estimates import across_runs, quantile_across, rate_of_batches
from accel.analysis.rows import Known, marked
from accel.analysis.runs import Run, believable, by_key, of, once


def curves(known: Iterable[Known], record: StudyRecord) -> tuple[BatchCurve, ...]:
    """One curve for each variant that was tuned at two sizes or more, then those by bucket of lengths."""
    found = [curve_of(one.row.name, one.runs) for one in known if one.row.status == "ok"]
    return (*(c for c in found if c is not None and len(c.points) > 1), *record.lengths)


def curve_of(name: str, runs: Sequence[Run]) -> BatchCurve | None:
    """The curve of one variant, from sizes that were measured one right after another: those of the tuning."""
    tuned = [r for r in once(of(runs, "batch")) if r.result.phase == "tuning"]
    by_size = by_key(tuned, lambda r: r.size)
    seconds = {size: e for size, group in by_size.items() if (e := _seconds(group)) is not None}
    items = {size: e for size, group in by_size.items() if (e := _items(group)) is not None}
    return batch_curve(name, seconds, items, idle=_idle(runs))


def _seconds(runs: Sequence[Run]) -> Estimate | None:
    """Median service time of a full batch; a last, smaller one is left out."""
    used, level = believable(runs)
    return marked(median_of([r.service_s[r.items == r.items.max()] for r in used]), level)


def median_of(parts: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]]) -> Estimate | None:
    """The median over batches, with an interval where twenty carry one (rule 22); None without any."""
    kept = [p for p in parts if p.size]
    if not kept:
        return None
    carried = quantile_across(kept, 0.5, unit="s")
    return carried if carried is not None else across_runs([float(np.median(p)) for p in kept], unit="s")


def _items(runs: Sequence[Run]) -> Estimate | None:
    used, level = believable(runs)
    if not used:
        return None
    if len(used) == 1:
        return marked(rate_of_batches(used[0].items, used[0].seconds, unit="1/s"), level)
    return marked(across_runs([r.throughput for r in used], unit="1/s"), level)


def _idle(runs: Sequence[Run]) -> tuple[tuple[float, Estimate], ...]:
    """Median seconds of a lone call by the pause before it, the shortest pause first; () where nobody looked."""
    looks = [r for r in runs if r.result.phase == "measure" and r.result.inputs == "unique" and not r.keeps_denormals]
    by_gap = by_key(looks, _gap_s)
    found = [(gap_s, median_of([r.latency_s for r in group])) for gap_s, group in by_gap.items()]
    shown = tuple((gap_s, e) for gap_s, e in found if e is not None)
    return shown if len(shown) > 1 else ()


def _gap_s(run: Run) -> float:
    return float(run.result.scenario.fields.get("gap_s", 0.0)) if run.result.scenario else 0.0
