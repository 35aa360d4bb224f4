"""V9: MLPerf's load generator and accel measure the same stub alike, and their schedules are interchangeable."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from accel.analysis.estimates import t_interval
from accel.analysis.percentiles import quantile
from accel.batching.single import Single
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.loop import run
from accel.measurement.trace import Int64, Trace
from accel.plugins import Named, make
from accel.result import Result
from accel.study.folder import StudyFolder
from accel.study.live import Live, Target, Turn, items_per_second
from accel.study.prepare import Prepared
from accel.study.profiles import profile
from accel.study.standin import folder_of, stand_in
from tests.measurement.simulated import Pool, Spin
from tests.validation import loadgen
from tests.validation.experiment import Row
from tests.validation.loadgen import Ask, Recorded

SECONDS, SEEDS = 10.0, 10
ITEM_S = 0.002
UTILISATIONS = (0.3, 0.6)
STREAM_RATIO, STREAM_S = 0.01, 30e-6
OFFLINE_RATIO, SERVER_RATIO = 0.01, 0.03
RECORDED, RECORDED_SEED, RECORDED_RATE, RECORDED_S = Path(__file__).with_name("loadgen_schedule.csv"), 7, 300.0, 3.0
LIMIT_S = 2400.0

Figures = dict[str, float]
"""What one side says of one run, in seconds or per second."""


def quick() -> list[Row]:
    """A schedule that LoadGen recorded, through the product's scenario and loop on the fake clock."""
    due = np.rint(np.loadtxt(RECORDED, skiprows=1) * 1e9).astype(np.int64)
    known = loadgen.schedule(RECORDED_SEED, RECORDED_RATE, RECORDED_S)
    same = np.array_equal(due, known)
    rows = [_row("the schedule of seed 7 from LoadGen's generator", "equal to what LoadGen recorded", len(due), same)]
    for name, service in (("constant", _constant(len(due))), ("lognormal", _lognormal(len(due)))):
        trace = _replayed(service, _just_after(due))
        wrong = _apart(trace, due, service)
        what = f"LoadGen's recorded schedule through the loop, {name} service times"
        rows.append(
            _row(what, "each finish and latency is Lindley's, to the ns", len(due), wrong == 0, f", {wrong} differ")
        )
    return [*rows, _early_stopping()]


def full() -> Iterator[Row]:
    """Both around the same stub, each run in a fresh process, in ABBA order over the seeds."""
    yield from quick()
    yield from real(SECONDS, SEEDS)


def real(seconds: float, seeds: int) -> Iterator[Row]:
    """The real rows at this size."""
    with tempfile.TemporaryDirectory() as place:
        bench = _Bench(Path(place), seconds)
        yield from _compared(bench, "SingleStream", 0.0, seeds)
        yield from _compared(bench, "Offline", 0.0, seeds)
        for rho in UTILISATIONS:
            yield from _compared(bench, "Server", rho / ITEM_S, seeds)


def _early_stopping() -> Row:
    return Row(
        experiment="V9",
        what="early stopping: how many requests a claim with t violations needs",
        criterion="rule 23's n(t) equals LoadGen's",
        measured="",
        passed=False,
        kind="virtual",
        not_run="accel makes no claim that takes requests as independent, so there is no n(t) to compare",
    )


def _row(what: str, criterion: str, n: int, passed: bool, more: str = "") -> Row:
    return Row(
        experiment="V9", what=what, criterion=criterion, measured=f"{n} requests{more}", passed=passed, kind="virtual"
    )


def _constant(n: int) -> Int64:
    return np.full(n, round(ITEM_S * 1e9), np.int64)


def _lognormal(n: int) -> Int64:
    factors = np.exp(np.random.Generator(np.random.PCG64(9)).normal(0.0, 0.5, n))
    return np.rint(factors * ITEM_S * 1e9).astype(np.int64)


def _replayed(service: Int64, duration_s: float) -> Trace:
    clock = FakeClock()
    engine = Spin(clock, lambda call, n: int(service[call]))
    scenario = make("scenarios", Named("server", _replay(RECORDED)))
    plan = scenario.plan(64, seed=1, trial=0, duration_s=duration_s)
    return run(plan, Single(), Feed(engine, Pool()), clock, drain_ns=60 * 10**9).trace


