"""V23: through HTTP a freeze of the server is seen by all who come meanwhile, and waiting is what it is in process."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.analysis.estimates import t_interval
from accel.analysis.percentiles import quantile
from accel.checkup.freeze import Freeze, scenario_of
from accel.compilation.endpoint import NUMBER, write_calls
from accel.endpoint.bodies import build
from accel.endpoint.look import look
from accel.endpoint.runs import NAME, Runs, Settings
from accel.measurement.stall import Stall
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.samples import materialise
from accel.study.folder import StudyFolder
from accel.study.live import Live, Turn
from accel.study.profiles import profile
from accel.study.standin import folder_of, stand_in
from tests.known_server import KnownServer, in_process_of_its_own
from tests.validation.experiment import Row

SMALL = Freeze(service_s=0.002, rate=60.0, duration_s=2.5, stall_s=0.6, after_s=0.8)
LARGE = Freeze(service_s=0.002, rate=50.0, duration_s=60.0, stall_s=2.0, after_s=20.0)
TOLERANCE, CONTRAST = 0.05, 5.0
SERVICE_S, UTILISATIONS, TRIALS, TRIAL_S = 0.005, (0.3, 0.5), 8, 20.0
AGREES, AGREES_S = 0.10, 300e-6
LIMIT_S = 2400.0


def quick() -> list[Row]:
    """A short freeze of a server in this process: only the contrast, which a busy machine can't hide."""
    begun = time.perf_counter()
    with KnownServer(service_s=SMALL.service_s) as server:
        schedule, closed = both(server.v2_url, SMALL, server.send)
    return [_contrast(schedule, closed, SMALL, time.perf_counter() - begun)]


def full() -> Iterator[Row]:
    """The freeze of V6 with a server stopped by SIGSTOP, and p99 beside the engine of the same service time."""
    yield from quick()
    begun = time.perf_counter()
    with in_process_of_its_own(service_s=LARGE.service_s) as server:
        schedule, closed = both(server.v2_url, LARGE, server.send)
    took = time.perf_counter() - begun
    yield _theory(schedule, LARGE, took)
    yield _contrast(schedule, closed, LARGE, took)
    yield from agreement(TRIALS, TRIAL_S)


# --- the freeze ----------------------------------------------------------------------------------------------------


def both(url: str, freeze: Freeze, send: Callable[[signal.Signals], None]) -> tuple[Trace, Trace]:
    """One freeze of the server behind `url` from schedule, and one in a closed loop; `send` brings it its signals."""
    with endpoint_runs(url) as runs:
        schedule, closed = (_frozen(runs, freeze, view, send) for view in ("from schedule", "closed loop"))
    return schedule, closed


def _frozen(runs: Runs, freeze: Freeze, view: str, send: Callable[[signal.Signals], None]) -> Trace:
    scenario, target = scenario_of(freeze, view)
    with runs.live("infer", 1 if target == "latency" else 8) as live:
        # The freeze that V6 aims at the measure child goes to the server: it begins when the child says it measures.
        live._child._stall = Stall(send, freeze.after_s, freeze.stall_s)
        return runs.run(live, f"freeze-{target}", "measure", target, scenario, freeze.duration_s)[1]


def _contrast(schedule: Trace, closed: Trace, freeze: Freeze, seconds: float) -> Row:
    here, there = (quantile(t.ok().latency_ns * 1e-9, 0.99) for t in (schedule, closed))
    longest = float(closed.ok().latency_ns.max()) * 1e-9
    seen = longest > 0.8 * freeze.stall_s and here > 0.5 * freeze.stall_s
    return _row(
        f"p99 in a closed loop, and from schedule; {freeze.stall_s:g} s frozen in {freeze.duration_s:g} s",
        f"the freeze in the longest of both, from schedule {CONTRAST:g} times the closed loop's p99",
        f"closed {there * 1e3:.3g} ms, the longest {longest:.3g} s, of {len(closed.ok())}; from schedule {here:.3g} s",
        seen and here > CONTRAST * there,
        seconds,
    )


def _theory(schedule: Trace, freeze: Freeze, seconds: float) -> Row:
    truth, seen = freeze.quantile_s(0.99), quantile(schedule.ok().latency_ns * 1e-9, 0.99)
    what = (
        f"p99 from schedule through HTTP; {freeze.stall_s:g} s frozen in {freeze.duration_s:g} s at {freeze.rate:g}/s"
    )
    return _row(what, f"{truth:.4g} s within 5 %", f"{seen:.4g} s", abs(seen / truth - 1) <= TOLERANCE, seconds)


