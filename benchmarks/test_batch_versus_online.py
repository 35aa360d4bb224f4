"""The same model as a batch job and as an online service: what does each give? Models x backends x compressions.

    make bench      or      python -m pytest benchmarks --benchmark-only --benchmark-json=now.json

The times of pytest-benchmark's table are the engine's own, as the Results tell them, not those of the harness around
it: seconds an item (`offline`, so OPS is items/s) and the median seconds a request (`single_stream`). `extra_info` has
the rest, among it what a server carries within the recipe's limit, from schedule, open loop. A cell that is finished is
read, not measured again; its Results lie in ACCEL_BENCH_OUT. `python -m benchmarks.page` makes the page of all cells.

ACCEL_BENCH_MODELS, _BACKENDS, _COMPRESSIONS choose; _ROUNDS, _SECONDS (of a round), _TRIALS, _TRIAL_SECONDS, _SIZES say
for how long.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.analysis.capacity import Capacity
from accel.analysis.online import generator_was_late, latencies_s, read_trial
from accel.analysis.percentiles import quantile, required
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result, write_atomically
from accel.simulation.policies import Choice, choose
from accel.simulation.service_times import ServiceTimes
from accel.study.live import Turn, items_per_second
from accel.study.load import server_at
from accel.study.max_qps import Search
from benchmarks import cells
from benchmarks.batching.rows import Span
from benchmarks.conftest import Entry
from benchmarks.subject import best_size, curve, offline_turn

ROUNDS = int(os.environ.get("ACCEL_BENCH_ROUNDS", "3"))
SECONDS = float(os.environ.get("ACCEL_BENCH_SECONDS", "1"))
TRIALS = int(os.environ.get("ACCEL_BENCH_TRIALS", "4"))
TRIAL_SECONDS = float(os.environ.get("ACCEL_BENCH_TRIAL_SECONDS", "4"))
SIZES = tuple(int(size) for size in os.environ.get("ACCEL_BENCH_SIZES", "1,2,4,8,16,32").split(","))
FRESH = 1
_LONGER = 2.0
"""Trials of a slow model are up to so many times as long."""
_QUANTILES = (0.99, 0.95, 0.9, 0.5)
_LOOK = 0.4
_ROOM = 1.1
_told_s = 0.0


def told() -> float:
    """The clock of the table: it goes on by what a Result says that its engine took."""
    return _told_s


def tell(seconds: float) -> None:
    """Let the table's clock go on."""
    global _told_s
    _told_s += seconds


@pytest.mark.benchmark(timer=told)
def test_batch(benchmark: Any, entry: Entry) -> None:
    """A batch job at the variant's best size."""
    by_size = curve(entry.runner, _LOOK * SECONDS, SIZES, name=entry.ready.name, twice=False)
    size = best_size(by_size)
    found: list[tuple[Result, float]] = []

    def one_round() -> None:
        run_id = f"batch-{entry.ready.name}-{SECONDS:g}s-{len(found)}"
        result, trace = entry.runner.run(offline_turn(run_id, size, SECONDS, trial=len(found)))
        found.append((result, items_per_second(trace)))
        tell(1 / found[-1][1])

    benchmark.group = f"{entry.subject.record.name} · batch"
    benchmark.pedantic(one_round, rounds=ROUNDS, iterations=1, warmup_rounds=1)
    half = cells.Batch(
        size=size,
        items_per_s=tuple(rate for _, rate in found[1:]),
        by_size=tuple((s, s / float(np.median(times)) * 1e9) for s, times in sorted(by_size.items())),
        validity=tuple(r.validity for r, _ in found[1:]),
        results=tuple(r.run_id for r, _ in found[1:]),
    )
    cell = msgspec.structs.replace(entry.cell(), batch=half)
    cells.keep(entry.folder, cell)
    benchmark.extra_info.update(shown(cell) | msgspec.to_builtins(half))


@pytest.mark.benchmark(timer=told)
def test_online(benchmark: Any, entry: Entry) -> None:
    """One request at a time, timed; then the highest rate within the limit, in `extra_info`."""
    found: list[tuple[Result, float]] = []

    def one_round() -> None:
        result, trace = entry.runner.run(stream_turn(entry, len(found)))
        found.append((result, float(np.median(trace.counted().ok().latency_ns)) * 1e-9))
        tell(found[-1][1])

    benchmark.group = f"{entry.subject.record.name} · online"
    benchmark.pedantic(one_round, rounds=ROUNDS, iterations=1, warmup_rounds=1)
    half = served(entry, found[1:])
    cell = msgspec.structs.replace(entry.cell(), online=half)
    cells.keep(entry.folder, cell)
    benchmark.extra_info.update(shown(cell) | msgspec.to_builtins(half))


