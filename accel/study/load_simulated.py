"""The load curve without a server: every policy at every rate on a virtual clock, from measured service times."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from accel import plugins
from accel.analysis.conclusion import StudyRecord
from accel.analysis.load_curve import LoadPoint
from accel.analysis.policy import short
from accel.plugins import Named
from accel.simulation.predict import poisson
from accel.simulation.service_times import ServiceTimes
from accel.simulation.simulate import Simulated, simulate
from accel.study.load_plan import Grid

_REQUESTS = 3000


def simulated(record: StudyRecord, grid: Grid, times: ServiceTimes, *, instances: int = 1) -> Iterator[LoadPoint]:
    """One point for each of the grid's policies and rates; the same arrivals, scaled, for all of them."""
    for policy in grid.policies.values():
        batcher = plugins.make("batching", policy)
        for rate in grid.rates:
            due = poisson(rate, seed=record.seed, requests=_REQUESTS)
            found = simulate(due, batcher, times, workers=instances, seed=record.seed)
            yield _point(record, grid.name, policy, rate, found, instances)


def _point(record: StudyRecord, name: str, policy: Named, rate: float, found: Simulated, instances: int) -> LoadPoint:
    slo_s = record.slo_s or 0.0
    return LoadPoint(
        variant=name,
        policy=policy,
        label=short(policy),
        rate=rate,
        quantile_s=_shown(found.quantile_s(record.slo_p)),
        p50_s=_shown(found.quantile_s(0.5)),
        goodput=float(f"{found.goodput(slo_s):.4g}"),
        dropped=round(found.dropped, 4),
        utilisation=round(min(found.busy, 1.0), 4),
        simulated=True,
        instances=instances,
        trials=0,
        n=int(np.count_nonzero(found.counted)),
        keeps_up=_keeps_up(found, slo_s),
    )


def _shown(seconds: float) -> float | None:
    """Four digits, since every study carries these points; None where it is among the dropped."""
    return float(f"{seconds:.4g}") if np.isfinite(seconds) else None


def _keeps_up(found: Simulated, slo_s: float) -> bool:
    """As of a real run (rule 29): those of the last quarter waited at most twice as long as those of the first."""
    latency = found.latency_s
    quarters = [part[np.isfinite(part)] for part in (latency[: len(latency) // 4], latency[-len(latency) // 4 :])]
    if not all(part.size for part in quarters):
        return False
    first, last = (float(np.median(part)) for part in quarters)
    return last <= max(2 * first + 1e-3, slo_s)
