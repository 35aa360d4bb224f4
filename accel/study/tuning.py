"""Who goes on, and at which batch sizes: the latency-against-batch curve of the baseline and of the survivors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from accel.analysis.conclusion import Row
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.study.live import Live, Turn, items_per_second
from accel.study.screening import SCREEN_SIZE

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

SIZES = (1, 2, 4, 8, 16, 32)


def finalists(funnel: Funnel) -> list[str]:
    """The variants that go on: the fastest two in batch and the fastest two in latency whose guard holds.

    At most `profile.finalists`, without traps and without what is clearly slower than the baseline in both.
    """
    conclusion = funnel.read()
    rows = [r for r in conclusion.rows if _may_win(r) and not r.is_baseline and not r.variant.trap]
    base = next((r for r in conclusion.rows if r.is_baseline), None)
    if base is None or base.throughput is None or base.p50 is None:
        return []
    by_batch = sorted(rows, key=lambda r: -(r.throughput.value if r.throughput else 0.0))
    by_latency = sorted(rows, key=lambda r: r.p50.value if r.p50 else math.inf)
    chosen: list[str] = []
    for row in _alternate(by_batch[:2], by_latency[:2], by_batch[2:], by_latency[2:]):
        faster_batch = row.throughput is not None and row.throughput.value > base.throughput.value
        faster_latency = row.p50 is not None and row.p50.value < base.p50.value
        if row.name not in chosen and (faster_batch or faster_latency):
            chosen.append(row.name)
    return chosen[: funnel.budget.finalists(funnel.profile)]


def tune(funnel: Funnel, finalists: list[str]) -> None:
    """The latency-against-batch curve of the baseline and the finalists: offline runs at each size."""
    for name in (funnel.record.baseline, *finalists):
        missing = [s for s in funnel.sizes if f"tuning-{name}-batch-{s}" not in funnel.results]
        if not missing or not funnel.budget.allows_tuning():
            continue
        funnel.progress.stage(f"{name}: batch sizes")
        with funnel.survives(name), funnel.live(name, "tuning") as live:
            _tune_sizes(funnel, live, name)


def _tune_sizes(funnel: Funnel, live: Live, name: str) -> None:
    best, falling = 0.0, 0
    for size in usable_sizes(funnel, name, live):
        run_id = f"tuning-{name}-batch-{size}"
        if run_id not in funnel.results:
            funnel.measure(live, _tuning_turn(funnel, run_id, name, size))
        rate = _throughput(funnel, run_id)
        falling = falling + 1 if rate < 0.97 * best else 0
        best = max(best, rate)
        if falling >= 2:
            return


def usable_sizes(funnel: Funnel, name: str, live: Live) -> list[int]:
    """The sizes to try: what the engine takes, and 1 alone where screening had to fall back to single items."""
    if live.sizes is not None:
        return [s for s in funnel.sizes if s in live.sizes] or list(live.sizes[:1])
    screened = funnel.results.get(f"screening-{name}-batch")
    if screened is not None and screened.batching is not None and screened.batching.fields.get("size") == 1:
        return [1]
    return list(funnel.sizes)


def _tuning_turn(funnel: Funnel, run_id: str, name: str, size: int) -> Turn:
    return Turn(
        run_id=run_id,
        phase="tuning",
        target="batch",
        scenario=Named("offline"),
        batching=Named("fixed", {"size": size}),
        duration_s=funnel.profile.tune_s,
        trial=size,
        role="baseline" if name == funnel.record.baseline else "candidate",
    )


def best_size(funnel: Funnel, name: str) -> int:
    """The batch size with the highest throughput; a smaller one that comes within 2 % is preferred."""
    rates = {
        s: _throughput(funnel, f"tuning-{name}-batch-{s}")
        for s in funnel.sizes
        if f"tuning-{name}-batch-{s}" in funnel.results
    }
    if not rates:
        screened = funnel.results.get(f"screening-{name}-batch")
        fields = screened.batching.fields if screened and screened.batching else {}
        return int(fields.get("size", SCREEN_SIZE))
    return min(s for s, rate in rates.items() if rate >= 0.98 * max(rates.values()))


def _throughput(funnel: Funnel, run_id: str) -> float:
    result = funnel.results.get(run_id)
    if result is None or result.status != "ok" or result.trace is None:
        return 0.0
    return items_per_second(Trace.load(funnel.folder.runs / result.trace))


def _may_win(row: Row) -> bool:
    if row.status != "ok" or row.quality is None:
        return False
    return row.quality.outcome != "fails"


def _alternate(*groups: list[Row]) -> Iterator[Row]:
    for pair in (groups[:2], groups[2:]):
        longest = max((len(g) for g in pair), default=0)
        for i in range(longest):
            yield from (g[i] for g in pair if i < len(g))
