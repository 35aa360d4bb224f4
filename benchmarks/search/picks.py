"""What the grid's best is, what the study picked, and what the study took: from their results alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from accel.analysis.conclusion import Conclusion, Row
from accel.result import Result
from accel.study.study import Study
from benchmarks.compression.rows import Run, Timed
from benchmarks.search.rows import Pick, Tried


def best_of(tried: Sequence[Tried], target: Timed) -> Pick | None:
    """The fastest cell of the grid whose outputs don't fail; None if there is none."""
    found = [
        Pick(variant=t.cell.variant, size=run.size, value=run.value)
        for t in tried
        if not t.cell.probe and t.cell.quality is not None and t.cell.quality.outcome != "fails"
        for run in _usable(t.cell.runs, target)
    ]
    if not found:
        return None
    return max(found, key=lambda p: p.value) if target == "batch" else min(found, key=lambda p: p.value)


def _usable(runs: Iterable[Run], target: Timed) -> list[Run]:
    return [run for run in runs if run.target == target and run.level != "invalid"]


def pick_of(conclusion: Conclusion, target: Timed) -> Pick | None:
    """What the study recommends for batch; for lone requests the fastest row that it looked at closely.

    Its answer for online is about many requests within a limit, which one request at a time says nothing of.
    """
    if target == "batch":
        answer = conclusion.batch
        row = None if answer is None else conclusion.row(answer.winner)
        if row is None or row.throughput is None:
            return None
        return Pick(variant=row.name, size=row.batch_size or 1, value=row.throughput.value)
    rows = [row for row in conclusion.rows if _may_be_picked(row)]
    close = [row for row in rows if row.evidence in ("blocks", "confirmation")] or rows
    best = min(close, key=_wait, default=None)
    return None if best is None else Pick(variant=best.name, size=1, value=_wait(best))


def _may_be_picked(row: Row) -> bool:
    good = row.quality is not None and row.quality.outcome != "fails"
    return row.status == "ok" and row.p50 is not None and not row.variant.trap and (good or row.is_baseline)


def _wait(row: Row) -> float:
    return row.p50.value if row.p50 is not None else float("inf")


def times_of(study: Study) -> dict[str, float]:
    """`study_s`, `made_s` and `confirming_s` of a Regret."""
    return study_times(study.record.elapsed_s or 0.0, study.results)


def study_times(elapsed_s: float, results: Sequence[Result]) -> dict[str, float]:
    """From a study's clock and its results.

    study_s: without confirmations. made_s: what making its artefacts took, of those that were in the cache already.
    """
    confirming = [r for r in results if r.phase == "confirmation"]
    confirming_s = sum((r.wall_s or 0.0) + _start_s(r) for r in confirming)
    making: dict[str, float] = {}
    for result in results:
        if result.set_up is not None and result.set_up.cached:
            making[result.variant.name] = max(making.get(result.variant.name, 0.0), result.set_up.made_s)
    made_s = sum(making.values())
    return {"study_s": elapsed_s - confirming_s, "made_s": made_s, "confirming_s": confirming_s}


def _start_s(result: Result) -> float:
    return 0.0 if result.set_up is None else result.set_up.start_s or 0.0
