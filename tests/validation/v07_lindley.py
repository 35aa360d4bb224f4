"""V7: request by request, the loop is the queue that theory says it is: its arrivals and services replayed on paper."""

from __future__ import annotations

import math
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from accel.analysis.online import goodput, keeps_up, latencies_s
from accel.analysis.percentiles import quantile
from accel.batching.dynamic import Dynamic
from accel.batching.window import Window
from accel.measurement.trace import DROPPED, OK, UNFINISHED, Trace
from accel.plugins import Named, make
from accel.scenarios import Plan
from tests.validation.experiment import Row
from tests.validation.servers import batches, lindley, simulate, stub

SERVICE_S = 0.002
RHO = 0.7
SCATTER = 0.3
REQUESTS = {"virtual": 4000, "real": 6000}
P50_S, P99_S = 50e-6, 500e-6
SLO_S = 0.02
PIECES = 20
DRAIN_NS = 300_000_000
CONFIDENCE = 0.99
"""Two rows and more are judged by their slopes, so 95 % would raise a false alarm in one proof of ten."""
Kind = Literal["virtual", "real"]


def quick() -> list[Row]:
    """One, two and three workers with lognormal service times; on the virtual clock nothing may be off at all."""
    alone = [row for workers in (1, 2, 3) for row in _rows(*_virtual(workers), workers, "virtual")]
    return [*alone, _undrained(), _given_up(), _collected()]


def full() -> Iterator[Row]:
    """One worker that computes, and two that sleep (two that compute would fight for the interpreter)."""
    yield from quick()
    settings: list[tuple[int, dict[str, Any]]] = [(1, {}), (2, {"wait": "sleep"})]
    for workers, more in settings:
        scenario, duration = _scenario(workers, "real")
        with stub(instances=workers, item_s=SERVICE_S, scatter=SCATTER, **more) as child:
            _, trace = child.run(scenario, duration, trial=1)
        # Only the due times of a plan matter here, and they don't depend on the pool.
        yield from _rows(_plan(scenario, duration), trace, workers, "real")


def _scenario(workers: int, kind: Kind) -> tuple[Named, float]:
    rate = RHO * workers / (SERVICE_S * math.exp(SCATTER**2 / 2))
    return Named("server", {"rate": rate, "arrivals": "poisson_free"}), REQUESTS[kind] / rate


def _plan(scenario: Named, duration_s: float, pool: int = 64) -> Plan:
    plan: Plan = make("scenarios", scenario).plan(pool, seed=1, trial=1, duration_s=duration_s)
    return plan


def _virtual(workers: int) -> tuple[Plan, Trace]:
    plan = _plan(*_scenario(workers, "virtual"), pool=4 * REQUESTS["virtual"])
    rng = np.random.default_rng(workers)
    service = np.rint(SERVICE_S * 1e9 * np.exp(rng.normal(0, SCATTER, 4 * REQUESTS["virtual"]))).astype(np.int64)
    with tempfile.TemporaryDirectory() as folder:
        # Through the file, as every real trace goes: what is stored must be whole nanoseconds.
        path = Path(folder) / "trace.npz"
        simulate(plan, service, workers=workers).save(path)
        return plan, Trace.load(path)


def _rows(plan: Plan, trace: Trace, workers: int, kind: Kind) -> list[Row]:
    """Due times against the plan, ends against the replay, and no drift of the difference."""
    assert plan.due_ns is not None
    what = f"{workers} worker{'s' * (workers > 1)}, load {RHO:g}, {len(trace)} requests"
    complete = len(trace) == len(plan.due_ns) and bool((trace.status == OK).all())
    kept = complete and bool((trace.due == plan.due_ns).all())
    rows = [
        _row(
            what, "every request of the plan answered, due when the plan said, to the nanosecond", str(kept), kept, kind
        )
    ]
    if not kept:
        return rows
    # Latency is what is reported, so the end is taken from it.
    off_s = (trace.latency_ns + plan.due_ns - lindley(plan.due_ns, trace.service_ns, workers)) * 1e-9
    p50, p99 = (float(np.quantile(np.abs(off_s), p, method="inverted_cdf")) for p in (0.5, 0.99))
    limits = (P50_S, P99_S) if kind == "real" else (0.0, 0.0)
    said = f"|measured - replayed end| p50 <= {limits[0] * 1e6:g} µs, p99 <= {limits[1] * 1e6:g} µs"
    measured = f"p50 {p50 * 1e6:.1f} µs, p99 {p99 * 1e6:.1f} µs"
    rows.append(_row(what, said, measured, p50 <= limits[0] and p99 <= limits[1], kind))
    # Waiting for one's turn is no lateness of the harness (W9 would invalidate every busy server).
    lag = float(np.quantile(trace.lag_ns(workers), 0.99, method="inverted_cdf")) * 1e-9
    said = f"lag p99 <= {limits[1] * 1e6:g} µs, although requests queue"
    rows.append(_row(what, said, f"{lag * 1e6:.1f} µs", lag <= limits[1], kind))
    slope, half = _slope(off_s)
    measured = f"{slope * 1e6:+.2f} ± {half * 1e6:.2f} µs from first to last request"
    rows.append(_row(what, "no drift: the 99 % interval of the slope contains 0", measured, abs(slope) <= half, kind))
    return rows


