"""How is an endpoint driven? The cheapest call, single calls, then loads; each is a Result as any other run."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec
import numpy as np

from accel.analysis import Estimate
from accel.analysis.online import enough, generator_was_late, latencies_s, read_trial
from accel.analysis.percentiles import carries, quantile, quantile_estimate, required
from accel.analysis.serving import Serving, serving
from accel.compilation.endpoint import FAILURES
from accel.errors import VariantError
from accel.measurement.noise import validity
from accel.measurement.trace import ERROR, OK, UNFINISHED, Trace
from accel.plugins import Named
from accel.recipe import Slo, Variant
from accel.result import Phase, Result, SetUp, Witness
from accel.study.bodies import Bodies
from accel.study.driven import Driven, Found
from accel.study.folder import StudyFolder
from accel.study.live import Live, Target, Turn
from accel.study.load import covering
from accel.study.max_qps import MOST, Search
from accel.study.prepare import Prepared
from accel.study.profiles import profile
from accel.study.serverlook import Server, still_answers
from accel.units import show_seconds

NAME = "endpoint"
MOST_RATE, MOST_REQUESTS = 10_000.0, 1_000_000
"""No endpoint is asked more often than this, a second and in all."""
ELSEWHERE_RATE, ELSEWHERE_REQUESTS = 1_000.0, 100_000
"""On another machine: the search goes no higher, whatever it carries; a rate that the user names may."""
_TRANSPORT_S, _ALONE_S, _CLOSED_S = 1.0, 2.0, 2.0
_AROUND_S, _SHORTEST_S, _LONGEST_S = 1.8, 0.5, 60.0
_LEAD_S = 0.5
"""Load before the counted part, in which connections are opened."""
_START, _LOW = 0.75, 0.2
_BUSY_WARN, _BUSY = 0.3, 0.6
_GIVEN_UP = 20

Load = Literal["rate", "search", "fresh", "closed loop"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: limit or None, rates by name, connections, seconds in all, seconds for one answer."""

    limit: Slo | None
    rates: tuple[float, ...]
    connections: int
    budget_s: float
    timeout_s: float
    seed: int
    study_id: str
    env_id: str


class Stopped(VariantError):
    """Driving ended early, for the reason given."""


