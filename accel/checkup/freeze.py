"""Why does it matter how requests arrive? One freeze of a known engine, seen by a closed loop and from the schedule.

A client that waits for its answer before it asks again sends nothing while the server stands still, so it meets the
freeze once ("coordinated omission"); users who come by themselves all meet it. What they wait is known by theory.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.analysis.percentiles import quantile
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.study.folder import StudyFolder
from accel.study.live import Live, Target, Turn
from accel.study.profiles import profile
from accel.study.standin import folder_of, stand_in

_LEVELS = (0.5, 0.9, 0.95, 0.99)
_COLUMNS = 60


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """An engine of constant service time, requests at equal gaps, one freeze.

    service_s: D. rate: requests per second. duration_s: T, the counted part. stall_s: Ls. after_s: when it freezes.
    """

    service_s: float = 0.002
    rate: float = 50.0
    duration_s: float = 20.0
    stall_s: float = 1.5
    after_s: float = 5.0

    @property
    def utilisation(self) -> float:
        """rho: the share of time the engine works."""
        return self.rate * self.service_s

    @property
    def hit(self) -> float:
        """The share of requests that the freeze makes wait: Ls / ((1 - rho) T)."""
        return self.stall_s / ((1 - self.utilisation) * self.duration_s)

    def quantile_s(self, p: float) -> float:
        """What theory says the p-quantile from schedule is (measurement.md, V6).

        A request due s after the freeze began waits Ls - s (1 - rho) + D, so the `hit` share is uniform on (0, Ls).

        >>> round(Freeze(duration_s=60, stall_s=2).quantile_s(0.99), 3)
        1.462
        """
        return max(0.0, self.stall_s * (1 - (1 - p) / self.hit)) + self.service_s


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One way to see the freeze: quantiles in seconds of all `requests` requests of one run.

    waited: how many took more than 10 D. line: the worst latency in each sixtieth of the run, in seconds.
    """

    what: str
    requests: int
    waited: int
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float
    max_s: float
    line: tuple[float, ...]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The freeze as each view tells it; stalled_s: how long the two freezes really were, from signal to signal."""

    freeze: Freeze
    closed: View
    schedule: View
    theory_p99_s: float
    stalled_s: tuple[float, float]


def prove(freeze: Freeze | None = None, tell: Callable[[str], None] = lambda _: None) -> Proof:
    """Freeze a stub twice, once under each scenario; takes 2 T and a few seconds to start.

    Raises VariantError if the measure child fails.
    """
    freeze = freeze or Freeze()
    with tempfile.TemporaryDirectory(prefix="accel-prove-") as place:
        folder = folder_of(Path(place) / "study")
        tell("starting a stub in a measure child")
        with _open(folder, freeze) as live:
            tell(f"closed loop, {freeze.duration_s:g} s, frozen once")
            closed, first_s = run_frozen(live, folder, freeze, "closed loop")
            tell(f"from schedule, {freeze.duration_s:g} s, frozen once")
            open_, second_s = run_frozen(live, folder, freeze, "from schedule")
    return Proof(
        freeze=freeze,
        closed=view(closed, freeze, "closed loop"),
        schedule=view(open_, freeze, "from schedule"),
        theory_p99_s=freeze.quantile_s(0.99),
        stalled_s=(first_s, second_s),
    )


def _open(folder: StudyFolder, freeze: Freeze) -> Live:
    return Live(stand_in(folder, "frozen", item_s=freeze.service_s), folder, profile("quick"), seed=1, tag="prove")


def run_frozen(live: Live, folder: StudyFolder, freeze: Freeze, latency: str) -> tuple[Trace, float]:
    """One run of the live stub with one freeze in it, "closed loop" or "from schedule": its trace, the freeze's length.

    The child freezes while it is told to measure, so a real SIGSTOP hits the loop wherever it happens to be.
    """
    scenario, target = scenario_of(freeze, latency)
    live.stall(freeze.after_s, freeze.stall_s)
    turn = Turn(
        run_id=f"freeze-{target}",
        phase="measure",
        target=target,
        scenario=scenario,
        batching=Named("single"),
        duration_s=freeze.duration_s,
        trial=0,
    )
    result = live.run(turn, reference=None, check_limit=1.0, common=_result)
    return Trace.load(folder.runs / str(result.trace)), live.stalled_s or 0.0


def scenario_of(freeze: Freeze, latency: str) -> tuple[Named, Target]:
    """The scenario of a view: one client that waits for its answer, or equal gaps whatever happens."""
    if latency == "closed loop":
        return Named("single_stream"), "latency"
    fields = {"rate": freeze.rate, "arrivals": "constant", "lead_s": 0.0, "tail_s": 0.0}
    return Named("server", fields), "online"


def _result(fields: dict[str, Any]) -> Result:
    return Result(created_unix_ns=time.time_ns(), study_id="prove", **fields)


def view(trace: Trace, freeze: Freeze, what: str) -> View:
    """What a whole trace says, by accel's own percentiles: a freeze must not be taken for a warm-up and left out."""
    answered = trace.ok()
    latency_s = answered.latency_ns * 1e-9
    p50, p90, p95, p99 = (quantile(latency_s, p) for p in _LEVELS)
    return View(
        what=what,
        requests=len(answered),
        waited=int((latency_s > 10 * freeze.service_s).sum()),
        p50_s=p50,
        p90_s=p90,
        p95_s=p95,
        p99_s=p99,
        max_s=float(latency_s.max()),
        line=_line(answered, freeze),
    )


def _line(answered: Trace, freeze: Freeze) -> tuple[float, ...]:
    """The worst latency in each sixtieth of the run, by due time; 0 where nothing was due."""
    at = (answered.due - answered.due[0]) * 1e-9 / freeze.duration_s * _COLUMNS
    worst = np.zeros(_COLUMNS)
    np.maximum.at(worst, np.clip(at.astype(np.int64), 0, _COLUMNS - 1), answered.latency_ns * 1e-9)
    return tuple(float(v) for v in worst)
