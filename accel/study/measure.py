"""The latency of any function, as its users see it: from schedule, in a process of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from accel import plugins, units
from accel.analysis import Estimate
from accel.analysis.percentiles import quantile_estimate
from accel.analysis.serving import Serving, serving
from accel.errors import InputError
from accel.measurement.machine import detect, env_id
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result, SetUp, Witness
from accel.slo import Slo, parse_slo
from accel.study import defaults
from accel.study.folder import StudyFolder
from accel.study.live import Live, Turn
from accel.study.load import covering
from accel.study.prepare import Prepared
from accel.study.profiles import profile as profile_of
from accel.study.requests import REQUEST, Calls, calls


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one measurement says; times in seconds, None where the sample is too small to carry the number.

    latency: "from schedule" (finished - due, open loop) or "closed loop" (nobody asks before an answer has come).
    service_p50: what one call took, beside what its caller waited.
    rate: what was asked for; None in a closed loop and for recorded arrivals at their own rate.
    offered, completed: requests that came, and answers given, per second of the window; goodput: those of them that
        came within the limit of `slo`, None without one. answered_per_s counts until the last answer.
    keeps_up: False if the queue kept growing: then the latencies say how long it was measured, not how fast it is.
    validity: "invalid" means that the numbers say nothing about the function; `reason` says why, such as that the
        generator of requests was itself late.
    """

    p50: Estimate | None
    p90: Estimate | None
    p99: Estimate | None
    service_p50: Estimate | None
    latency: str
    rate: float | None
    offered: float
    completed: float
    goodput: float | None
    answered_per_s: float
    requests: int
    errors: int
    keeps_up: bool
    validity: str
    reason: str
    witnesses: tuple[Witness, ...]
    result: Result
    serving: Serving

    def __str__(self) -> str:
        def shown(e: Estimate | None) -> str:
            if e is None:
                return "not shown (too few requests)"
            ends = [units.show_seconds(x) if x is not None else "?" for x in (e.low, e.high)]
            return f"{units.show_seconds(e.value)} [{ends[0]}, {ends[1]}]"

        lines = [
            f"{self.requests} requests, {_asked(self.result.scenario)}: {self.validity}"
            + (f", {self.reason}" if self.reason else ""),
            *(f"  p{p} {shown(e)}" for p, e in ((50, self.p50), (90, self.p90), (99, self.p99))),
            f"  latency {self.latency}; service time p50 {shown(self.service_p50)}",
            f"  {self.serving.sentence}",
            *(f"  Note: {note}." for note in self.result.notes),
        ]
        return "\n".join(lines)


def measure(
    function: Callable[..., Any] | str,
    samples: Any = None,
    *,
    rate: float | None = None,
    duration: str | float = "10s",
    arrivals: str | None = None,
    cv: float | None = None,
    trace: str | Path | None = None,
    concurrency: int | None = None,
    slo: str | None = None,
    inputs: Literal["unique", "same"] = "unique",
    workers: int = 1,
    seed: int = 0,
) -> Measurement:
    """Measure a function under requests that arrive by themselves; each is one item of `samples` (see `calls`).

    rate: requests per second, arriving as a Poisson process fixed beforehand; None: one call after another.
    arrivals: "poisson", "poisson_free", "constant", "gamma" (bursts: `cv` is the gaps' coefficient of variation) or
        "replay" (recorded arrivals: `trace` is a file with a column of seconds and, if you like, one of lengths, for
            which samples of about that length are sent; `rate`, if given, scales them).
    concurrency: instead of a rate, so many clients that each ask again when they are answered (a closed loop).
    slo: a limit such as "p99=20ms"; goodput counts the requests answered within its time.
    inputs: "same" repeats one item, which exposes a cache of answers.
    workers: so many calls run at once, in threads of one process of the function's own; it has to allow that.

    Raises InputError for wrong arguments and ChildFailed if the function can't run there.
    """
    if not callable(function):
        raise InputError(
            f"measure() takes a function, but got a {type(function).__name__}. For a model file use accel.bench(path)."
        )
    if not isinstance(workers, int) or workers < 1:
        raise InputError(f"workers must be a whole number from 1, but is `{workers}`.")
    if inputs not in ("unique", "same"):
        raise InputError(f"inputs must be `unique` or `same`, but is `{inputs}`.")
    scenario = _scenario(rate, arrivals, cv, trace, concurrency)
    limit = None if slo is None else parse_slo(slo)
    seconds = units.seconds(duration, "duration")
    turn = Turn(
        run_id="measure",
        phase="measure",
        target="online" if scenario.name == "server" else "latency",
        scenario=covering(scenario, None if limit is None else limit.seconds),
        batching=Named("single"),
        duration_s=seconds,
        trial=0,
        inputs=inputs,
    )
    with tempfile.TemporaryDirectory(prefix="accel-measure-") as place:
        return _measured(calls(function, samples), turn, limit, workers, seed, Path(place) / "study")


