"""The latency of any function, as its users see it: from schedule, in a process of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel import plugins, units
from accel.analysis import Estimate
from accel.analysis.percentiles import quantile_estimate
from accel.errors import InputError
from accel.measurement.machine import detect, env_id
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result, SetUp, Witness
from accel.study import defaults
from accel.study.folder import StudyFolder
from accel.study.live import Live, Turn
from accel.study.prepare import Prepared
from accel.study.profiles import profile as profile_of
from accel.study.requests import REQUEST, Calls, calls


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one measurement says; times in seconds, None where the sample is too small to carry the number.

    latency: "from schedule" (finished - due, open loop) or "closed loop" (one call after another).
    keeps_up: False if the queue kept growing: then the latencies say how long it was measured, not how fast it is.
    """

    p50: Estimate | None
    p90: Estimate | None
    p99: Estimate | None
    service_p50: Estimate | None
    latency: str
    rate: float | None
    answered_per_s: float
    requests: int
    errors: int
    keeps_up: bool
    validity: str
    reason: str
    witnesses: tuple[Witness, ...]
    result: Result

    def __str__(self) -> str:
        def shown(e: Estimate | None) -> str:
            if e is None:
                return "not shown (too few requests)"
            ends = [units.show_seconds(x) if x is not None else "?" for x in (e.low, e.high)]
            return f"{units.show_seconds(e.value)} [{ends[0]}, {ends[1]}]"

        asked = f"{self.rate:g} requests/s" if self.rate else "one after another"
        lines = [
            f"{self.requests} requests, {asked}: {self.validity}{', ' + self.reason if self.reason else ''}",
            *(f"  p{p} {shown(e)}" for p, e in ((50, self.p50), (90, self.p90), (99, self.p99))),
            f"  latency {self.latency}; service time p50 {shown(self.service_p50)}",
        ]
        if not self.keeps_up:
            lines.append("  It doesn't keep up with this rate: the queue grew until the end.")
        return "\n".join(lines)


def measure(
    function: Callable[..., Any] | str,
    samples: Any = None,
    *,
    rate: float | None = None,
    duration: str | float = "10s",
    arrivals: str = "poisson",
    workers: int = 1,
    seed: int = 0,
) -> Measurement:
    """Measure a function, or a model file's plain form, under requests that arrive by themselves.

    rate: requests per second, arriving as a Poisson process fixed beforehand; None: one call after another.
    Each request is one item of `samples` (see `accel.study.requests.calls`). The function runs in a process of its own.
    Raises InputError for wrong arguments and ChildFailed if the function can't run there.
    """
    if not callable(function):
        raise InputError(
            f"measure() takes a function, but got a {type(function).__name__}. For a model file use accel.bench(path)."
        )
    if rate is not None and not (isinstance(rate, int | float) and 0 < rate <= 1e6):
        raise InputError(f"The rate must be above 0 and at most 1,000,000 requests per second, but is `{rate}`.")
    if not isinstance(workers, int) or workers < 1:
        raise InputError(f"workers must be a whole number from 1, but is `{workers}`.")
    seconds = units.seconds(duration, "duration")
    scenario = Named("single_stream") if rate is None else Named("server", {"rate": float(rate), "arrivals": arrivals})
    with tempfile.TemporaryDirectory(prefix="accel-measure-") as place:
        return _measured(calls(function, samples), scenario, seconds, workers, seed, Path(place) / "study")


def _measured(what: Calls, scenario: Named, seconds: float, workers: int, seed: int, place: Path) -> Measurement:
    from accel.samples import materialise

    folder = StudyFolder(place)
    folder.create(resume=False)
    materialise({REQUEST: np.arange(len(what.items))}, None, folder.samples, seed=seed, calibration=0)
    variant = msgspec.structs.replace(defaults.baseline("callable"), instances=workers)
    backend: Any = plugins.make("compilation", variant.backend)
    artefact = folder.artefacts / variant.name
    artefact.mkdir()
    backend.build(what, artefact)
    prepared = Prepared(variant=variant, folder=str(artefact), form="callable", set_up=SetUp(), artefact_bytes=0)
    turn = Turn(
        run_id="measure",
        phase="measure",
        target="latency" if scenario.name == "single_stream" else "online",
        scenario=scenario,
        batching=Named("single"),
        duration_s=seconds,
        trial=0,
    )
    machine = detect()
    with Live(prepared, folder, profile_of("quick"), seed=seed, tag="measure") as live:
        result = live.run(
            turn,
            reference=None,
            check_limit=0.0,
            common=lambda fields: Result(
                study_id="measure", created_unix_ns=time.time_ns(), env_id=env_id(machine), **fields
            ),
        )
    return _read(result, Trace.load(folder.runs / str(result.trace)), scenario)


def _read(result: Result, trace: Trace, scenario: Named) -> Measurement:
    from accel.analysis.online import keeps_up

    counted = trace.counted()
    done = counted.ok()
    failed = len(counted) - len(done)

    def quantile(values: Any, p: float) -> Estimate | None:
        found = quantile_estimate(values * 1e-9, p, unit="s") if len(values) else None
        return None if found is None else msgspec.structs.replace(found, validity=result.validity)

    span = (done.finished.max() - counted.due.min()) * 1e-9 if len(done) else float("nan")
    flagged = [w.sentence for w in result.witnesses if w.level in ("unstable", "invalid")]
    return Measurement(
        p50=quantile(done.latency_ns, 0.5),
        p90=quantile(done.latency_ns, 0.9),
        p99=quantile(done.latency_ns, 0.99),
        service_p50=quantile(done.service_ns, 0.5),
        latency=result.latency or "closed loop",
        rate=float(scenario.fields["rate"]) if "rate" in scenario.fields else None,
        answered_per_s=len(done) / span if len(done) else 0.0,
        requests=len(counted),
        errors=failed,
        keeps_up=keeps_up(counted, 1.0) if scenario.name == "server" else True,
        validity=result.validity,
        reason="; ".join([*flagged, result.reason] if result.reason else flagged),
        witnesses=result.witnesses,
        result=result,
    )
