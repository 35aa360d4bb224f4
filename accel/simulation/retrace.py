"""Would the simulation have foretold a measured run? Its very arrivals and service times, through the same policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from accel.batching import Batcher
from accel.measurement.trace import OK, Trace
from accel.scenarios import Plan
from accel.simulation.service_times import Int64, Service, ServiceTimes
from accel.simulation.simulate import Simulated, simulate


def predicted_from_trace(
    trace: Trace, batcher: Batcher, *, workers: int = 1, costs: Sequence[int] | None = None
) -> Simulated:
    """What the policy would have made of a measured run: its quantiles are to be held against the run's own.

    Each batch takes as long as the one that really held its oldest request, from being taken to being answered; where
    that one had another size, the run's own curve says by how much that would have been more or less. costs: lengths
    by sample, of what the policy sees as `cost`. Raises ValueError for a run that answered nothing.
    """
    lengths = None if costs is None else [costs[i] for i in trace.sample.tolist()]
    counted = np.flatnonzero(trace.warmup == 0)
    first, last = (int(counted[0]), int(counted[-1])) if len(counted) else (0, len(trace) - 1)
    plan = Plan(due_ns=trace.due, sample_ids=trace.sample, warmup=first, tail=len(trace) - 1 - last)
    return simulate(plan, batcher, _as_measured(trace), workers=workers, costs=lengths)


def times_of(traces: Iterable[Trace]) -> ServiceTimes:
    """Service times by batch size from what was counted in these runs. Raises ValueError if nothing was answered."""
    by_size: dict[int, list[Int64]] = {}
    for trace in traces:
        for size, found in _by_size(trace.counted().ok(), occupied=False).items():
            by_size.setdefault(size, []).append(found)
    return ServiceTimes({size: np.concatenate(parts) for size, parts in by_size.items()})


def _by_size(trace: Trace, *, occupied: bool) -> dict[int, Int64]:
    """One value a batch (ns), by size: its service time, or from being taken to being answered."""
    firsts = np.unique(trace.batch, return_index=True)[1]
    sizes, took = trace.batch_size[firsts], trace.service_ns[firsts]
    if occupied:
        took = trace.finished[firsts] - trace.taken[firsts]
    return {int(size): took[sizes == size] for size in np.unique(sizes)}


def _as_measured(trace: Trace) -> Service:
    """The run's own batches, found by their oldest request; unanswered requests go by the run's median."""
    curve = ServiceTimes(_by_size(trace.ok(), occupied=True))
    took = np.where(trace.status == OK, trace.finished - trace.taken, 0).tolist()
    sizes = trace.batch_size.tolist()

    def takes(requests: Sequence[int], longest: int) -> int:
        oldest, size = requests[0], len(requests)
        if not took[oldest]:
            return round(curve.median_ns(size))
        if sizes[oldest] == size:
            return int(took[oldest])
        return int(took[oldest] * curve.median_ns(size) / curve.median_ns(sizes[oldest]))

    return takes
