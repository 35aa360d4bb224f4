"""What does one load say about an endpoint? From a run's Result and trace to one row of the table."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from accel.analysis import Estimate
from accel.analysis.online import latencies_s
from accel.analysis.percentiles import carries, quantile, quantile_estimate
from accel.analysis.serving import serving
from accel.endpoint.driven import Driven, Load
from accel.measurement.trace import ERROR, OK, UNFINISHED, Trace
from accel.result import Result
from accel.slo import Slo
from accel.units import show_seconds

_GIVEN_UP = 20


def row_of(
    result: Result,
    trace: Trace,
    *,
    load: Load,
    rate: float | None,
    seconds: float,
    limit: Slo | None,
    errors: dict[str, int],
    client_s: float,
) -> Driven:
    """One row; requests that were never answered count as infinitely late (rule 3).

    rate: None for a closed loop. seconds: the length of the counted part. client_s: what one call takes of a core here.
    """
    counted, latency, workers = trace.counted(), latencies_s(trace), result.variant.instances
    rates = serving(
        trace,
        requested=rate,
        slo_s=None if limit is None else limit.seconds,
        window_s=None if rate is None else seconds,
        workers=workers,
    )
    p50, p99 = (_marked(quantile_estimate(latency, p, unit="s"), result) for p in (0.5, 0.99))
    return Driven(
        run_id=result.run_id,
        load=load,
        rate=rate,
        offered=_known(rates.offered),
        completed=_known(rates.completed),
        goodput=rates.goodput,
        p50=p50,
        p99=p99,
        slo_s=quantile(latency, limit.p) if limit is not None and carries(len(latency), limit.p) else None,
        requests=len(counted),
        unanswered=int((counted.status != OK).sum()),
        errors=errors,
        waited=0.0 if rate is None else waited(trace, workers),
        generator=0.0 if rate is None else rate * client_s,
        # Whoever refuses requests has no queue that could grow.
        keeps_up=rate is None or rates.keeps_up or bool(errors),
        validity="invalid" if rate is not None and rates.generator_limited else result.validity,
        reason=" ".join(_reasons(result, trace)),
    )


def failed_row(run_id: str, load: Load, rate: float | None, reason: str) -> Driven:
    """A load that couldn't be driven at all."""
    return Driven(
        run_id=run_id,
        load=load,
        rate=rate,
        offered=None,
        completed=None,
        goodput=None,
        p50=None,
        p99=None,
        slo_s=None,
        requests=0,
        unanswered=0,
        validity="invalid",
        reason=f"It could not be driven: {reason}.",
    )


def waited(trace: Trace, workers: int) -> float:
    """Share of the counted requests that queued for a free connection for more than a millisecond."""
    counted = trace.warmup == 0
    if not counted.any():
        return 0.0
    queued: Any = trace.started - trace.due - trace.lag_ns(workers)
    return float(np.mean(queued[counted] > 1_000_000))


def in_words(row: Driven, limit: Slo) -> str:
    """What a trial of the search said, for whoever watches."""
    if row.validity == "invalid":
        return "invalid"
    if row.slo_s is None:
        return "too few requests to show the limit's percentile"
    seen = show_seconds(row.slo_s) if math.isfinite(row.slo_s) else "never answered"
    return f"p{100 * limit.p:.6g} {seen}, {'within' if row.slo_s <= limit.seconds else 'late'}"


def why(result: Result, errors: dict[str, int]) -> str:
    """Why nothing was answered."""
    return ", ".join(f"{kind} {n} times" for kind, n in errors.items()) or result.reason or "no call was answered"


def _reasons(result: Result, trace: Trace) -> list[str]:
    said = [w.sentence for w in result.witnesses if w.level in ("unstable", "invalid")]
    return [*said, f"Stopped after {_GIVEN_UP} failures in a row."] if _gave_up(trace) else said


def _gave_up(trace: Trace) -> bool:
    """True if the loop ended the run since so many calls in a row had failed."""
    ended = trace.status[trace.status != UNFINISHED]
    return len(ended) < len(trace) and len(ended) >= _GIVEN_UP and bool((ended[-_GIVEN_UP:] == ERROR).all())


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _marked(estimate: Estimate | None, result: Result) -> Estimate | None:
    return None if estimate is None else msgspec.structs.replace(estimate, validity=result.validity)