def _undrained() -> Row:
    """Twice as many requests as can be served, and a drain limit: who isn't answered by then stays in the evidence."""
    rate, service_ns = 2 / SERVICE_S, round(SERVICE_S * 1e9)
    scenario = Named("server", {"rate": rate, "arrivals": "constant", "lead_s": 0.0, "tail_s": 0.0})
    plan = _plan(scenario, 1.0)
    assert plan.due_ns is not None
    trace = simulate(plan, np.full(64, service_ns), drain_ns=DRAIN_NS)
    starts = lindley(plan.due_ns, np.full(len(plan.due_ns), service_ns), 1) - service_ns
    missed = int((starts >= plan.due_ns[-1] + DRAIN_NS).sum())
    seen = int((trace.counted().status == UNFINISHED).sum())
    p99, good = quantile(latencies_s(trace), 0.99), goodput(trace.counted(), 3600.0, 1.0)
    held = len(trace) == len(plan.due_ns) and 0 < missed == seen and math.isinf(p99) and good == len(trace) - missed
    return _row(
        f"1 worker, load 2, drained for {DRAIN_NS * 1e-9:g} s",
        f"{missed} requests stay unanswered as by replay, p99 is infinite, and goodput counts none of them",
        f"{seen} unanswered of {len(trace)}, p99 {p99:g} s, goodput {good:g}/s",
        held and not keeps_up(trace.counted(), 3600.0),
        "virtual",
    )


def _takes_ns(size: int) -> int:
    return 1_000_000 + 500_000 * size


def _given_up() -> Row:
    """Twice as many requests as batches of four allow, of which the policy drops who would be late."""
    policy = Dynamic(max_size=4, slo_s=SLO_S, drop="early", curve=tuple((n, _takes_ns(n) * 1e-9) for n in (1, 2, 3, 4)))
    rate = 2 * 4 / (_takes_ns(4) * 1e-9)
    plan = _plan(Named("server", {"rate": rate, "lead_s": 0.0, "tail_s": 0.0}), 1.5)
    assert plan.due_ns is not None
    trace = batches(plan, policy, _takes_ns)
    late = _replayed_drops(plan.due_ns.tolist(), 4, round(SLO_S * 1e9))
    seen = np.flatnonzero(trace.status == DROPPED).tolist()
    counted = trace.counted()
    good = goodput(counted, SLO_S, 1.0)
    in_time = int((counted.status == OK).sum()) == good and math.isinf(quantile(latencies_s(trace), 0.9))
    return _row(
        f"1 worker, load 2, early drop at {SLO_S * 1e3:g} ms, {len(trace)} requests",
        f"the very {len(late)} requests are dropped that replay drops; p90 is infinite, every answer is in time, and "
        "the server keeps up",
        f"{len(seen)} dropped, {'the same' if seen == late else 'others'}; goodput {good:g}; "
        f"{'keeps up' if keeps_up(counted, SLO_S) else 'grows'}",
        seen == late and len(late) > 100 and in_time and keeps_up(counted, SLO_S),
        "virtual",
    )


def _replayed_drops(due: list[int], most: int, slo: int) -> list[int]:
    """Early drop, written out a second time."""
    late, free, head = [], 0, 0
    while head < len(due):
        now = max(free, due[head])
        arrived = bisect_right(due, now)
        while head < arrived:
            left = arrived - head
            alone_late = now + _takes_ns(1) > due[head] + slo
            if now + _takes_ns(min(left, most)) <= due[head] + slo or (left < most and not alone_late):
                break
            late.append(head)
            head += 1
        take = min(arrived - head, most)
        if take:
            head, free = head + take, now + _takes_ns(take)
    return late


def _collected() -> Row:
    """A policy that lets everybody wait for its timer is slow, but its waiting is no lateness of the harness (W9)."""
    plan = _plan(Named("server", {"rate": 100.0}), 5.0)
    trace = batches(plan, Window(size=64, timeout_s=SLO_S), _takes_ns).counted()
    lag, least = int(trace.lag_ns().max()), int(trace.latency_ns.max())
    return _row(
        f"1 worker, load 0.2, a policy that collects for {SLO_S * 1e3:g} ms",
        f"requests wait {SLO_S * 1e3:g} ms and longer, and the lag is 0",
        f"latency up to {least * 1e-6:.1f} ms, lag up to {lag * 1e-3:.1f} µs",
        lag == 0 and least >= SLO_S * 1e9,
        "virtual",
    )


def _slope(off_s: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Change over the whole run and half its interval, from the medians of 20 stretches (neighbours are alike)."""
    from scipy import stats

    medians = [float(np.median(part)) for part in np.array_split(off_s, PIECES)]
    if min(medians) == max(medians):
        return 0.0, 0.0
    fit = stats.linregress(np.linspace(0, 1, PIECES), medians)
    return float(fit.slope), float(fit.stderr * stats.t.ppf((1 + CONFIDENCE) / 2, PIECES - 2))


def _row(what: str, criterion: str, measured: str, passed: bool, kind: Kind) -> Row:
    return Row(experiment="V7", what=what, criterion=criterion, measured=measured, passed=bool(passed), kind=kind)
