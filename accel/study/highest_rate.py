"""How many requests a second does a function carry within a latency limit? The search, without a study around it."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from accel import units
from accel.analysis import Estimate
from accel.analysis.capacity import Capacity
from accel.analysis.estimates import quantile_across
from accel.analysis.online import Trial, enough, generator_was_late, latencies_s, read_trial
from accel.errors import InputError
from accel.measurement.machine import detect, env_id
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.simulation.predict import capacity
from accel.simulation.service_times import ServiceTimes
from accel.slo import Slo, parse_slo
from accel.study.live import Live, Turn
from accel.study.load import covering
from accel.study.max_qps import MOST, Search
from accel.study.measure import prepared_calls
from accel.study.profiles import profile as profile_of
from accel.study.requests import calls

_ALONE_S = 2.0
_AROUND_S = 1.8
"""Load before and after the counted part of a trial, draining and reading."""
_SHORTEST_S = 0.5
_TOLERATED_S = 1.0
_LOW = 0.2
_SAID = {
    "unconfirmed": "the fresh trials at the claimed rate were above the limit on average",
    "nonmonotone": "a lower rate was slower than a higher one, so a rate below the claim may miss the limit too",
    "generator_limited": "at higher rates the requests themselves came late, so none was tried",
    "indicative": "the trials hold fewer requests than an honest interval needs; a larger budget makes them longer",
    "bracket": "too few trials lie near the limit for a fit; the interval is between passing and failing rates",
    "unfinished": "the budget ended before the search did",
}


class MaxQps(msgspec.Struct, frozen=True, kw_only=True):
    """The most requests a second that stay within the limit.

    claim: the lower 90 % bound of where the limit is met (1/s); 0 where it is met at no rate. low, high: its 95 %
    interval, None at an open end. lowest_fail: the lowest rate that missed the limit in a trial.
    there: the limit's quantile of latency from schedule (s) at the claim, over its fresh trials; None without.
    predicted: where the replay of single calls expected it (1/s). alone_s: that quantile of a call that never waits.
    flags: what must be said beside the claim: unconfirmed, nonmonotone, generator_limited, indicative, bracket,
        unfinished.
    """

    slo: Slo
    claim: float
    crossing: float
    low: float | None
    high: float | None
    lowest_fail: float | None
    there: Estimate | None
    predicted: float
    alone_s: float
    flags: tuple[str, ...]
    validity: str
    method: str
    trials: tuple[Trial, ...]
    elapsed_s: float

    def __str__(self) -> str:
        name = f"p{100 * self.slo.p:.6g}"
        if self.claim <= 0:
            head = f"No rate was within {self.slo}; one call alone takes {units.show_seconds(self.alone_s)} ({name})"
        else:
            head = f"{self.claim:.4g} requests/s within {self.slo} [{_ends(self.low, self.high)}]: {self.validity}"
        lines = [head, *(f"  {flag}: {_SAID[flag]}" for flag in self.flags)]
        if self.there is not None:
            shown = [units.show_seconds(x) if x is not None else "?" for x in (self.there.low, self.there.high)]
            lines.append(f"  {name} there {units.show_seconds(self.there.value)} [{shown[0]}, {shown[1]}]")
        if self.lowest_fail is not None:
            lines.append(f"  lowest rate that missed the limit: {self.lowest_fail:.4g}/s")
        lines.append(f"  {len(self.trials)} trials in {self.elapsed_s:.0f} s, latency from schedule:")
        return "\n".join([*lines, *(f"  {_line(i, t, name, self.slo)}" for i, t in enumerate(self.trials, 1))])


def _ends(low: float | None, high: float | None) -> str:
    return ", ".join("?" if end is None else f"{end:.4g}" for end in (low, high))


def _line(number: int, trial: Trial, name: str, slo: Slo) -> str:
    latency = units.show_seconds(trial.quantile_s) if math.isfinite(trial.quantile_s) else "never answered"
    if trial.level == "invalid":
        said = "invalid: the generator was late" if trial.generator_late else "invalid"
    else:
        said = "within" if trial.passes(slo.seconds) else "late" if trial.keeps_up else "late, the queue grew"
        said += ", unstable" if trial.level == "unstable" else ""
    kind = "fresh" if trial.fresh else "search"
    return f"{number:2d} {kind:6s} {trial.rate:8.4g}/s {name} {latency:>9s} {trial.n:6d} requests  {said}"


def max_qps(
    function: Callable[..., Any],
    samples: Any = None,
    *,
    slo: str,
    budget: str | float = "5m",
    workers: int = 1,
    seed: int = 0,
) -> MaxQps:
    """Search for the most requests per second that a function answers within a latency limit (rule 30).

    Each request is one item of `samples` (see `calls`), arriving as a Poisson process. slo: such as "p99=20ms".
    At most 20 trials, of equal shares of `budget` or as long as the percentile needs if that is shorter (4,000 requests
    at p99). workers: so many calls run at once, in threads of one process of the function's own.

    Raises InputError for wrong arguments or a budget too small for the percentile, and ChildFailed if the function
    can't run.
    """
    if not callable(function):
        raise InputError(
            f"max_qps() takes a function, but got a {type(function).__name__}. For a model file use "
            'accel.bench(path, target="online").'
        )
    if not isinstance(workers, int) or workers < 1:
        raise InputError(f"workers must be a whole number from 1, but is `{workers}`.")
    limit, seconds = parse_slo(slo), units.seconds(budget, "budget")
    with tempfile.TemporaryDirectory(prefix="accel-max-qps-") as place:
        folder, prepared = prepared_calls(calls(function, samples), workers, seed, Path(place) / "study")
        with Live(prepared, folder, profile_of("quick"), seed=seed, tag="max-qps") as live:
            return _Asked(live, folder.runs, limit, seconds, workers, seed).answer()


class _Asked:
    """One search of one function in one child."""

    def __init__(self, live: Live, runs: Path, limit: Slo, budget_s: float, workers: int, seed: int) -> None:
        self._live, self._runs, self._limit = live, runs, limit
        self._budget_s, self._workers, self._seed = budget_s, workers, seed
        self._env_id = env_id(detect())
        self._begun = time.monotonic()
        self._latencies: list[Any] = []

    def answer(self) -> MaxQps:
        alone = (
            self._run("alone", Named("single_stream"), min(_ALONE_S, 0.05 * self._budget_s), trial=0)[1].counted().ok()
        )
        if not len(alone):
            raise InputError("The function answered no call. Try it on one sample first.")
        service = ServiceTimes({1: alone.service_ns})
        p, limit_s = self._limit.p, self._limit.seconds
        predicted = capacity(service, Named("single"), p, limit_s, seed=self._seed, workers=self._workers)
        alone_s = float(sorted(alone.service_ns)[math.ceil(p * len(alone)) - 1]) * 1e-9
        median_s = service.median_ns(1) * 1e-9
        if median_s > limit_s:
            return self._said(None, 0.0, alone_s, (), finished=True)
        # Where even single calls are now and then too late, a search from far below shows at which rate, if any.
        start = predicted or _LOW * self._workers / median_s
        self._check_length(start)
        search = Search(p, limit_s, start, self._seed)
        finished = True
        while (rate := search.ask()) is not None:
            length_s = self._length_s(rate, MOST - len(search.trials))
            if length_s + _AROUND_S > self._left_s() + _TOLERATED_S:
                finished = False
                break
            search.tell(self._trial(rate, length_s, 1 + len(search.trials)))
        return self._said(search.conclusion(), predicted, alone_s, tuple(search.trials), finished=finished)

    def _left_s(self) -> float:
        return self._budget_s - (time.monotonic() - self._begun)

    def _length_s(self, rate: float, trials_left: int) -> float:
        """An equal share of what is left, or what the percentile needs if that is less."""
        share_s = self._left_s() / trials_left - _AROUND_S
        return max(_SHORTEST_S, min(1.05 * enough(self._limit.p) / rate, share_s))

    def _check_length(self, predicted: float) -> None:
        """p < 1 - 10/n (rule 30): otherwise fewer than ten requests lie beyond the percentile in any trial."""
        p, least = self._limit.p, 10 / (1 - self._limit.p)
        if self._length_s(predicted, MOST) * predicted <= least:
            needed_s = MOST * (1.1 * least / predicted + _AROUND_S) + _ALONE_S
            raise InputError(
                f"A trial for p{100 * p:.6g} needs more than {least:.0f} requests, and this function answers about "
                f"{predicted:.3g} a second. Use budget={math.ceil(needed_s)} (seconds) or more, or a lower percentile."
            )

    def _trial(self, rate: float, length_s: float, number: int) -> Trial:
        scenario = covering(Named("server", {"rate": rate}), self._limit.seconds)
        result, trace = self._run(f"trial-{number}", scenario, length_s, trial=number)
        self._latencies.append(latencies_s(trace))
        return read_trial(
            trace,
            rate=rate,
            p=self._limit.p,
            slo_s=self._limit.seconds,
            level=result.validity,
            generator_late=generator_was_late(result),
        )

    def _run(self, name: str, scenario: Named, seconds: float, *, trial: int) -> tuple[Result, Trace]:
        turn = Turn(
            run_id=name,
            phase="search",
            target="online" if scenario.name == "server" else "latency",
            scenario=scenario,
            batching=Named("single"),
            duration_s=seconds,
            trial=trial,
        )

        def common(fields: dict[str, Any]) -> Result:
            return Result(study_id="max-qps", created_unix_ns=time.time_ns(), env_id=self._env_id, **fields)

        result = self._live.run(turn, reference=None, check_limit=0.0, common=common)
        return result, Trace.load(self._runs / str(result.trace))

    def _said(
        self, found: Capacity | None, predicted: float, alone_s: float, trials: tuple[Trial, ...], *, finished: bool
    ) -> MaxQps:
        fresh = [x for x, t in zip(self._latencies, trials, strict=True) if t.fresh and t.level != "invalid"]
        shown = None if found is None else found.estimate
        flags = () if found is None else found.flags
        return MaxQps(
            slo=self._limit,
            claim=0.0 if found is None else found.claim,
            crossing=0.0 if found is None else found.crossing,
            low=None if shown is None else shown.low,
            high=None if shown is None else shown.high,
            lowest_fail=None if found is None else found.lowest_fail,
            there=quantile_across(fresh, self._limit.p, unit="s") if fresh else None,
            predicted=predicted,
            alone_s=alone_s,
            flags=flags if finished else (*flags, "unfinished"),
            validity="invalid" if trials and found is None else "valid" if found is None else found.level,
            method="no rate is within the limit" if found is None else found.method,
            trials=trials,
            elapsed_s=time.monotonic() - self._begun,
        )
