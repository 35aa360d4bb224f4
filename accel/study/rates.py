"""At which rates, with which policy, are a variant's server trials made? Where the replay of its measured service times
predicts the SLO to break, and from there as its search asks (`accel.study.max_qps`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from accel.analysis.online import Trial, generator_was_late, read_trial
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.simulation.policies import choose
from accel.simulation.predict import capacity
from accel.simulation.service_times import ServiceTimes
from accel.study.max_qps import FRESH, MOST, Search

if TYPE_CHECKING:
    from accel.study.funnel import Funnel


def requests_needed(p: float) -> int:
    """How many requests a trial needs before its p-quantile may be printed (rule 22)."""
    return {0.5: 20, 0.9: 100, 0.95: 200, 0.99: 1000, 0.999: 10_000}.get(round(p, 4), math.ceil(10 / (1 - p)))


def policy_and_rate(funnel: Funnel, name: str) -> tuple[Named, float] | None:
    """The batching policy with the highest predicted capacity within the SLO, and that rate (1/s).

    None if no SLO is known, the variant has no measured service times or its engine takes no single request in time.
    """
    record = funnel.record
    times = service_times(funnel, name)
    if record.slo_s is None or record.target not in ("online", "both") or times is None:
        return None
    variant = funnel.variant(name)
    asked, workers = variant.batching, variant.instances
    if asked is not None and asked.name != "fixed":
        rate = capacity(times, asked, record.slo_p, record.slo_s, seed=record.seed, workers=workers)
        return (asked, rate) if rate > 0 else None
    found = choose(times, p=record.slo_p, slo_s=record.slo_s, seed=record.seed, workers=workers, plain=True)
    return (found.policy, found.rate) if found.rate > 0 else None


def service_times(funnel: Funnel, name: str) -> ServiceTimes | None:
    """Service times (ns) by batch size from the variant's screening and tuning runs."""
    by_size: dict[int, list[np.ndarray[tuple[int], np.dtype[np.int64]]]] = {}
    for result in funnel.results.values():
        if result.variant.name != name or result.trace is None or result.target not in ("latency", "batch"):
            continue
        trace = Trace.load(funnel.folder.runs / result.trace).counted().ok()
        firsts = np.unique(trace.batch, return_index=True)[1]
        sizes, service = trace.batch_size[firsts], trace.service_ns[firsts]
        for size in np.unique(sizes):
            by_size.setdefault(int(size), []).append(service[sizes == size])
    full = {size: np.concatenate(parts) for size, parts in by_size.items()}
    return ServiceTimes(full) if 1 in full else None


def trials(funnel: Funnel, name: str) -> list[Trial]:
    """The variant's server trials that looked for its highest rate so far, in the order in which they were made."""
    record = funnel.record
    found: list[tuple[str, int, Trial]] = []
    for result in funnel.results.values():
        if result.variant.name == name and result.target == "online" and _searched(result):
            trial = read_trial(
                Trace.load(funnel.folder.runs / str(result.trace)),
                rate=float(result.scenario.fields["rate"]) if result.scenario else 0.0,
                p=record.slo_p,
                slo_s=record.slo_s or math.inf,
                level=result.validity,
                phase=result.phase,
                generator_late=generator_was_late(result),
            )
            found.append((result.phase, result.block or 0, trial))
    return [trial for _, _, trial in sorted(found, key=lambda f: f[:2])]


def _searched(result: Result) -> bool:
    return result.status == "ok" and result.trace is not None and result.phase in ("blocks", "search")


def search_of(funnel: Funnel, name: str, predicted: float) -> Search:
    """The variant's search as its results on disk leave it; its fresh trials at the claim are the confirmation's."""
    record, profile = funnel.record, funnel.profile
    search = Search(
        record.slo_p,
        record.slo_s or math.inf,
        predicted,
        record.seed,
        fresh=0,
        most=MOST - min(FRESH, profile.confirmations),
        resolution=profile.resolution,
    )
    for trial in trials(funnel, name):
        search.tell(trial)
    return search


def next_rate(funnel: Funnel, name: str, predicted: float) -> float | None:
    """The rate of the next trial; None if the search has nothing more to ask."""
    return search_of(funnel, name, predicted).ask()
