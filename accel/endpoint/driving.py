"""How is an endpoint driven? The cheapest call, single calls, then loads; each is a Result as any other run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from accel.analysis import Estimate
from accel.analysis.online import Trial, enough, generator_was_late, read_trial
from accel.analysis.percentiles import quantile, quantile_estimate, required
from accel.endpoint.bodies import Bodies
from accel.endpoint.driven import Driven, Found, Load
from accel.endpoint.look import Server, still_answers
from accel.endpoint.rows import failed_row, in_words, row_of, why
from accel.endpoint.runs import Runs, Settings, Stopped
from accel.plugins import Named
from accel.result import Phase
from accel.slo import Slo
from accel.study.folder import StudyFolder
from accel.study.live import Live, Target
from accel.study.load import covering
from accel.study.max_qps import FRESH, MOST, Search

MOST_RATE, MOST_REQUESTS = 10_000.0, 1_000_000
"""No endpoint is asked more often than this, a second and in all."""
ELSEWHERE_RATE, ELSEWHERE_REQUESTS = 1_000.0, 100_000
"""On another machine: the search goes no higher, whatever it carries; a rate that the user names may."""
_TRANSPORT_S, _ALONE_S, _CLOSED_S = 1.0, 2.0, 2.0
_AROUND_S, _SHORTEST_S, _LONGEST_S = 1.8, 0.5, 60.0
_LEAD_S = 0.5
"""Load before the counted part, in which connections are opened."""
_START, _LOW = 0.75, 0.2
"""Where the search begins, as part of what the closed loop got; the second where single calls are now and then late."""
_NAMED_SHARE = 0.4
_FEWEST = 8
_GAP_S = 0.01
_ALL_INVALID = "Not one trial of the search was valid, so it says nothing about the limit."
_NO_TIME = "The budget ended before the search for the most requests within the limit: give more --budget."
_PHASES: dict[Load, Phase] = {"search": "search", "fresh": "confirmation", "rate": "load", "closed loop": "load"}


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
        self._runs = Runs(server, folder, settings)
        self._alone_s = self._alone_p_s = self._saturation = 0.0
        self._begun = time.monotonic()

    @property
    def transport_call(self) -> str:
        """Which call stands for the way there."""
        live = self.server.live
        return f"GET {live} on a kept connection" if live else "a connection opened and closed"

    def run(self) -> None:
        """Everything in order. Raises Stopped where it can't go on, ChildFailed if the measuring process dies."""
        with self._runs.live("live" if self.server.live else "connect", 1) as live:
            self._transport(live)
        with self._runs.live("infer", 1) as live:
            self._alone(live)
        with self._runs.live("infer", self.settings.connections) as live:
            if self.server.local:
                self._closed(live)
            self._named(live)
            if self.limit is not None and (self.settings.limit is not None or not self.settings.rates):
                self._search(live, self.limit)

    # --- single calls ------------------------------------------------------------------------------------------

    def _transport(self, live: Live) -> None:
        self._tell(f"the way there: {self.transport_call}")
        # Connections opened without a pause would fill the queue of those the server has yet to accept.
        single = Named("single_stream", {} if self.server.live else {"gap_s": _GAP_S})
        part_s = self._part(_TRANSPORT_S)
        result, trace = self._runs.run(live, "transport", "measure", None, single, part_s, gently=True)
        latency = trace.counted().ok().latency_ns * 1e-9
        if len(latency):
            self.transport = _median(latency)
        else:
            self.notes.append(f"The way there couldn't be measured: {why(result, self._runs.errors(trace))}.")

    def _alone(self, live: Live) -> None:
        """Service time of one request after another; sets the assumed limit where one is needed."""
        self._tell("one request after another")
        single = Named("single_stream")
        result, trace = self._runs.run(live, "alone", "screening", "latency", single, self._part(_ALONE_S))
        latency = trace.counted().ok().latency_ns * 1e-9
        if not len(latency):
            raise Stopped(f"not one request was answered: {why(result, self._runs.errors(trace))}")
        self.service, self.service_p99 = _median(latency), quantile_estimate(latency, 0.99, unit="s")
        self._alone_s = quantile(latency, 0.5)
        self._runs.client_s = (result.cpu_s or 0.0) / max(1, len(trace))
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
        row = self._driven(live, f"closed-{clients}", "closed loop", scenario, self._part(_CLOSED_S), 0)[0]
        self._saturation = row.completed or 0.0
        self._check_alive(row)

    def _named(self, live: Live) -> None:
        """The rates that the user gave, in their order, for equal shares of the time."""
        rates = self.settings.rates
        if not rates:
            return
        p = 0.99 if self.limit is None else max(0.99, self.limit.p)
        share = _NAMED_SHARE if self.settings.limit is not None else 1.0
        each_s = share * self._left_s() / len(rates) - _AROUND_S
        for i, rate in enumerate(rates, 1):
            self._tell(f"{rate:g} requests/s")
            length_s = max(_SHORTEST_S, min(each_s, 1.05 * required(p) / rate, _LONGEST_S))
            self._at(live, f"rate-{i:02d}", "rate", rate, length_s, 1000 + i)

    def _search(self, live: Live, limit: Slo) -> None:
        if self._alone_s > limit.seconds:
            self.found = _nowhere("a single call already takes longer than the limit")
            return
        start = self._saturation or 1 / self._alone_s
        share = _START if self._alone_p_s <= limit.seconds else _LOW
        predicted = min(share * start, self._most())
        most, fresh = trials_within(self._left_s(), 1.05 * enough(limit.p) / predicted)
        search = Search(limit.p, limit.seconds, predicted, self.settings.seed, most=most, fresh=fresh)
        flags: tuple[str, ...] = ("unfinished",)
        try:
            flags = self._trials(live, search, limit)
        finally:
            self.found = _found(search, flags)
            if self.found is None:
                self.notes.append(_ALL_INVALID if search.trials else _NO_TIME)

    def _trials(self, live: Live, search: Search, limit: Slo) -> tuple[str, ...]:
        """Make the trials that the search asks for; gives what must be said about how it ended."""
        while (rate := search.ask()) is not None:
            if rate > self._most():
                return ("bounded",)
            number = 1 + len(search.trials)
            share_s = self._left_s() / (search.most - len(search.trials)) - _AROUND_S
            length_s = max(_SHORTEST_S, min(1.05 * enough(limit.p) / rate, share_s))
            if length_s + _AROUND_S > self._left_s() + 1.0:
                return ("unfinished",)
            kind: Load = "fresh" if search.phase == "confirmation" else "search"
            row = self._at(live, f"search-{number:02d}", kind, rate, length_s, number, search)
            self._tell(f"{rate:.4g} requests/s: {in_words(row, limit)}")
        return ()

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
        """One open load, told to the search if it is one of its trials."""
        most = MOST_REQUESTS if self.server.local else ELSEWHERE_REQUESTS
        if self._runs.sent + rate * (length_s + _LEAD_S + 1) > most:
            raise Stopped(f"{most:,} requests are the most that one endpoint is sent, and {self._runs.sent:,} were")
        limit_s = None if self.limit is None else self.limit.seconds
        scenario = covering(Named("server", {"rate": rate, "lead_s": _LEAD_S}), limit_s)
        row, trial_read = self._driven(live, run_id, load, scenario, length_s, trial)
        if search is not None:
            search.tell(trial_read())
        self._check_alive(row)
        return row

    def _driven(
        self, live: Live, run_id: str, load: Load, scenario: Named, seconds: float, trial: int
    ) -> tuple[Driven, Callable[[], Trial]]:
        rate, phase = scenario.fields.get("rate"), _PHASES[load]
        target: Target | None = "online" if load in ("search", "fresh") else None
        try:
            result, trace = self._runs.run(live, run_id, phase, target, scenario, seconds, trial)
        except Stopped as error:
            self.rows.append(failed_row(run_id, load, rate, error.reason))
            raise Stopped(f"`{run_id}` could not be driven: {error.reason}") from None
        row = row_of(
            result,
            trace,
            load=load,
            rate=rate,
            seconds=seconds,
            limit=self.limit,
            errors=self._runs.errors(trace),
            client_s=self._runs.client_s,
        )
        self.rows.append(row)
        limit = self.limit or Slo(0.99, math.inf)

        def read() -> Trial:
            return read_trial(
                trace,
                rate=rate or 0.0,
                p=limit.p,
                slo_s=limit.seconds,
                level=row.validity,
                phase=phase,
                generator_late=generator_was_late(result),
            )

        return row, read

    def _check_alive(self, after: Driven) -> None:
        """After a load that mostly failed: a server that doesn't answer a single request either is left alone."""
        if after.unanswered <= 0.5 * after.requests:
            return
        silent = still_answers(self.server, self.bodies.bodies[0], self.settings.timeout_s)
        if silent:
            raise Stopped(f"the endpoint no longer answered a single request after `{after.run_id}`: {silent}")

    # --- time and bounds ---------------------------------------------------------------------------------------

    def _left_s(self) -> float:
        return self.settings.budget_s - (time.monotonic() - self._begun)

    def _part(self, wished_s: float) -> float:
        """So many seconds, or a fifteenth of a small budget."""
        return max(0.2, min(wished_s, self.settings.budget_s / 15))

    def _most(self) -> float:
        return MOST_RATE if self.server.local else ELSEWHERE_RATE


