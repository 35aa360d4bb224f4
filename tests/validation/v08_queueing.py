"""V8: on average, the server scenario waits as long as queueing theory says: M/D/1 and M/M/c."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.analysis.percentiles import quantile
from accel.measurement.trace import Trace
from accel.plugins import Named, make
from tests.validation import theory
from tests.validation.experiment import Row
from tests.validation.servers import lindley, simulate, stub

SERVICE_S = 0.002
RHOS = (0.5, 0.7)
LEAD_S = 1.0
SES = 3.0
LITTLE = 0.01
Kind = Literal["virtual", "real"]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of server: `workers`, service times fixed or exponential; and how much of it is run.

    simulated: how many trials of the recursion say how much one trial scatters.
    """

    kind: Kind
    workers: int
    exponential: bool
    trials: int
    requests: int
    simulated: int

    @property
    def name(self) -> str:
        return f"M/{'M' if self.exponential else 'D'}/{self.workers}"


QUICK = (
    Case(kind="virtual", workers=1, exponential=False, trials=5, requests=5000, simulated=40),
    Case(kind="virtual", workers=2, exponential=True, trials=5, requests=3000, simulated=40),
)
FULL = (
    Case(kind="virtual", workers=1, exponential=False, trials=10, requests=20_000, simulated=200),
    Case(kind="virtual", workers=1, exponential=True, trials=10, requests=20_000, simulated=200),
    Case(kind="virtual", workers=2, exponential=True, trials=10, requests=20_000, simulated=200),
    Case(kind="virtual", workers=4, exponential=True, trials=10, requests=20_000, simulated=200),
    Case(kind="real", workers=1, exponential=False, trials=5, requests=5000, simulated=200),
    Case(kind="real", workers=2, exponential=True, trials=5, requests=5000, simulated=200),
)


def quick() -> list[Row]:
    """One worker and two on the virtual clock."""
    return [row for case in QUICK for rho in RHOS for row in _rows(case, rho)]


def full() -> Iterator[Row]:
    """More of it on the virtual clock; for real one worker that computes and two that sleep."""
    for case in FULL:
        for rho in RHOS:
            yield from _rows(case, rho)


class Seen(msgspec.Struct, frozen=True):
    """One trial: mean wait, its p99 and what theory says for them at this trial's own service time, all in units of the
    mean service time; by how much Little's law is off; and the mean lag, which theory doesn't know, in the same units.
    """

    mean: float
    p99: float
    mean_expected: float
    p99_expected: float
    little: float
    lag: float


def _rows(case: Case, rho: float) -> list[Row]:
    seen = [_read(trace, _scenario(case, rho), case) for trace in _traces(case, rho)]
    sd_mean, sd_p99 = _scatter(case, rho)
    what = f"{case.name} at load {rho:g}, {case.trials} trials of {case.requests} requests"
    little, lag = max(s.little for s in seen), float(np.mean([s.lag for s in seen]))
    return [
        _close(
            case, f"{what}: mean wait", [(s.mean, s.mean_expected) for s in seen], sd_mean, f"; lag {lag:.4f} of it"
        ),
        _close(case, f"{what}: p99 of the wait", [(s.p99, s.p99_expected) for s in seen], sd_p99),
        Row(
            experiment="V8",
            what=f"{what}: Little's law",
            criterion="|N - rate x latency| / N <= 1 % in every trial",
            measured=f"largest {100 * little:.2f} %",
            passed=little <= LITTLE,
            kind=case.kind,
        ),
    ]


def _close(case: Case, what: str, pairs: Sequence[tuple[float, float]], sd: float, rest: str = "") -> Row:
    off = float(np.mean([a - b for a, b in pairs]))
    error = sd / len(pairs) ** 0.5
    value, expected = (float(np.mean(column)) for column in zip(*pairs, strict=True))
    return Row(
        experiment="V8",
        what=what,
        criterion="within 3 standard errors of theory",
        measured=f"{value:.4f} service times, theory {expected:.4f}: {off / error:+.1f} standard errors{rest}",
        passed=abs(off) <= SES * error,
        kind=case.kind,
    )