def _scenario(
    rate: float | None, arrivals: str | None, cv: float | None, trace: str | Path | None, concurrency: int | None
) -> Named:
    """Which scenario the arguments ask for; InputError where they contradict each other or hold no possible value."""
    arrivals = arrivals or ("replay" if trace is not None else "gamma" if cv is not None else "poisson")
    if rate is not None and not (isinstance(rate, int | float) and 0 < rate <= 1e6):
        raise InputError(f"The rate must be above 0 and at most 1,000,000 requests per second, but is `{rate}`.")
    if concurrency is not None:
        if rate is not None or trace is not None:
            raise InputError("`concurrency` is a closed loop: each client waits for its answer. Leave out the rate.")
        return _checked(Named("closed_loop", {"k": concurrency}))
    if (trace is not None) != (arrivals == "replay"):
        raise InputError('Recorded arrivals need both arrivals="replay" and trace="arrivals.csv".')
    if cv is not None and arrivals != "gamma":
        raise InputError(f'`cv` belongs to arrivals="gamma", but the arrivals are `{arrivals}`.')
    if rate is None and trace is None:
        if arrivals != "poisson":
            raise InputError(f'arrivals="{arrivals}" needs a rate, such as rate=50 (requests per second).')
        return Named("single_stream")
    fields = {"rate": None if rate is None else float(rate), "arrivals": arrivals, "cv": cv}
    if trace is not None:
        # The child has a working folder of its own.
        fields["trace"] = str(Path(trace).expanduser().resolve())
    return _checked(Named("server", {k: v for k, v in fields.items() if v is not None}))


def _checked(scenario: Named) -> Named:
    """The same, after a plan of one second was made of it: what is wrong is said here and not by a child."""
    plugins.make("scenarios", scenario).plan(1, seed=0, trial=0, duration_s=1.0)
    return scenario


def _measured(what: Calls, turn: Turn, limit: Slo | None, workers: int, seed: int, place: Path) -> Measurement:
    folder, prepared = prepared_calls(what, workers, seed, place)
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
    return _read(result, Trace.load(folder.runs / str(result.trace)), limit, turn.duration_s)


def prepared_calls(what: Calls, workers: int, seed: int, place: Path) -> tuple[StudyFolder, Prepared]:
    """A folder at `place` in which the function can be opened and called with its items, by so many threads at once."""
    from accel.samples import materialise

    folder = StudyFolder(place)
    folder.create(resume=False)
    materialise({REQUEST: np.arange(len(what.items))}, None, folder.samples, seed=seed, calibration=0)
    variant = msgspec.structs.replace(defaults.baseline("callable"), instances=workers)
    if workers > 1:
        variant = msgspec.structs.replace(variant, backend=Named("callable", {"parallel": True}))
    backend: Any = plugins.make("compilation", variant.backend)
    artefact = folder.artefacts / variant.name
    artefact.mkdir()
    backend.build(what, artefact)
    prepared = Prepared(variant=variant, folder=str(artefact), form="callable", set_up=SetUp(), artefact_bytes=0)
    return folder, prepared


def _read(result: Result, trace: Trace, limit: Slo | None, duration_s: float) -> Measurement:
    counted = trace.counted()
    done = counted.ok()

    fields = result.scenario.fields if result.scenario else {}
    rates = serving(
        trace,
        requested=fields.get("rate"),
        slo_s=None if limit is None else limit.seconds,
        # Free gaps end when they end, and a closed loop when it is answered; the others fill their time exactly.
        window_s=None if fields.get("arrivals", "poisson_free") == "poisson_free" else duration_s,
        workers=result.variant.instances,
    )
    if result.latency != "from schedule":
        # A closed loop offers what is completed: there is no rate to keep up with.
        rates = msgspec.structs.replace(rates, keeps_up=True)
    if rates.generator_limited:
        limited = "this rate is more than the harness can offer with so short calls"
        result = msgspec.structs.replace(
            result, validity="invalid", reason="; ".join(filter(None, (limited, result.reason)))
        )

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
        rate=rates.requested,
        offered=rates.offered,
        completed=rates.completed,
        goodput=rates.goodput,
        answered_per_s=len(done) / span if len(done) else 0.0,
        requests=len(counted),
        errors=len(counted) - len(done),
        keeps_up=rates.keeps_up,
        validity=result.validity,
        reason="; ".join([*flagged, result.reason] if result.reason else flagged),
        witnesses=result.witnesses,
        result=result,
        serving=rates,
    )


def _asked(scenario: Named | None) -> str:
    """The load in words."""
    fields = {} if scenario is None else scenario.fields
    if scenario is not None and scenario.name == "closed_loop":
        return f"{fields['k']} at a time"
    if scenario is None or scenario.name != "server":
        return "one after another"
    how = fields["arrivals"]
    said = f"{fields['rate']:g} requests/s" if "rate" in fields else "recorded arrivals at their own rate"
    if how == "gamma":
        return f"{said} in bursts (gaps' coefficient of variation {fields.get('cv', 1.0):g})"
    return said if how == "poisson" or "rate" not in fields else f"{said} ({how})"
