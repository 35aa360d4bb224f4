"""At which rates are the server trials made? First where the replay predicts the SLO to break, then around where the
trials so far say it does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.scenarios import generator
from accel.study.predict import ServiceTimes, capacity

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_ELASTICITY = 3.0
"""d ln(p99 latency) / d ln(rate) at mid load (measurement.md 0.2): turns a missed limit into a step in rate."""
_SPREAD = math.log(1.10)
_LONGEST_STEP_UP, _LONGEST_STEP_DOWN = 0.35, 0.7
"""In ln(rate). A trial far above capacity only says that it was; half the rate is the quicker way back."""
_CAUTION = 0.85
"""The first trial is made below the prediction: one above capacity measures a growing queue and teaches little."""


def requests_needed(p: float) -> int:
    """How many requests a trial needs before its p-quantile may be printed (rule 22)."""
    return {0.5: 20, 0.9: 100, 0.95: 200, 0.99: 1000, 0.999: 10_000}.get(round(p, 4), math.ceil(10 / (1 - p)))


def policy_and_rate(funnel: Funnel, name: str) -> tuple[Named, float] | None:
    """The batching policy with the highest predicted capacity within the SLO, and that rate (1/s).

    None if no SLO is known, the variant has no measured service times or its engine takes no single request in time.
    """
    record = funnel.record
    times = service_times(funnel, name)
    if record.slo_s is None or record.target == "batch" or times is None:
        return None
    asked = funnel.variant(name).batching
    policies = [asked] if asked is not None and asked.name != "fixed" else _policies(times.largest)
    rates = [(capacity(times, p, record.slo_p, record.slo_s, seed=record.seed), p) for p in policies]
    best = max(rate for rate, _ in rates)
    if best <= 0:
        return None
    # A simpler policy within 2 % of the best is preferred: `single` stands first.
    return next((policy, rate) for rate, policy in rates if rate >= 0.98 * best)


def _policies(largest: int) -> list[Named]:
    sizes = [s for s in (4, 16, 32) if s <= largest] or ([largest] if largest > 1 else [])
    return [Named("single"), *(Named("dynamic", {"max_size": s}) for s in sizes)]


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


def trials(funnel: Funnel, name: str) -> list[tuple[float, float]]:
    """(rate, p-quantile of latency in seconds) of the variant's server trials so far, in the order of blocks."""
    found: list[tuple[int, float, float]] = []
    for result in funnel.results.values():
        if result.variant.name == name and result.target == "online" and _usable(result):
            trace = Trace.load(funnel.folder.runs / str(result.trace)).counted().ok()
            rate = float(result.scenario.fields["rate"]) if result.scenario else 0.0
            q = float(np.quantile(trace.latency_ns, funnel.record.slo_p, method="inverted_cdf")) * 1e-9
            found.append((result.block or 0, rate, q))
    return [(rate, q) for _, rate, q in sorted(found)]


def _usable(result: Result) -> bool:
    return result.status == "ok" and result.trace is not None and result.validity != "invalid"


def next_rate(funnel: Funnel, name: str, predicted: float, block: int) -> float:
    """The rate of this block's trial: around the current crossing, drawn log-uniformly within 10 %, seeded."""
    limit = funnel.record.slo_s or math.inf
    centre = crossing(_CAUTION * predicted, trials(funnel, name), limit)
    jitter = generator(funnel.record.seed, 1, 50_000 + block).uniform(-_SPREAD, _SPREAD)
    return float(f"{centre * math.exp(jitter):.4g}")


def crossing(predicted: float, seen: Sequence[tuple[float, float]], limit_s: float) -> float:
    """Where latency meets the limit, by damped steps from the prediction (Robbins-Monro)."""
    centre = predicted
    for i, (rate, quantile) in enumerate(seen):
        step = math.log(limit_s / quantile) / _ELASTICITY
        step = max(-_LONGEST_STEP_DOWN, min(_LONGEST_STEP_UP, step))
        target = math.log(rate) + step
        weight = 1.0 if i == 0 else 1.0 / (i + 0.5)
        centre = math.exp((1 - weight) * math.log(centre) + weight * target)
    return centre