# --- agreement with the same engine in process ---------------------------------------------------------------------


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Figures at one rate, in seconds: p99 over HTTP and in process, one value a trial, and the median way there."""

    rate: float
    http_s: tuple[float, ...]
    inside_s: tuple[float, ...]
    transport_s: float

    @property
    def difference(self) -> tuple[float, float, float]:
        """p99 over HTTP less (p99 in process + transport): mean and 95 % interval over the trials (s)."""
        apart = np.array(self.http_s) - np.array(self.inside_s) - self.transport_s
        return t_interval(apart)


def agreement(trials: int, seconds: float) -> Iterator[Row]:
    """One row a utilisation: a server that sleeps D beside an engine that sleeps D, the same schedules for both."""
    for found, took in agreements(trials, seconds):
        mean, low, high = found.difference
        inside = float(np.mean(found.inside_s))
        most = max(AGREES * inside, AGREES_S)
        yield _row(
            f"p99 over HTTP and in process, D = {SERVICE_S * 1e3:g} ms, {found.rate:g}/s, {trials} trials",
            "they differ by the way there, to 10 % or 300 µs, or the interval of the rest holds 0",
            f"{np.mean(found.http_s) * 1e3:.3g} ms, {inside * 1e3:.3g} ms + {found.transport_s * 1e6:.0f} µs; the rest "
            f"{mean * 1e6:.0f} µs [{low * 1e6:.0f}, {high * 1e6:.0f}]",
            abs(mean) <= most or low <= 0 <= high,
            took,
        )


def agreements(trials: int, seconds: float) -> Iterator[tuple[Agreement, float]]:
    """Both sides at each utilisation, trial by trial in turn, and how long it took."""
    with in_process_of_its_own(service_s=SERVICE_S) as server, endpoint_runs(server.v2_url) as runs:
        transport_s = _transport_s(runs)
        with tempfile.TemporaryDirectory() as place, runs.live("infer", 16) as outside:
            folder = folder_of(Path(place) / "study")
            stub = stand_in(folder, "inside", item_s=SERVICE_S, wait="sleep")
            with Live(stub, folder, profile("quick"), seed=runs.settings.seed, tag="inside") as inside:
                for rho in UTILISATIONS:
                    begun = time.perf_counter()
                    yield (
                        _agreement(runs, outside, inside, folder, rho / SERVICE_S, transport_s, trials, seconds),
                        time.perf_counter() - begun,
                    )


def _agreement(
    runs: Runs,
    outside: Live,
    inside: Live,
    folder: StudyFolder,
    rate: float,
    transport_s: float,
    trials: int,
    seconds: float,
) -> Agreement:
    scenario = Named("server", {"rate": rate})
    http, engine = [], []
    for trial in range(trials):
        name = f"agree-{rate:g}-{trial}"
        inside.park()
        http.append(_p99(runs.run(outside, name, "measure", "online", scenario, seconds, trial)[1]))
        outside.park()
        turn = Turn(
            run_id=name, phase="measure", target="online", scenario=scenario, batching=Named("single"),
            duration_s=seconds, trial=trial,
        )  # fmt: skip
        result = inside.run(turn, reference=None, check_limit=1.0, common=_result)
        engine.append(_p99(Trace.load(folder.runs / str(result.trace))))
    return Agreement(rate=rate, http_s=tuple(http), inside_s=tuple(engine), transport_s=transport_s)


def _transport_s(runs: Runs) -> float:
    with runs.live("live", 1) as live:
        trace = runs.run(live, "transport", "measure", None, Named("single_stream"), 2.0)[1]
    return quantile(trace.counted().ok().latency_ns * 1e-9, 0.5)


def _p99(trace: Trace) -> float:
    return quantile(trace.counted().ok().latency_ns * 1e-9, 0.99)


# --- both ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def endpoint_runs(url: str) -> Iterator[Runs]:
    """A folder whose requests go to this server."""
    server = look(url)
    bodies = build({"x": np.random.Generator(np.random.PCG64(0)).normal(size=(64, 4)).astype(np.float32)}, server)
    settings = Settings(
        limit=None, rates=(), connections=8, budget_s=60.0, timeout_s=10.0, seed=1, study_id="v23", env_id=""
    )
    with tempfile.TemporaryDirectory() as place:
        folder = StudyFolder(Path(place) / "study")
        folder.create(resume=False)
        write_calls(folder.artefacts / NAME, server.place, server.path, server.live, bodies.bodies, "application/json")
        materialise({NUMBER: np.arange(64)}, None, folder.samples, seed=1, calibration=0)
        yield Runs(server, folder, settings)


def _result(fields: dict[str, Any]) -> Result:
    return Result(study_id="v23", created_unix_ns=time.time_ns(), **fields)


def _row(what: str, criterion: str, measured: str, passed: bool, seconds: float) -> Row:
    return Row(
        experiment="V23", what=what, criterion=criterion, measured=measured, passed=passed, kind="real", seconds=seconds
    )