def shown(cell: cells.Cell) -> dict[str, Any]:
    """What both halves of `extra_info` begin with."""
    return {"model": cell.model, "variant": cell.variant, "original": cell.original} | (
        {"random_weights": True} if cell.random_weights else {}
    )


def stream_turn(entry: Entry, number: int) -> Turn:
    """One request after another."""
    return Turn(
        run_id=f"stream-{entry.ready.name}-{SECONDS:g}s-{number}",
        phase="measure",
        target="latency",
        scenario=Named("single_stream"),
        batching=Named("single"),
        duration_s=SECONDS,
        trial=number,
    )


# --- the server ------------------------------------------------------------------------------------------------------


def served(entry: Entry, alone: list[tuple[Result, float]]) -> cells.Online:
    """The search for the highest rate within the limit, with the policy that the tuner proposes."""
    times = ServiceTimes(curve(entry.runner, _LOOK * SECONDS, SIZES, name=entry.ready.name, twice=False))
    p, slo_s, seconds = limit(entry, times)
    choice = choose(times, p=p, slo_s=slo_s, seed=entry.subject.record.seed, plain=True)
    predicted = choice.rate or 0.2e9 / times.median_ns(1)
    search = Search(
        p, slo_s, predicted, entry.subject.record.seed, refining=TRIALS, fresh=FRESH, most=TRIALS + 1 + FRESH
    )
    made: list[tuple[Result, Trace, str]] = []
    while (rate := search.ask()) is not None:
        phase = search.phase
        result, trace = entry.runner.run(trial_turn(entry, choice.policy, rate, slo_s, seconds, len(made)))
        made.append((result, trace, phase))
        search.tell(
            read_trial(
                trace,
                rate=rate,
                p=p,
                slo_s=slo_s,
                level=result.validity,
                phase=phase,
                generator_late=generator_was_late(result),
            )
        )
    return _online(search.conclusion(), entry, alone, made, p=p, slo_s=slo_s, choice=choice)


def _online(
    capacity: Capacity | None,
    entry: Entry,
    alone: list[tuple[Result, float]],
    made: list[tuple[Result, Trace, str]],
    *,
    p: float,
    slo_s: float,
    choice: Choice,
) -> cells.Online:
    found = Span(value=0.0) if capacity is None else Span(value=capacity.crossing, low=capacity.low, high=capacity.high)
    fresh = [(r.run_id, latencies_s(trace)) for r, trace, phase in made if phase == "confirmation"]
    answered = [(name, x) for name, x in fresh if np.isfinite(quantile(x, p))]
    return cells.Online(
        alone_s=tuple(seconds for _, seconds in alone),
        p=p,
        wanted_p=entry.subject.record.slo_p,
        slo_s=slo_s,
        policy=choice.policy,
        max_qps=0.0 if capacity is None else capacity.claim,
        crossing=found,
        flags=() if capacity is None else capacity.flags,
        level="invalid" if capacity is None else capacity.level,
        trials=len(made),
        there_p50_s=tuple(quantile(x, 0.5) for _, x in answered),
        there_s=tuple(quantile(x, p) for _, x in answered),
        validity=tuple(r.validity for r, _ in alone),
        results=(*(r.run_id for r, _ in alone), *(r.run_id for r, _, _ in made)),
        fresh=tuple(name for name, _ in answered),
        verdict=choice.verdict,
    )


def limit(entry: Entry, times: ServiceTimes) -> tuple[float, float, float]:
    """The recipe's limit (s), at the highest percentile that the trials of the first cell measured carry, and how long
    they are counted (s): the same for all cells of a model, or they could not be compared.
    """
    kept = entry.folder / f"limit-{TRIAL_SECONDS:g}s.json"
    if not kept.is_file():
        record, rate = entry.subject.record, 0.7e9 / times.median_ns(1)
        slo_s = record.slo_s or 4 * times.median_ns(1) * 1e-9
        seconds = min(max(TRIAL_SECONDS, _ROOM * required(0.9) / rate), _LONGER * TRIAL_SECONDS)
        able = [q for q in _QUANTILES if q <= record.slo_p + 1e-9 and _ROOM * required(q) <= rate * seconds]
        write_atomically(kept, msgspec.json.encode((max(able, default=0.5), slo_s, round(seconds, 1))))
    p, slo_s, seconds = msgspec.json.decode(kept.read_bytes(), type=tuple[float, float, float])
    return p, slo_s, seconds


def trial_turn(entry: Entry, policy: Named, rate: float, slo_s: float, seconds: float, number: int) -> Turn:
    """One server trial."""
    return Turn(
        run_id=f"server-{entry.ready.name}-{TRIAL_SECONDS:g}s-{number}",
        phase="search",
        target="online",
        scenario=server_at(rate, slo_s),
        batching=policy,
        duration_s=seconds,
        trial=500 + number,
    )
