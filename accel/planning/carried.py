"""How many requests a second does a measured variant carry within a limit, maybe another than the study's?

At the study's own limit it is what was measured. At another it is predicted: the simulator says by how much the
capacity changes from the one limit to the other, and that factor is applied to what was measured.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np

from accel.analysis import Estimate
from accel.analysis.conclusion import Online, Row, StudyRecord
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.simulation.predict import REQUESTS, capacity
from accel.simulation.retrace import times_of
from accel.simulation.service_times import ServiceTimes
from accel.slo import Slo
from accel.units import show_seconds

_SEEDS = (0, 1)
_BEYOND, _MOST_REQUESTS = 10, 20_000
_UNCALIBRATED = 0.2
"""How far (ln) a prediction may be off where no measured rate says so."""


class Carried(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one replica of a variant carries within the limit (1/s), and what the simulator needs to go on from there.

    policy: who waits for whom; workers: instances in a replica. times: measured service times; None where no trace of
    the variant is left. predicted: the limit isn't the study's. note: how the number came about.
    """

    capacity: Estimate
    policy: Named
    workers: int
    times: ServiceTimes | None
    predicted: bool
    note: str


def carried(row: Row, results: list[Result], record: StudyRecord, runs: Path, slo: Slo) -> Carried | str:
    """Capacity of one replica of `row` within `slo`, or a sentence why it has none.

    results: this variant's; runs: the folder with their traces.
    """
    online = row.online
    if online is None:
        return f"`{row.name}`: no server trials were made, so what it carries is not known."
    served = [r for r in results if r.target == "online" and str(r.batching or "single") == online.policy]
    if not served:
        return f"`{row.name}`: the runs behind its rate are gone."
    policy = served[-1].batching or Named("single")
    times = _times(results, runs)
    own = record.slo_s is not None and math.isclose(slo.seconds, record.slo_s) and math.isclose(slo.p, record.slo_p)
    if own:
        if online.rate.value <= 0:
            return f"`{row.name}` met {slo} at no rate tried."
        return Carried(
            capacity=online.rate,
            policy=policy,
            workers=served[-1].variant.instances,
            times=times,
            predicted=False,
            note="measured at this limit",
        )
    if times is None:
        return f"`{row.name}`: its traces are gone, so another limit than the study's can't be predicted."
    return _predicted(row, online, record, slo, policy, served[-1].variant.instances, times)


def _predicted(
    row: Row, online: Online, record: StudyRecord, slo: Slo, policy: Named, workers: int, times: ServiceTimes
) -> Carried | str:
    if _requests(slo.p) > _MOST_REQUESTS:
        return f"`{row.name}`: p{100 * slo.p:.6g} is rarer than its measured service times can foretell."
    there = _simulated(times, with_limit(policy, slo.seconds), slo.p, slo.seconds, workers)
    if there <= 0:
        alone = show_seconds(times.median_ns(1) * 1e-9)
        return f"`{row.name}` can't keep {slo}: one request alone takes {alone} (median)."
    here = _simulated(times, policy, record.slo_p, record.slo_s or 0.0, workers) if online.rate.value > 0 else 0.0
    found = Estimate(value=there, low=None, high=None, n=0, unit="1/s", method="", validity=online.rate.validity)
    if here > 0:
        found = _scaled(online, there / here, here)
        note = f"predicted: what was measured within p{100 * record.slo_p:.6g}, times {there / here:.3g} by simulation"
    else:
        spread = math.exp(_UNCALIBRATED)
        found = msgspec.structs.replace(
            found,
            low=there / spread,
            high=there * spread,
            method="simulated; a fifth of error assumed, since no measured rate within a limit says how far it is off",
        )
        note = "predicted by simulation alone: the study found no rate within its own limit"
    return Carried(
        capacity=found,
        policy=with_limit(policy, slo.seconds),
        workers=workers,
        times=times,
        predicted=True,
        note=note,
    )


def _scaled(online: Online, factor: float, simulated: float) -> Estimate:
    """The measured rate times a simulated factor; how far the simulation was off where it was measured is added to the
    interval, in quadrature on logarithms.
    """
    rate = online.rate
    off = abs(math.log((online.crossing or rate.value) / simulated))
    down = None if rate.low is None or rate.low <= 0 else math.hypot(max(math.log(rate.value / rate.low), 0.0), off)
    up = None if rate.high is None else math.hypot(max(math.log(rate.high / rate.value), 0.0), off)
    value = rate.value * factor
    return msgspec.structs.replace(
        rate,
        value=value,
        low=None if down is None else value * math.exp(-down),
        high=None if up is None else value * math.exp(up),
        method=f"{rate.method}; moved to another limit by simulation, which was {100 * math.expm1(off):.0f} % off here",
    )


def _simulated(times: ServiceTimes, policy: Named, p: float, slo_s: float, workers: int) -> float:
    """Geometric mean over seeds; 0 if a seed finds no rate."""
    many = _requests(p)
    found = [capacity(times, policy, p, slo_s, seed=seed, workers=workers, requests=many) for seed in _SEEDS]
    return math.exp(float(np.mean(np.log(found)))) if min(found) > 0 else 0.0


def _requests(p: float) -> int:
    """So many that ten lie beyond the percentile (rule 22), 4,000 at least."""
    return max(REQUESTS, math.ceil(round(_BEYOND / (1 - p), 6)))


def with_limit(policy: Named, slo_s: float) -> Named:
    """The policy with its deadline moved to another limit, where it has one.

    >>> str(with_limit(Named("dynamic", {"max_size": 8, "slo_s": 0.02}), 0.05))
    'dynamic(max_size=8, slo_s=0.05)'
    """
    if not policy.fields.get("slo_s"):
        return policy
    return Named(policy.name, {**policy.fields, "slo_s": slo_s})


def _times(results: list[Result], runs: Path) -> ServiceTimes | None:
    """Service times by batch size from the variant's runs, as far as their traces can be read."""
    traces = []
    for result in results:
        if result.trace is None or result.status != "ok" or result.validity == "invalid":
            continue
        try:
            traces.append(Trace.load(runs / Path(result.trace).name))
        except (OSError, KeyError, ValueError):
            continue
    try:
        return times_of(traces)
    except ValueError:
        return None
