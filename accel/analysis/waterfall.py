"""Where did the speed come from? From the original over compilation and compression to batching, step by step.

All steps but the last run one request at a time (single_stream), so that each ratio is that of one strategy; the last
one is what batching adds. A study that measured the whole way in the same rounds is read from these alone, so that the
product of the steps is the whole. An older one, or one whose winner is another by now, is read from what it has; where
every step has a rate within the SLO, online rates are compared there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from accel.analysis import Estimate
from accel.analysis.comparison import Pair, compare, smallest
from accel.analysis.conclusion import Answer, Comparison, PathStep, Row, Step, Strategy, StudyRecord
from accel.analysis.paired import Floor, Paired
from accel.analysis.race import online, paired
from accel.analysis.rows import Known
from accel.analysis.runs import Run
from accel.result import Phase

LEAST_ROUNDS = 3
"""So many rounds carry an interval."""


def waterfall(
    batch: Answer | None,
    online_answer: Answer | None,
    known: Mapping[str, Known],
    record: StudyRecord,
    floors: Mapping[Paired, Floor],
) -> tuple[Step, ...]:
    """The steps to the winner (the online one if there is one); empty where the original stays."""
    answer = chosen(batch, online_answer)
    base = known.get(record.baseline)
    if answer is None or base is None or base.row.p50 is None:
        return ()
    if len(record.path) > 1 and record.path[-1].variant == answer.winner:
        steps = _measured(record, known, floors)
        if steps:
            return steps
    winner = known[answer.winner]
    path: list[tuple[Strategy, Known]] = []
    plain = _uncompressed(winner, known, record)
    if plain is not None and plain is not winner:
        path.append(("compilation", plain))
    if winner.row.variant.compression:
        path.append(("compression", winner))
    elif not path:
        path.append(("compilation", winner))
    if answer.target == "online" and all(_has_rate(k) for k in (base, *(k for _, k in path))):
        return _by_rate(base, path, record, floors)
    return _by_item(base, path, record, floors)


def chosen(batch: Answer | None, online_answer: Answer | None) -> Answer | None:
    """The answer whose winner is explained: the online one, else that for batch jobs; None where the original stays."""
    return next((a for a in (online_answer, batch) if a is not None and not a.keeps_baseline), None)


def _measured(record: StudyRecord, known: Mapping[str, Known], floors: Mapping[Paired, Floor]) -> tuple[Step, ...]:
    """Each step against the one before it in the same rounds: of the blocks if they hold all steps, else of their own.

    A ratio is the mean of the log-ratios of the rounds, so the product of the steps is the ratio of the last to the
    first exactly. A round counts for all steps or for none. () where there are too few rounds.
    """
    sources: tuple[Phase, ...] = ("blocks", "steps")
    rounds = next((r for p in sources if len(r := _rounds(record.path, known, p)) >= LEAST_ROUNDS), None)
    if rounds is None:
        return ()
    steady = [values for values, stable in rounds.values() if stable]
    used = steady if len(steady) >= LEAST_ROUNDS else [values for values, _ in rounds.values()]
    value = math.exp(sum(math.log(values[0]) for values in used) / len(used))
    steps = [_of_path(record.path[0], value, None, shown=True)]
    for i, step in enumerate(record.path[1:], 1):
        floor = floors["batch" if step.strategy == "batching" else "latency"].value
        pairs = [
            Pair(block=block, base=values[i - 1], candidate=values[i], repeat=None, stable=stable)
            for block, (values, stable) in rounds.items()
        ]
        found = compare(pairs, better="higher", delta=smallest(record.profile, floor), evidence="blocks")
        if found is None:
            return ()
        value *= found.ratio.value
        steps.append(_of_path(step, value, found.ratio, shown=found.verdict in ("FASTER", "SLOWER")))
    return tuple(steps)


def _of_path(step: PathStep, value: float, ratio: Estimate | None, *, shown: bool) -> Step:
    return Step(strategy=step.strategy, variant=step.variant, value=value, unit="items/s", ratio=ratio, shown=shown)


def _rounds(
    path: tuple[PathStep, ...], known: Mapping[str, Known], phase: Phase
) -> dict[int, tuple[list[float], bool]]:
    """By round: items a second of each step, and whether no run of it was disturbed. Rounds that hold every step."""
    by_step = [_runs(step, known, phase) for step in path]
    common = set.intersection(*(set(runs) for runs in by_step))
    return {
        block: (
            [_rate(step, runs[block]) for step, runs in zip(path, by_step, strict=True)],
            all(runs[block].result.validity == "valid" for runs in by_step),
        )
        for block in sorted(common)
    }


def _runs(step: PathStep, known: Mapping[str, Known], phase: Phase) -> dict[int, Run]:
    one = known.get(step.variant)
    batched, found = step.strategy == "batching", {}
    for run in one.runs if one is not None else ():
        result = run.result
        if result.phase != phase or result.role == "repeat" or result.block is None or result.validity == "invalid":
            continue
        scenario = result.scenario.name if result.scenario is not None else ""
        if scenario == ("offline" if batched else "single_stream"):
            found[result.block] = run
    return found


def _rate(step: PathStep, run: Run) -> float:
    return run.throughput if step.strategy == "batching" else 1 / run.median_s


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