def _replay(schedule: Path) -> dict[str, object]:
    return {"arrivals": "replay", "trace": str(schedule), "lead_s": 0.0, "tail_s": 0.0}


def _just_after(due: Int64) -> float:
    """A length (s) that holds each of these requests once: past the last one, before the recording is repeated."""
    return float(due[-1] - due[0] + 1000) * 1e-9


def _apart(trace: Trace, due: Int64, service: Int64) -> int:
    """How many requests didn't wait and end as Lindley's recursion says; all, if there aren't as many as were due."""
    if len(trace) != len(due) or not np.array_equal(trace.due - trace.due[0], due - due[0]):
        return len(due)
    ends, free = np.zeros(len(due), np.int64), 0
    for i, (at, takes) in enumerate(zip(trace.due.tolist(), service.tolist(), strict=True)):
        free = ends[i] = max(at, free) + takes
    return int(((trace.finished != ends) | (trace.latency_ns != ends - trace.due)).sum())


class _Bench:
    """One stub artefact with its samples, run by either side."""

    def __init__(self, place: Path, seconds: float) -> None:
        self.seconds, self._place = seconds, place
        self._folder: StudyFolder = folder_of(place / "study")
        self._stub: Prepared = stand_in(self._folder, "stub", item_s=ITEM_S)

    def loadgen(self, scenario: loadgen.Scenario, rate: float, seed: int) -> Recorded:
        return loadgen.record(
            Ask(
                scenario=scenario,
                item_s=ITEM_S,
                rate=rate or 1.0,
                seconds=self.seconds,
                seed=seed,
                artefact=self._stub.folder,
                samples=str(self._folder.samples),
                out=str(self._place / "loadgen.npz"),
            )
        )

    def accel(self, scenario: loadgen.Scenario, rate: float, seed: int) -> Trace:
        target, named, duration_s = self._scenario(scenario, rate, seed)
        turn = Turn(
            run_id=f"{scenario}-{rate:g}-{seed}",
            phase="measure",
            target=target,
            scenario=named,
            batching=Named("single"),
            duration_s=duration_s,
            trial=seed,
        )
        with Live(self._stub, self._folder, profile("quick"), seed=seed, tag=turn.run_id) as live:
            result = live.run(turn, reference=None, check_limit=1.0, common=_result)
        return Trace.load(self._folder.runs / str(result.trace)).counted().ok()

    def _scenario(self, scenario: loadgen.Scenario, rate: float, seed: int) -> tuple[Target, Named, float]:
        if scenario == "SingleStream":
            return "latency", Named("single_stream"), self.seconds
        if scenario == "Offline":
            return "batch", Named("offline", {"samples": math.ceil(1.1 * self.seconds / ITEM_S)}), self.seconds
        path = self._place / f"schedule-{rate:g}-{seed}.npy"
        due = loadgen.schedule(seed, rate, self.seconds)
        np.save(path, due * 1e-9)
        return "online", Named("server", _replay(path)), _just_after(due)


def _result(fields: dict[str, object]) -> Result:
    return Result(study_id="v9", **fields)  # type: ignore[arg-type]


def _compared(bench: _Bench, scenario: loadgen.Scenario, rate: float, seeds: int) -> Iterator[Row]:
    """Each seed on both sides, who goes first as in ABBA; then the rows of this scenario."""
    begun = time.perf_counter()
    theirs: list[Recorded] = []
    ours: list[Trace] = []
    for seed in range(1, seeds + 1):
        steps: list[Callable[[], None]] = [
            lambda: theirs.append(bench.loadgen(scenario, rate, seed)),  # noqa: B023  # called in this round
            lambda: ours.append(bench.accel(scenario, rate, seed)),  # noqa: B023
        ]
        for step in steps if seed % 2 else reversed(steps):
            step()
    if scenario == "SingleStream":
        rows = _stream(theirs, ours)
    elif scenario == "Offline":
        rows = [_offline(theirs, ours)]
    else:
        rows = _server(theirs, ours, rate, bench.seconds)
    for row in rows:
        yield msgspec.structs.replace(row, seconds=(time.perf_counter() - begun) / len(rows))


