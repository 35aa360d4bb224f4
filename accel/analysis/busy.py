"""How busy were the workers of a server at a rate, and how large were its batches? From the traces of its trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.analysis import Estimate
from accel.analysis.estimates import t_interval
from accel.analysis.runs import Run, believable
from accel.measurement.trace import Trace

_NEAR = 0.9
_STRETCHES = 10
_LEAST_RUNS = 3


def at_claim(runs: Sequence[Run], policy: str, claim: float) -> list[Run]:
    """The server runs of a policy at the highest rate up to the claim; none if that is more than a tenth below it."""
    below = [
        r
        for r in runs
        if r.result.target == "online"
        and r.trace is not None
        and r.result.validity != "invalid"
        and str(r.result.batching or "single") == policy
        and _NEAR * claim <= r.rate <= claim * (1 + 1e-9)
    ]
    highest = max((r.rate for r in below), default=0.0)
    return [r for r in below if r.rate >= highest * (1 - 1e-3)]


def utilisation(runs: Sequence[Run]) -> Estimate | None:
    """Share of time in which the workers were busy: sum of the batches' service times / (workers x window).

    The window goes from the first counted request's start to the arrival of the last one. With three runs or more the
    t-interval is over one value a run, else over ten equal stretches of each (batch means: stretches much longer than
    a queue remembers are nearly independent). None without a run.
    """
    used, level = believable(runs)
    stretches = [s for r in used if r.trace is not None if (s := busy(r.trace, r.result.variant.instances)) is not None]
    if not stretches:
        return None
    mean, low, high, method = _over(stretches)
    return Estimate(
        value=mean,
        low=max(low, 0.0),
        high=min(high, 1.0),
        n=len(stretches),
        unit="1",
        method=method,
        validity=level,
    )


def busy(trace: Trace, workers: int, stretches: int = _STRETCHES) -> npt.NDArray[np.float64] | None:
    """(stretches,) share of the workers' time that was service, in equal parts of the window; None without a window."""
    started, finished = _batches(trace)
    if len(started) == 0:
        return None
    edges = np.linspace(float(started.min()), float(trace.due.max()), stretches + 1)
    if edges[-1] <= edges[0]:
        return None
    served = np.array([np.clip(edge - started, 0.0, finished - started).sum() for edge in edges])
    shares: npt.NDArray[np.float64] = np.diff(served) / np.diff(edges) / workers
    return shares


def batch_held(runs: Sequence[Run]) -> Estimate | None:
    """Requests in a batch, over the batches of these runs, by the same intervals; None without ten batches a run."""
    used, level = believable(runs)
    parts = [np.array_split(r.items, _STRETCHES) for r in used if len(r.items) >= _STRETCHES]
    if not parts:
        return None
    stretches = [np.array([part.mean() for part in run]) for run in parts]
    mean, low, high, method = _over(stretches)
    return Estimate(value=mean, low=max(low, 1.0), high=high, n=len(stretches), unit="1", method=method, validity=level)


def _over(stretches: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float, float, str]:
    """Mean with its ends: over runs where there are three, else over all their stretches."""
    if len(stretches) >= _LEAST_RUNS:
        values, method = np.array([s.mean() for s in stretches]), f"t-interval over {len(stretches)} runs"
    else:
        values = np.concatenate(stretches)
        method = f"t-interval over {_STRETCHES} stretches of {len(stretches)} run{'s' * (len(stretches) > 1)}"
    return *t_interval(values), method


def _batches(trace: Trace) -> tuple[Any, Any]:
    """Start and end (ns) of each batch that was served."""
    mask = (trace.started >= 0) & (trace.finished >= 0)
    _, first = np.unique(trace.batch[mask], return_index=True)
    started, finished = trace.started[mask][first], trace.finished[mask][first]
    return started.astype(np.float64), finished.astype(np.float64)
