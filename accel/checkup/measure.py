"""What is the smallest difference that this machine can show? `accel doctor --measure`.

Clocks, sleeps, peaks of arithmetic and memory, the loop's lag behind its schedule, and things raced against themselves;
all of it within a budget.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.analysis import Estimate
from accel.analysis.percentiles import quantile_estimate
from accel.checkup import clocks
from accel.checkup.clocks import Clocks
from accel.checkup.contest import Against, Contest, Subject, failed_words, network, stub
from accel.errors import AccelError, InputError
from accel.measurement.machine import Machine, detect
from accel.measurement.peaks import Peaks
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.study import peaks as machine_peaks
from accel.study.live import Live, Turn
from accel.study.profiles import profile
from accel.study.standin import folder_of, stand_in
from accel.units import seconds

LEAST_S, MOST_S = 120.0, 600.0
RATES = (100.0, 1000.0)
_LAG_REQUESTS, _LAG_S = 1020, 3.0
_PARKED_SHARE, _LEAST_BLOCKS, _MOST_BLOCKS = 0.35, 3, (12, 30)
_CLOSING_S = 3.0
Tell = Callable[[str], None]


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How late the loop was behind its own schedule at one rate, with an engine that does nothing, in seconds.

    late: the share of requests late by 1 ms or more. None where the run doesn't carry the quantile.
    """

    rate: float
    requests: int
    p50: Estimate | None
    p99: Estimate | None
    late: float


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """A fixed piece of work done beside every run, `n` times: its median in seconds, how much it scattered.

    spread: standard deviation over mean. largest: farthest from the median, as a fraction of it (one reading).
    """

    n: int
    median: Estimate | None
    spread: float
    largest: float


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """A witness that spoke up: in how many of the runs, and what it said the loudest time."""

    id: str
    runs: int
    of: int
    level: str
    sentence: str


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `accel doctor --measure` found; missing: what couldn't be looked at here, with the reason."""

    machine: Machine
    seconds: float
    clocks: Clocks
    lags: tuple[Lag, ...]
    canary: Canary | None
    contests: tuple[Against, ...]
    fired: tuple[Fired, ...]
    runs: int
    missing: tuple[str, ...]
    peaks: Peaks | None = None


def budget(text: str) -> float:
    """Read --budget; InputError unless it lies between 2 and 10 minutes."""
    asked = seconds(text, "--budget")
    if not LEAST_S <= asked <= MOST_S:
        raise InputError(f"--budget of `accel doctor --measure` must lie between 2m and 10m, but is `{text}`.")
    return asked


def measure(budget_s: float, tell: Tell = lambda _: None, seed: int = 0) -> Measured:
    """Look at everything in about `budget_s`; the races get what the rest leaves, and end with a whole block.

    Raises VariantError if not even a stub can be run.
    """
    begun, drift = time.monotonic(), clocks.Drift()
    missing: list[str] = []
    with tempfile.TemporaryDirectory(prefix="accel-measure-") as root:
        place = Path(root)
        tell("clock and sleeps")
        looked = clocks.look()
        peaks = _peaks(tell, missing)
        lags, results = _lags(place, tell)
        subjects = _subjects(place, tell, missing)
        contests, raced = _races(subjects, place, begun + budget_s - _CLOSING_S, tell, missing, seed)
    results += raced
    ppm, over_s = drift.ppm()
    machine = detect()
    return Measured(
        machine=machine,
        seconds=time.monotonic() - begun,
        clocks=msgspec.structs.replace(looked, ppm=ppm, over_s=over_s),
        lags=tuple(lags),
        canary=canary(results),
        contests=tuple(contests),
        fired=fired(results),
        runs=len(results),
        missing=(*missing, *_never_seen(results)),
        peaks=peaks,
    )


def _peaks(tell: Tell, missing: list[str]) -> Peaks | None:
    """What the machine can do at most, measured once more: a study takes over what is kept from here."""
    try:
        return machine_peaks.renewed(detect(), tell=tell)
    except AccelError as error:
        missing.append(f"the machine's peaks: {failed_words(error)}")
        return None


def _lags(place: Path, tell: Tell) -> tuple[list[Lag], list[Result]]:
    """The null engine in a measure child at each rate, long enough for a p99."""
    folder = folder_of(place / "lag")
    found, results = [], []
    with Live(stand_in(folder, "null", backend="null"), folder, profile("quick"), seed=1, tag="lag") as live:
        for rate in RATES:
            tell(f"the loop's lag at {rate:g}/s")
            turn = Turn(
                run_id=f"lag-{rate:g}",
                phase="measure",
                target="online",
                scenario=Named("server", {"rate": rate, "tail_s": 0.0}),
                batching=Named("single"),
                duration_s=max(_LAG_S, _LAG_REQUESTS / rate),
                trial=0,
            )
            result = live.run(turn, reference=None, check_limit=1.0, common=_result)
            results.append(result)
            found.append(lag_of(Trace.load(folder.runs / str(result.trace)), rate))
    return found, results