class Drive:
    """One endpoint under its loads; what was driven is in `rows` at any time, whatever ends it."""

    def __init__(
        self, server: Server, bodies: Bodies, folder: StudyFolder, settings: Settings, tell: Callable[[str], None]
    ) -> None:
        self.server, self.bodies, self.folder, self.settings, self._tell = server, bodies, folder, settings, tell
        self.rows: list[Driven] = []
        self.notes: list[str] = []
        self.transport: Estimate | None = None
        self.service: Estimate | None = None
        self.service_p99: Estimate | None = None
        self.limit = settings.limit
        self.found: Found | None = None
        self._alone_s = self._alone_p_s = self._client_s = self._saturation = 0.0
        self._begun, self._sent, self._read = time.monotonic(), 0, 0

    @property
    def transport_call(self) -> str:
        """Which call stands for the way there."""
        if not self.server.live:
            return "a connection opened and closed"
        return f"GET {self.server.live} on a kept connection"

    def run(self) -> None:
        """Everything in order. Raises Stopped where it can't go on, ChildFailed if the measuring process dies."""
        with self._live("connect" if not self.server.live else "live", 1) as live:
            self._transport(live)
        with self._live("infer", 1) as live:
            self._alone(live)
        with self._live("infer", self.settings.connections) as live:
            if self.server.local:
                self._closed(live)
            self._named(live)
            if self.limit is not None and not (self.settings.limit is None and self.settings.rates):
                self._search(live, self.limit)

    # --- single calls ------------------------------------------------------------------------------------------

    def _transport(self, live: Live) -> None:
        self._tell(f"the way there: {self.transport_call}")
        done = self._run(live, "transport", "measure", None, Named("single_stream"), self._part(_TRANSPORT_S), 0)
        latency = done[1].counted().ok().latency_ns * 1e-9
        self.transport = quantile_estimate(latency, 0.5, unit="s")
        if self.transport is None:
            self.notes.append(f"The way there couldn't be measured: {_why(done[0], self._errors(done[1]))}.")

    def _alone(self, live: Live) -> None:
        """Service time of one request after another; sets the assumed limit where one is needed."""
        self._tell("one request after another")
        result, trace = self._run(
            live, "alone", "screening", "latency", Named("single_stream"), self._part(_ALONE_S), 0
        )
        latency = trace.counted().ok().latency_ns * 1e-9
        if not len(latency):
            raise Stopped(f"not one request was answered: {_why(result, self._errors(trace))}")
        self.service, self.service_p99 = (quantile_estimate(latency, p, unit="s") for p in (0.5, 0.99))
        self._alone_s = quantile(latency, 0.5)
        self._client_s = (result.cpu_s or 0.0) / max(1, len(trace))
        if self.limit is None and not self.settings.rates:
            self.limit = Slo(0.9, float(f"{4 * self._alone_s:.3g}"))
        if self.limit is not None:
            self._alone_p_s = quantile(latency, self.limit.p)

    # --- loads -------------------------------------------------------------------------------------------------

    def _closed(self, live: Live) -> None:
        """All connections asking again as soon as they are answered: what a closed-loop tool sees, and saturation."""
        clients = self.settings.connections
        self._tell(f"closed loop, {clients} at a time")
        scenario = Named("closed_loop", {"k": clients})
        row = self._driven(live, f"closed-{clients}", "closed loop", None, scenario, self._part(_CLOSED_S), 0)
        self._saturation = row.completed if math.isfinite(row.completed) else 0.0

    def _named(self, live: Live) -> None:
        """The rates that the user gave, in their order."""
        rates = self.settings.rates
        p = 0.99 if self.limit is None else max(0.99, self.limit.p)
        for i, rate in enumerate(rates):
            searching = self.settings.limit is not None
            left_s = self._left_s() * (0.4 if searching and i == 0 else 1.0)
            if i == 0:
                each_s = left_s / len(rates) - _AROUND_S
            needed_s = 1.05 * max(required(p), 1000) / rate
            length_s = min(max(_SHORTEST_S, min(each_s, needed_s)), _LONGEST_S)
            self._at(live, f"rate-{i + 1:02d}", "rate", rate, length_s, 1000 + i)

    def _search(self, live: Live, limit: Slo) -> None:
        if self._alone_s > limit.seconds:
            self.found = Found(
                claim=0.0,
                crossing=0.0,
                low=None,
                high=None,
                lowest_fail=None,
                flags=(),
                validity="valid",
                method="a single call already takes longer than the limit",
            )
            return
        start = self._saturation or 1 / self._alone_s
        share = _START if self._alone_p_s <= limit.seconds else _LOW
        search = Search(limit.p, limit.seconds, min(share * start, self._most()), self.settings.seed)
        flags: tuple[str, ...] = ()
        try:
            for rate in self._asked(search):
                if rate > self._most():
                    flags = ("bounded",)
                    break
                length_s = self._length_s(rate, MOST - len(search.trials), limit.p)
                if length_s + _AROUND_S > self._left_s() + 1.0:
                    flags = ("unfinished",)
                    break
                number = 1 + len(search.trials)
                kind: Load = "fresh" if search.phase == "confirmation" else "search"
                row = self._at(live, f"search-{number:02d}", kind, rate, length_s, number, search)
                self._tell(f"{rate:.4g}/s: {_short(row, limit)}")
        except (Stopped, KeyboardInterrupt):
            self._conclude(search, ("unfinished",))
            raise
        self._conclude(search, flags)

    def _asked(self, search: Search) -> Iterator[float]:
        while (rate := search.ask()) is not None:
            yield rate

    def _conclude(self, search: Search, flags: tuple[str, ...]) -> None:
        said = search.conclusion()
        if said is None:
            return
        self.found = Found(
            claim=said.claim,
            crossing=said.crossing,
            low=said.low,
            high=said.high,
            lowest_fail=said.lowest_fail,
            flags=(*said.flags, *flags),
            validity=said.level,
            method=said.method,
        )

    def _at(
        self,
        live: Live,
        run_id: str,
        load: Load,
        rate: float,
        length_s: float,
        trial: int,
        search: Search | None = None,
    ) -> Driven:
        """One open load."""
        most = MOST_REQUESTS if self.server.local else ELSEWHERE_REQUESTS
        if self._sent + rate * (length_s + _LEAD_S + 1) > most:
            raise Stopped(f"{most:,} requests are the most that one endpoint is sent, and {self._sent:,} were")
        limit_s = None if self.limit is None else self.limit.seconds
        scenario = covering(Named("server", {"rate": rate, "lead_s": _LEAD_S}), limit_s)
        return self._driven(live, run_id, load, rate, scenario, length_s, trial, search)

    def _driven(
        self,
        live: Live,
        run_id: str,
        load: Load,
        rate: float | None,
        scenario: Named,
        seconds: float,
        trial: int,
        search: Search | None = None,
    ) -> Driven:
        phase: Phase = {"search": "search", "fresh": "confirmation"}.get(load, "load")  # type: ignore[assignment]
        target: Target | None = "online" if load in ("search", "fresh") else None
        result, trace = self._run(live, run_id, phase, target, scenario, seconds, trial, rate)
        if search is not None and self.limit is not None:
            search.tell(
                read_trial(
                    trace,
                    rate=rate or 0.0,
                    p=self.limit.p,
                    slo_s=self.limit.seconds,
                    level=result.validity,
                    phase=phase,
                    generator_late=generator_was_late(result),
                )
            )
        row = self._row(result, trace, load, rate, seconds)
        self.rows.append(row)
        if row.unanswered > 0.5 * row.requests:
            self._check_alive(run_id)
        return row

    def _check_alive(self, after: str) -> None:
        """Whether it answers a single request; a server that doesn't is left alone."""
        silent = still_answers(self.server, self.bodies.bodies[0], self.settings.timeout_s)
        if silent:
            raise Stopped(f"the endpoint no longer answered a single request after `{after}`: {silent}")

    # --- one run -----------------------------------------------------------------------------------------------

    def _live(self, call: str, instances: int) -> Live:
        server = self.server
        fields = {"url": server.url, "protocol": server.protocol, "timeout_s": self.settings.timeout_s, "call": call}
        fields |= {"binary": True} if server.binary else {}
        variant = Variant(name=NAME, backend=Named(NAME, fields), instances=instances)
        prepared = Prepared(
            variant=variant, folder=str(self.folder.artefacts / NAME), form="callable", set_up=SetUp(), artefact_bytes=0
        )
        return Live(
            prepared, self.folder, profile("quick"), seed=self.settings.seed, tag=f"{call}-{instances}",
            patience_s=60.0 + self.settings.timeout_s,
        )  # fmt: skip

    def _run(
        self,
        live: Live,
        run_id: str,
        phase: Phase,
        target: Target | None,
        scenario: Named,
        seconds: float,
        trial: int,
        rate: float | None = None,
    ) -> tuple[Result, Trace]:
        turn = Turn(
            run_id=run_id,
            phase=phase,
            target=target,
            scenario=scenario,
            batching=Named("single"),
            duration_s=seconds,
            trial=trial,
            role="baseline",
        )

        def common(fields: dict[str, Any]) -> Result:
            return self._result(fields)

        try:
            result = live.run(turn, reference=None, check_limit=0.0, common=common)
        except VariantError as error:
            self._result(
                {
                    "run_id": run_id,
                    "phase": phase,
                    "variant": live.prepared.variant,
                    "role": "baseline",
                    "status": "failed",
                    "reason": error.reason,
                    "target": target,
                    "scenario": scenario,
                    "log_tail": getattr(error, "log_tail", ""),
                }
            ).save(self.folder.runs)
            raise Stopped(f"{run_id}: {error.reason}".rstrip(".")) from None
        trace = Trace.load(self.folder.runs / str(result.trace))
        self._sent += len(trace)
        return self._judged(result, trace, rate), trace

    def _result(self, fields: dict[str, Any]) -> Result:
        return Result(
            study_id=self.settings.study_id, created_unix_ns=time.time_ns(), env_id=self.settings.env_id, **fields
        )

    def _judged(self, result: Result, trace: Trace, rate: float | None) -> Result:
        """The run as a reading of somebody's server: what it refuses is late, not a fault of the measurement (W13), but
        a generator that fills its own processor is one (W11).
        """
        witnesses = [_told(w) for w in result.witnesses]
        if rate is not None:
            witnesses.append(_busy(rate * self._client_s))
        judged = msgspec.structs.replace(result, witnesses=tuple(witnesses), validity=validity(witnesses))
        judged.save(self.folder.runs)
        return judged

    def _errors(self, trace: Trace) -> dict[str, int]:
        """Why calls of the last run failed: the last lines of the engine's list, one a failed call of the trace."""
        failed = int((trace.status == ERROR).sum())
        try:
            lines = (self.folder.artefacts / NAME / FAILURES).read_text("utf-8", "replace").splitlines()
        except OSError:
            return {}
        return dict(Counter(lines[len(lines) - failed :]).most_common()) if failed else {}

    def _row(self, result: Result, trace: Trace, load: Load, rate: float | None, seconds: float) -> Driven:
        counted = trace.counted()
        latency = latencies_s(trace)
        limit_s = None if self.limit is None else self.limit.seconds
        workers = result.variant.instances
        rates = serving(
            trace, requested=rate, slo_s=limit_s, window_s=None if rate is None else seconds, workers=workers
        )
        p50, p99 = (_marked(quantile_estimate(latency, p, unit="s"), result) for p in (0.5, 0.99))
        errors = self._errors(trace)
        reasons = [w.sentence for w in result.witnesses if w.level in ("unstable", "invalid")]
        if _gave_up(trace):
            reasons.append(f"Stopped after {_GIVEN_UP} failures in a row.")
        return Driven(
            run_id=result.run_id,
            load=load,
            rate=rate,
            offered=rates.offered,
            completed=rates.completed,
            goodput=rates.goodput,
            p50=p50,
            p99=p99,
            slo_s=self._slo_quantile(latency),
            requests=len(counted),
            unanswered=int((counted.status != OK).sum()),
            errors=errors,
            waited=_waited(counted, trace, workers) if rate is not None else 0.0,
            generator=0.0 if rate is None else rate * self._client_s,
            keeps_up=rate is None or rates.keeps_up or bool(errors),
            validity=_limited(rates, result),
            reason=" ".join(reasons),
        )

    def _slo_quantile(self, latency: Any) -> float | None:
        if self.limit is None or not carries(len(latency), self.limit.p):
            return None
        return quantile(latency, self.limit.p)

    # --- time --------------------------------------------------------------------------------------------------

    def _left_s(self) -> float:
        return self.settings.budget_s - (time.monotonic() - self._begun)

    def _part(self, wished_s: float) -> float:
        """So many seconds, or a fifteenth of a small budget."""
        return max(0.2, min(wished_s, self.settings.budget_s / 15))

    def _length_s(self, rate: float, trials_left: int, p: float) -> float:
        share_s = self._left_s() / trials_left - _AROUND_S
        return max(_SHORTEST_S, min(1.05 * enough(p) / rate, share_s))

    def _most(self) -> float:
        return MOST_RATE if self.server.local else ELSEWHERE_RATE


