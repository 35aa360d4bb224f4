"""Where did the speed come from? From the original over compilation and compression to batching, step by step.

All steps but the last run one request at a time (single_stream), so that each ratio is that of one strategy; the last
one is what batching adds. Where every step has a rate within the SLO, online rates are compared instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from accel.analysis import Estimate
from accel.analysis.comparison import smallest
from accel.analysis.conclusion import Answer, Comparison, Row, Step, StudyRecord
from accel.analysis.paired import Floor, Paired
from accel.analysis.race import online, paired
from accel.analysis.rows import Known

Strategy = Literal["compilation", "compression", "batching"]


def waterfall(
    batch: Answer | None,
    online_answer: Answer | None,
    known: Mapping[str, Known],
    record: StudyRecord,
    floors: Mapping[Paired, Floor],
) -> tuple[Step, ...]:
    """The steps to the winner (the online one if there is one); empty where the original stays."""
    chosen = next((a for a in (online_answer, batch) if a is not None and not a.keeps_baseline), None)
    base = known.get(record.baseline)
    if chosen is None or base is None or base.row.p50 is None:
        return ()
    winner = known[chosen.winner]
    path: list[tuple[Strategy, Known]] = []
    plain = _uncompressed(winner, known, record)
    if plain is not None and plain is not winner:
        path.append(("compilation", plain))
    if winner.row.variant.compression:
        path.append(("compression", winner))
    elif not path:
        path.append(("compilation", winner))
    if chosen.target == "online" and all(_has_rate(k) for k in (base, *(k for _, k in path))):
        return _by_rate(base, path, record, floors)
    return _by_item(base, path, record, floors)


def _uncompressed(winner: Known, known: Mapping[str, Known], record: StudyRecord) -> Known | None:
    """The fastest variant of the winner's backend that changes nothing in the model; None if that is the original."""
    plain = [
        k
        for k in known.values()
        if k.row.variant.backend.name == winner.row.variant.backend.name
        and not k.row.variant.compression
        and k.row.status == "ok"
        and k.row.p50 is not None
        and k.row.name != record.baseline
    ]
    return min(plain, key=lambda k: (k.row.p50.value if k.row.p50 else math.inf, k.row.name), default=None)


def _has_rate(one: Known) -> bool:
    return one.capacity is not None and one.capacity.claim > 0 and not one.capacity.predicted


def _by_rate(
    base: Known, path: list[tuple[Strategy, Known]], record: StudyRecord, floors: Mapping[Paired, Floor]
) -> tuple[Step, ...]:
    floor = max(f.value for f in floors.values())
    steps = [_original(base.row, _claim(base), "requests/s")]
    before = base
    for strategy, one in path:
        found = online(before, one, record, floor)
        steps.append(_step(strategy, one.row, _claim(one), "requests/s", found))
        before = one
    return tuple(steps)


def _claim(one: Known) -> float:
    return one.capacity.claim if one.capacity is not None else 0.0


def _by_item(
    base: Known, path: list[tuple[Strategy, Known]], record: StudyRecord, floors: Mapping[Paired, Floor]
) -> tuple[Step, ...]:
    steps = [_original(base.row, _one_at_a_time(base.row), "items/s")]
    before = base
    for strategy, one in path:
        found = paired(before, one, "latency", record, floors["latency"])
        steps.append(_step(strategy, one.row, _one_at_a_time(one.row), "items/s", found))
        before = one
    batched = _batched(before.row, smallest(record.profile, floors["batch"].value))
    return (*steps, batched) if batched is not None else tuple(steps)


def _one_at_a_time(row: Row) -> float:
    return 1 / row.p50.value if row.p50 is not None else 0.0


def _original(row: Row, value: float, unit: str) -> Step:
    return Step(strategy="original", variant=row.name, value=value, unit=unit, ratio=None, shown=True)


def _step(strategy: Strategy, row: Row, value: float, unit: str, found: Comparison | None) -> Step:
    ratio = found.ratio if found is not None else None
    shown = found is not None and found.verdict in ("FASTER", "SLOWER")
    return Step(strategy=strategy, variant=row.name, value=value, unit=unit, ratio=ratio, shown=shown)


def _batched(row: Row, delta: float) -> Step | None:
    """Throughput at the best batch size against one item at a time, of the same variant; None if not measured."""
    if row.throughput is None or row.p50 is None:
        return None
    value = row.throughput.value * row.p50.value
    ends = (row.throughput.low, row.throughput.high, row.p50.low, row.p50.high)
    ratio = Estimate(value=value, low=None, high=None, n=row.throughput.n, unit="x", method="no interval on one side")
    shown = False
    if all(ends):
        low, high, fast, slow = (float(e or 0.0) for e in ends)
        down = math.hypot(math.log(row.throughput.value / low), math.log(row.p50.value / fast))
        up = math.hypot(math.log(high / row.throughput.value), math.log(slow / row.p50.value))
        ratio = Estimate(
            value=value,
            low=value * math.exp(-down),
            high=value * math.exp(up),
            n=row.throughput.n,
            unit="x",
            method="batch throughput times median latency, intervals joined on the log scale",
        )
        shown = abs(math.log(value)) >= delta and (value * math.exp(-down) > 1 or value * math.exp(up) < 1)
    return Step(
        strategy="batching", variant=row.name, value=row.throughput.value, unit="items/s", ratio=ratio, shown=shown
    )