def _ratio(theirs: Sequence[float], ours: Sequence[float]) -> tuple[float, str]:
    """Geometric mean of ours / theirs, and the same in words with its 95 % interval over the seeds."""
    mean, low, high = t_interval(np.log(np.asarray(ours) / np.asarray(theirs)))
    return math.exp(mean), f"{math.exp(mean):.4f} [{math.exp(low):.4f}, {math.exp(high):.4f}]"


def _real(what: str, criterion: str, measured: str, passed: bool) -> Row:
    return Row(experiment="V9", what=what, criterion=criterion, measured=measured, passed=passed, kind="real")


def _stream(theirs: list[Recorded], ours: list[Trace]) -> list[Row]:
    rows = []
    for p in (0.5, 0.9):
        a = [quantile(r.latency_ns, p) * 1e-9 for r in theirs]
        b = [quantile(t.latency_ns, p) * 1e-9 for t in ours]
        ratio, words = _ratio(a, b)
        apart = float(np.mean(b) - np.mean(a))
        near = abs(ratio - 1) <= STREAM_RATIO or abs(apart) <= STREAM_S
        measured = f"accel/LoadGen {words}, {apart * 1e6:+.1f} µs, {len(a)} seeds"
        rows.append(_real(f"single_stream p{100 * p:.0f}", "within 1 % or 30 µs", measured, near))
    return rows


def _offline(theirs: list[Recorded], ours: list[Trace]) -> Row:
    rates = [len(r.latency_ns) / (float(r.latency_ns.max()) * 1e-9) for r in theirs]
    ratio, words = _ratio(rates, [items_per_second(t) for t in ours])
    measured = f"accel/LoadGen {words}, LoadGen {np.mean(rates):.1f}/s"
    return _real("offline samples/s", "within 1 %", measured, abs(ratio - 1) <= OFFLINE_RATIO)


def _server(theirs: list[Recorded], ours: list[Trace], rate: float, seconds: float) -> list[Row]:
    length = round(seconds * 1e9)
    kept = [r.latency_ns[r.due_ns < length] for r in theirs]
    same = all(np.array_equal(r.due_ns[r.due_ns < length], t.due - t.due[0]) for r, t in zip(theirs, ours, strict=True))
    at = f"server at rho {rate * ITEM_S:.1f}, LoadGen's own schedule replayed"
    rows = [_rate(theirs, same, rate, at)]
    measures: list[tuple[str, Callable[[Int64], float]]] = [("mean", lambda x: float(np.mean(x)))]
    measures += [(f"p{100 * p:.0f}", lambda x, p=p: quantile(x, p)) for p in (0.5, 0.9, 0.99)]  # type: ignore[misc]
    said = {name: _ratio([f(x) for x in kept], [f(t.latency_ns) for t in ours]) for name, f in measures}
    near = same and all(abs(said[name][0] - 1) <= SERVER_RATIO for name in ("mean", "p50", "p90"))
    words = ", ".join(f"{name} {text}" for name, (_, text) in said.items())
    return [*rows, _real(f"{at}: latency", "mean, p50 and p90 within 3 %", f"accel/LoadGen {words}", near)]


def _rate(theirs: list[Recorded], same: bool, rate: float, at: str) -> Row:
    """LoadGen's gaps aren't rescaled, so its rate is off by chance; accel's replay has the very same requests."""
    n = sum(len(r.due_ns) - 1 for r in theirs)
    off = n / (sum(float(r.due_ns[-1]) for r in theirs) * 1e-9) / rate - 1
    limit = 3 / math.sqrt(n)
    measured = f"rate {off:+.2%} off, limit {limit:.2%}; due times {'equal' if same else 'NOT equal'} in both"
    criterion = "the same due times to the ns; rate within 3/sqrt(N)"
    return _real(f"{at}: arrivals", criterion, measured.replace("%", " %"), same and abs(off) <= limit)