def trials_within(left_s: float, needed_s: float) -> tuple[int, int]:
    """How many trials, and how many of them fresh at the claim, so that each can be about as long as it needs to be.

    A few long trials say more than many that are too short for the percentile; eight are the least for a fit.

    >>> trials_within(110.0, 5.0), trials_within(40.0, 5.0), trials_within(600.0, 5.0)
    ((16, 6), (8, 2), (20, 6))
    """
    most = min(MOST, max(_FEWEST, int(left_s / (needed_s + _AROUND_S))))
    return most, FRESH if most >= _FEWEST + FRESH else 2


def _median(latency_s: npt.NDArray[Any]) -> Estimate:
    """The median, without an interval where too few calls carry one."""
    few = Estimate(
        value=quantile(latency_s, 0.5),
        low=None,
        high=None,
        n=len(latency_s),
        unit="s",
        method=f"{len(latency_s)} requests are too few for an interval",
    )
    return quantile_estimate(latency_s, 0.5, unit="s") or few


def _found(search: Search, flags: tuple[str, ...]) -> Found | None:
    """What the search came to; None if not one trial could be used."""
    said = search.conclusion()
    if said is None:
        return None
    return Found(
        claim=said.claim,
        crossing=said.crossing,
        low=said.low,
        high=said.high,
        lowest_fail=said.lowest_fail,
        flags=(*said.flags, *flags),
        validity=said.level,
        method=said.method,
    )


def _nowhere(method: str) -> Found:
    return Found(
        claim=0.0, crossing=0.0, low=None, high=None, lowest_fail=None, flags=(), validity="valid", method=method
    )
