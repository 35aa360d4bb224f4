"""What does a server do from idle to twice its saturation? Its trials at given rates, read as points of a curve.

Beside the search for the highest rate: no comparison uses them. They show what a policy does to latency under light
load and what is left of it (goodput) when more comes than can be answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from accel.analysis.busy import busy
from accel.analysis.estimates import quantile_across
from accel.analysis.online import Trial, generator_was_late, read_trial
from accel.analysis.percentiles import quantile
from accel.analysis.policy import short
from accel.analysis.runs import Run, believable, by_key
from accel.measurement.trace import DROPPED
from accel.plugins import Named
from accel.result import Level

_ENOUGH = 3
"""Trials at one rate before their scatter gives an interval (rule 19: the trial is what is replicated)."""


class LoadPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One variant under one policy at one offered rate (1/s).

    label: the policy in two or three words. quantile_s: the SLO's quantile of latency from schedule, p50_s the median;
    None where it lies among requests that were dropped or never answered, so it is above every limit.
    low, high: 95 % interval of the quantile over trials; None with fewer than three.
    goodput: requests a second answered within the limit. dropped: share of requests that the policy gave up.
    utilisation: share of the time that its instances were busy; None where nothing counted was answered.
    trials, n: how many trials, and requests in all.
    carried: enough requests in each trial for the quantile to be printed (rule 22). keeps_up: in every trial.
    simulated: from measured service times on a virtual clock (seconds of one prediction), not from a trial.
    """

    variant: str
    policy: Named
    label: str
    rate: float
    quantile_s: float | None
    p50_s: float | None
    goodput: float
    dropped: float = 0.0
    utilisation: float | None = None
    level: Level = "valid"
    low: float | None = None
    high: float | None = None
    simulated: bool = False
    instances: int = 1
    trials: int = 1
    n: int = 0
    carried: bool = True
    keeps_up: bool = True


def loads(
    runs: Iterable[Run], simulated: Sequence[LoadPoint], *, p: float, slo_s: float | None
) -> tuple[LoadPoint, ...]:
    """The curve's points by variant, policy and rate: measured ones, and simulated ones where none is valid.

    simulated: as the study stored them (`StudyRecord.simulated`). Without a limit there is no curve.
    """
    if slo_s is None:
        return ()
    measured = [r for r in runs if r.result.phase == "load" and r.trace is not None]
    points = [point(group, p=p, slo_s=slo_s) for group in by_key(measured, _key).values()]
    there = {_place(one) for one in points if one.level != "invalid"}
    points += [one for one in simulated if _place(one) not in there]
    return tuple(sorted(points, key=lambda one: (one.variant, one.policy.name, str(one.policy), one.rate)))


def point(runs: Sequence[Run], *, p: float, slo_s: float) -> LoadPoint:
    """One point from the trials of one variant, policy and rate."""
    used, level = believable(runs)
    shown = used or list(runs)
    found = [trial_of(run, p=p, slo_s=slo_s) for run in shown]
    across = quantile_across([r.latency_s for r in shown], p, unit="s") if len(shown) >= _ENOUGH else None
    first = runs[0].result
    policy = first.batching or Named("single")
    busy_shares = [share for r in shown if (share := _busy_share(r)) is not None]
    median_s, quantile_s = (float(np.median(np.array([quantile(r.latency_s, q) for r in shown]))) for q in (0.5, p))
    return LoadPoint(
        variant=first.variant.name,
        policy=policy,
        label=short(policy),
        rate=runs[0].rate,
        quantile_s=across.value if across is not None else _finite(quantile_s),
        p50_s=_finite(median_s),
        goodput=float(np.mean([t.goodput for t in found])),
        dropped=_share_dropped(shown),
        utilisation=float(np.mean(busy_shares)) if busy_shares else None,
        level=level,
        low=None if across is None else across.low,
        high=None if across is None else across.high,
        instances=first.variant.instances,
        trials=len(shown),
        n=sum(t.n for t in found),
        carried=all(t.carried for t in found),
        keeps_up=all(t.keeps_up for t in found),
    )


def trial_of(run: Run, *, p: float, slo_s: float) -> Trial:
    """One trial of the phase `load` as any other server trial is read."""
    if run.trace is None:
        raise ValueError(f"the run `{run.result.run_id}` is no server run")
    return read_trial(
        run.trace,
        rate=run.rate,
        p=p,
        slo_s=slo_s,
        level=run.result.validity,
        phase="load",
        generator_late=generator_was_late(run.result),
    )


def _busy_share(run: Run) -> float | None:
    """As at the claim (`accel.analysis.busy`); None where no counted request was answered."""
    found = None if run.trace is None else busy(run.trace, run.result.variant.instances)
    return None if found is None else min(1.0, float(np.mean(found)))


def _share_dropped(runs: Sequence[Run]) -> float:
    traces = [r.trace for r in runs if r.trace is not None]
    total = sum(len(t) for t in traces)
    return sum(int(np.count_nonzero(t.status == DROPPED)) for t in traces) / total if total else 0.0


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _key(run: Run) -> tuple[str, str, float]:
    return run.result.variant.name, str(run.result.batching or "single"), run.rate


def _place(one: LoadPoint) -> tuple[str, str, float]:
    return one.variant, str(one.policy), one.rate
