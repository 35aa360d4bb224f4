"""What `accel plan` says: how many replicas of which variant, what they cost, and what goes wrong when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from accel.analysis import Estimate
from accel.analysis.burstiness import Burstiness
from accel.analysis.cost import HOUR_S, MILLION, PER_SECOND, endpoint_per_request
from accel.analysis.replicas import Count, Scaled, Scaling, count
from accel.analysis.serverless import ServerlessCost
from accel.slo import Slo


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas of one variant at the highest rate of the load.

    capacity: what one replica carries within the limit (1/s), measured or predicted; note: how the number came about.
    scaling: its headroom, spare and start. per_million: what a million predictions cost at its mean rate, in
    `FleetPlan.unit`; per_day: what the replicas cost in a day, called or not.
    p_quantile_s: the limit's quantile of latency (s) at a replica then, simulated; with_one_gone_s: when one failed and
    the rest share its requests, None where they are too many for the rest. Both None where no trace of the variant is
    left to simulate with.
    late_if_lost: requests beyond what the rest carry while a failed replica is replaced.
    """

    variant: str
    policy: str
    instances: int
    capacity: Estimate
    predicted: bool
    note: str
    scaling: Scaling
    replicas: Count
    per_million: Estimate
    per_day: Estimate
    late_if_lost: float
    start_known: bool = True
    p_quantile_s: Estimate | None = None
    with_one_gone_s: Estimate | None = None


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas for one stretch of the day: its begin (s), its highest rate in a metric window, and how many that takes.

    most is None where the capacity's interval is open below. utilisation: of the mean rate, against the capacity.
    """

    begin_s: float
    rate: float
    mean: float
    count: int
    fewest: int
    most: int | None
    utilisation: Estimate


class FleetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `accel plan`.

    rate: the highest mean rate of a metric window (1/s); mean: over the whole load. chosen: the variant to use; others:
    what the rest would take, the fewest replicas first. cannot: sentences about variants that can't keep the limit.
    hours: by stretch of `hour_s` seconds; empty for a steady rate. scaled: what an autoscaler would make of the load.
    replica_hours: (all the time as many as the peak needs, as many as each stretch needs, autoscaled); None for a
    steady rate. burst: of recorded arrivals; gaps: by how much their own gaps change the capacity (already in
    `chosen.capacity`). serverless: the same paid by call, where its prices were given. unit: "instance-seconds" or
    "price units". notes: assumptions, sentences.
    """

    study: str
    slo: Slo
    kind: Literal["steady", "arrivals", "rates"]
    rate: float
    mean: float
    duration_s: float
    scale: float
    chosen: Fleet
    others: tuple[Fleet, ...]
    cannot: tuple[str, ...]
    unit: str
    price_per_h: float | None
    hours: tuple[Hour, ...] = ()
    hour_s: float = HOUR_S
    scaled: Scaled | None = None
    replica_hours: tuple[float, float, float] | None = None
    burst: Burstiness | None = None
    gaps: Estimate | None = None
    serverless: ServerlessCost | None = None
    notes: tuple[str, ...] = ()


def paid(found: Count, price_per_h: float | None, mean: float | None = None) -> tuple[Estimate, Estimate]:
    """Cost of a million predictions, and of a day; the ends are those of fewest and most replicas.

    mean: requests/s over the whole load, where its highest rate, which the replicas are for, isn't there all the time.
    """
    price, unit = (PER_SECOND, "instance-seconds") if price_per_h is None else (price_per_h, "price units")
    method = "by replicas at the ends of the capacity's interval"

    def estimate(each: float) -> Estimate:
        most = None if found.most is None else each * found.most
        return Estimate(
            value=each * found.count,
            low=each * found.fewest,
            high=most,
            n=1,
            unit=unit,
            method=method,
            validity=found.utilisation.validity,
        )

    return estimate(MILLION * endpoint_per_request(mean or found.rate, 1, price)), estimate(24 * price)


def hours(rates: Sequence[float], window_s: float, hour_s: float, capacity: Estimate, scaling: Scaling) -> list[Hour]:
    """Stretches of `hour_s`, each with the replicas that its highest window needs; the last one may be shorter."""
    each = max(1, round(hour_s / window_s))
    found = []
    for start in range(0, len(rates), each):
        part = rates[start : start + each]
        peak, mean = float(max(part)), float(sum(part)) / len(part)
        wanted = count(peak, capacity, scaling)
        share = mean / peak if peak > 0 else 0.0
        used = wanted.utilisation
        found.append(
            Hour(
                begin_s=start * window_s,
                rate=peak,
                mean=mean,
                count=wanted.count,
                fewest=wanted.fewest,
                most=wanted.most,
                utilisation=msgspec.structs.replace(
                    used,
                    value=share * used.value,
                    low=None if used.low is None else share * used.low,
                    high=None if used.high is None else share * used.high,
                ),
            )
        )
    return found


def replica_hours(found: Sequence[Hour], rates: Sequence[float], window_s: float, hour_s: float) -> tuple[float, float]:
    """Paid replica-hours if the peak's number is up all the time, and if each stretch has its own number."""
    total = len(rates) * window_s
    lengths = [min(hour_s, total - hour.begin_s) / HOUR_S for hour in found]
    most = max(hour.count for hour in found)
    return most * sum(lengths), sum(hour.count * length for hour, length in zip(found, lengths, strict=True))