def _told(found: Witness) -> Witness:
    """W13 counts what the server refuses, and W10 how long it takes, which in a server changes with its queue: both are
    what is measured here.
    """
    if found.id in ("W10", "W13") and found.level in ("unstable", "invalid"):
        return msgspec.structs.replace(found, level="warn")
    return found


def _busy(share: float) -> Witness:
    """W11: how much of one core the generator itself takes; above 60 % its own work is in the latencies."""
    level: Literal["ok", "warn", "unstable"] = "ok" if share <= _BUSY_WARN else "warn" if share <= _BUSY else "unstable"
    return Witness(
        id="W11",
        value=share,
        warn=_BUSY_WARN,
        unstable=_BUSY,
        invalid=None,
        level=level,
        sentence=f"Sending and reading takes {100 * share:.2g} % of one core at this rate, which is in the latencies.",
    )


def _limited(rates: Serving, result: Result) -> Any:
    """Invalid, too, where the loop rather than the endpoint didn't keep up."""
    return "invalid" if rates.generator_limited else result.validity


def _marked(estimate: Estimate | None, result: Result) -> Estimate | None:
    return None if estimate is None else msgspec.structs.replace(estimate, validity=result.validity)


def _waited(counted: Trace, trace: Trace, workers: int) -> float:
    """Share of counted requests that queued for a connection for more than a millisecond."""
    if not len(counted):
        return 0.0
    taken = trace.started - trace.due - trace.lag_ns(workers)
    late = taken[trace.warmup == 0] > 1_000_000
    return float(np.mean(late))


def _gave_up(trace: Trace) -> bool:
    """True if the loop ended the run since so many calls in a row had failed."""
    ended = trace.status[trace.status != UNFINISHED]
    return len(ended) < len(trace) and len(ended) >= _GIVEN_UP and bool((ended[-_GIVEN_UP:] == ERROR).all())


def _why(result: Result, errors: dict[str, int]) -> str:
    return ", ".join(f"{kind} {n} times" for kind, n in errors.items()) or result.reason or "no call was answered"


def _short(row: Driven, limit: Slo) -> str:
    if row.validity == "invalid" or row.slo_s is None:
        return "invalid" if row.validity == "invalid" else "too few requests to show the limit's percentile"
    seen = show_seconds(row.slo_s) if math.isfinite(row.slo_s) else "never answered"
    return f"p{100 * limit.p:.6g} {seen}, {'within' if row.slo_s <= limit.seconds else 'late'}"