def _result(fields: dict[str, Any]) -> Result:
    return Result(created_unix_ns=time.time_ns(), study_id="doctor", **fields)


def lag_of(trace: Trace, rate: float) -> Lag:
    """Lag of the counted requests of one run."""
    late_s = trace.lag_ns()[trace.warmup == 0] * 1e-9
    return Lag(
        rate=rate,
        requests=len(late_s),
        p50=quantile_estimate(late_s, 0.5, unit="s"),
        p99=quantile_estimate(late_s, 0.99, unit="s"),
        late=float(np.mean(late_s >= 1e-3)),
    )


def _subjects(place: Path, tell: Tell, missing: list[str]) -> list[Subject]:
    tell("preparing what is raced")
    found = [stub(place)]
    try:
        real = network(place, tell)
    except AccelError as error:
        missing.append(f"a real network: {failed_words(error)}")
        return found
    if real is None:
        missing.append("a real network: ONNX Runtime isn't installed (pip install onnxruntime)")
        return found
    return [*found, real]


def _races(
    subjects: Sequence[Subject], place: Path, deadline: float, tell: Tell, missing: list[str], seed: int
) -> tuple[list[Against], list[Result]]:
    """Parked processes first (as in `quick`), then a fresh one for every run (as in all other profiles)."""
    begun = time.monotonic()
    ends = (begun + _PARKED_SHARE * (deadline - begun), deadline)
    found: list[Against] = []
    results: list[Result] = []
    for fresh, end, most in zip((False, True), ends, _MOST_BLOCKS, strict=True):
        with ExitStack() as stack:
            contests = [stack.enter_context(Contest(s, place, fresh=fresh, seed=seed)) for s in subjects]
            _blocks(contests, (end, deadline), most, tell, missing)
        found += [one for contest in contests for one in contest.found()]
        results += [result for contest in contests for result in contest.results]
    return found, results


def _blocks(contests: list[Contest], ends: tuple[float, float], most: int, tell: Tell, missing: list[str]) -> None:
    """Whole blocks of all subjects until their time is up; one that fails is left out.

    ends: the end of these blocks' share of the time, and of all time: the first three may use more than their share.
    """
    longest = 0.0
    kind = "a fresh process a run" if contests[0].fresh else "parked processes"
    live = list(contests)
    for number in range(most):
        start = time.monotonic()
        if not live or (number and start + longest > ends[number < _LEAST_BLOCKS]):
            return
        tell(f"raced against itself, {kind}: block {number + 1}")
        for contest in list(live):
            try:
                contest.block()
            except AccelError as error:
                missing.append(f"{contest.subject.name}, {kind}: {failed_words(error)}")
                live.remove(contest)
        longest = max(longest, time.monotonic() - start)


def canary(results: Sequence[Result]) -> Canary | None:
    """The canaries of all runs together; None where no run had one."""
    found = np.array([s for r in results if r.canary_s is not None for s in r.canary_s])
    if len(found) < 2:
        return None
    middle = float(np.median(found))
    return Canary(
        n=len(found),
        median=quantile_estimate(found, 0.5, unit="s"),
        spread=float(found.std(ddof=1) / found.mean()),
        largest=float(np.abs(found / middle - 1).max()),
    )


def fired(results: Sequence[Result]) -> tuple[Fired, ...]:
    """Which witnesses weren't content, the most frequent first."""
    order = ("ok", "warn", "unstable", "invalid")
    loud: dict[str, list[Any]] = {}
    for result in results:
        for witness in result.witnesses:
            if witness.level != "ok":
                loud.setdefault(witness.id, []).append(witness)
    found = []
    for name, heard in loud.items():
        worst = max(heard, key=lambda w: (order.index(w.level), w.value))
        found.append(Fired(id=name, runs=len(heard), of=len(results), level=worst.level, sentence=worst.sentence))
    return tuple(sorted(found, key=lambda f: (-f.runs, f.id)))


def _never_seen(results: Sequence[Result]) -> list[str]:
    """Sources that no run could read."""
    everywhere = [set(r.witness_missing) for r in results]
    return (
        [f"{source} (this machine has no such source)" for source in sorted(set.intersection(*everywhere))]
        if everywhere
        else []
    )