def _scenario(case: Case, rho: float) -> Named:
    rate = rho * case.workers / SERVICE_S
    return Named("server", {"rate": rate, "arrivals": "poisson_free", "lead_s": LEAD_S})


def _traces(case: Case, rho: float) -> Iterator[Trace]:
    scenario = _scenario(case, rho)
    duration = case.requests / scenario.fields["rate"]
    if case.kind == "virtual":
        for trial in range(case.trials):
            plan = make("scenarios", scenario).plan(_pool(case), seed=8, trial=trial, duration_s=duration)
            yield simulate(plan, _service(case, trial), workers=case.workers)
        return
    more: dict[str, Any] = {"wait": "sleep", "exponential": True} if case.exponential else {}
    # One child for all trials: a fresh one would draw the same service times again.
    with stub(instances=case.workers, item_s=SERVICE_S, **more) as child:
        for trial in range(case.trials):
            yield child.run(scenario, duration, trial=trial)[1]


def _pool(case: Case) -> int:
    return 2 * case.requests + 4096


def _service(case: Case, trial: int) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng([trial, case.workers])
    factors = rng.exponential(size=_pool(case)) if case.exponential else np.ones(_pool(case))
    return np.rint(SERVICE_S * 1e9 * factors).astype(np.int64)


def _read(trace: Trace, scenario: Named, case: Case) -> Seen:
    counted = trace.counted()
    service = float(counted.service_ns.mean())
    wait = (counted.latency_ns - counted.service_ns) / service
    mean, p99 = _expected(case, scenario.fields["rate"] * service * 1e-9 / case.workers)
    lag = float(trace.lag_ns(case.workers)[trace.warmup == 0].mean()) / service
    return Seen(float(wait.mean()), quantile(wait, 0.99), mean, p99, _little(trace, counted), lag)


@cache
def _expected(case: Case, rho: float) -> tuple[float, float]:
    """Mean and p99 of the wait by theory; without end where more is asked for than can be served."""
    if rho >= 1:
        return float("inf"), float("inf")
    if case.exponential:
        return theory.mmc_mean(rho, case.workers), theory.mmc_quantile(0.99, rho, case.workers)
    return theory.md1_mean(rho), theory.md1_quantile(0.99, rho)


def _little(trace: Trace, counted: Trace) -> float:
    """Mean number in the system, from who was there when, against rate x mean latency."""
    start, end = int(counted.due.min()), int(counted.due.max())
    there = np.minimum(trace.finished, end) - np.maximum(trace.due, start)
    number = float(np.maximum(there, 0).sum()) / (end - start)
    return abs(number - len(counted) / (end - start) * float(counted.latency_ns.mean())) / number


def _scatter(case: Case, rho: float) -> tuple[float, float]:
    """Standard deviations of what one trial is off by in mean wait and p99, from trials of the recursion.

    The five trials of the experiment itself are too few to tell their own scatter.
    """
    scenario = _scenario(case, rho)
    rate = scenario.fields["rate"]
    found = []
    for trial in range(case.simulated):
        plan = make("scenarios", scenario).plan(64, seed=80, trial=trial, duration_s=case.requests / rate)
        service = _service(case, 1000 + trial)[: len(plan.due_ns)]
        mean_s = float(service.mean()) * 1e-9
        wait_ns = lindley(plan.due_ns, service, case.workers) - plan.due_ns - service
        wait = wait_ns[plan.warmup : len(wait_ns) - plan.tail] * 1e-9 / mean_s
        mean, p99 = _expected(case, round(rate * mean_s / case.workers, 6))
        found.append((wait.mean() - mean, quantile(wait, 0.99) - p99))
    sd_mean, sd_p99 = np.std(found, axis=0, ddof=1)
    return float(sd_mean), float(sd_p99)
