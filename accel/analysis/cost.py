"""What does a prediction cost, as a batch job and from an endpoint?

A batch job is paid for as long as it runs. An endpoint is paid for as long as it is up, whether or not anybody calls
it. (The notes this project began from had these two the other way round. What clouds bill settles it: a batch-transform
job, or an asynchronous or serverless call, costs while it is working, a real-time endpoint from its creation to its
deletion. So per prediction a job costs the same at any hour, while an endpoint's price falls with how busy it is.)

Symbols, as in the formulas below: P price of an instance-hour; X_b items/s of an instance at its best batch size; X_s
requests/s of a replica within the latency limit; rho headroom; N items; I instances; t0 seconds from asking for an
instance to its first answer. Rates are 1/s, times s, prices per instance-hour; `PER_SECOND` as price gives
instance-seconds. Sources: the public price models of batch transform, real-time and serverless inference; the
headroom follows from linear growth g during the delay D.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import msgspec

from accel.analysis import Estimate
from accel.errors import InputError

PER_SECOND = 3600.0
"""The price of an hour that makes every cost below a number of instance-seconds."""
HOUR_S, DAY_S, MILLION = 3600.0, 86_400.0, 1_000_000


class CostLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: what it is in words, its value with interval and unit, and how it is made.

    key: job_s, job, job_per_million, job_start_share, endpoint_per_million, endpoint_half_per_million, endpoint_day,
        utilisation, start_s, headroom, break_even_runs, break_even_rate.
    value: None where the evidence is missing; then `note` says what is.
    """

    key: str
    label: str
    value: Estimate | None
    note: str = ""


class CostTable(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of one variant in both roles; `unit`: "instance-seconds", or "price units" where the user gave a price.

    price_per_h: what the user said an instance costs an hour, in whatever currency; None: not said.
    items: how many the job holds. lines: in the order in which they are to be shown.
    """

    unit: str
    price_per_h: float | None
    items: int
    lines: tuple[CostLine, ...]

    def line(self, key: str) -> CostLine | None:
        """The line of that key, or None if the table has none."""
        return next((line for line in self.lines if line.key == key), None)


def parse_price(text: str | float) -> float:
    """An instance-hour's price, as the user wrote it; raises InputError.

    >>> parse_price("0.20/h"), parse_price("$0.20/h"), parse_price("0.2")
    (0.2, 0.2, 0.2)
    """
    match = re.fullmatch(r"\s*[$€£¥]?\s*([0-9]*\.?[0-9]+(?:[eE][-+]?\d+)?)\s*(?:/\s*(?:h|hour))?\s*", str(text))
    value = float(match[1]) if match else 0.0
    if match is None or not math.isfinite(value) or value <= 0:
        raise InputError(
            f"--price must be what an instance costs an hour, above zero, such as `0.20/h`, but is `{text}`."
        )
    return value


# --- a batch job: paid for its duration ----------------------------------------------------------------------------


def job_s(items: float, items_per_s: float, start_s: float, instances: int = 1) -> float:
    """Seconds of a job: t0 + N / (X_b I).

    >>> job_s(1_000_000, 500.0, 20.0), job_s(1_000_000, 500.0, 20.0, instances=4)
    (2020.0, 520.0)
    """
    return start_s + items / (items_per_s * instances)


def job_cost(items: float, items_per_s: float, start_s: float, price_per_h: float, instances: int = 1) -> float:
    """C_job = P I (t0 + N / (X_b I)) / 3600: every instance starts, so more of them cost more starts, no less work.

    >>> round(job_cost(1_000_000, 500.0, 20.0, 0.20), 6)
    0.112222
    """
    return price_per_h * instances * job_s(items, items_per_s, start_s, instances) / HOUR_S


# --- an endpoint: paid while it is up ------------------------------------------------------------------------------


def replicas(rate: float, capacity: float, headroom: float = 1.0, least: int = 1) -> int:
    """R = max(R_min, ceil(lambda / (rho X_s))); a rate that fills the replicas exactly needs no further one.

    >>> replicas(5000, 400), replicas(5000, 400, headroom=0.8), replicas(0, 400), replicas(800, 400)
    (13, 16, 1, 2)
    """
    return max(least, math.ceil(round(rate / (headroom * capacity), 9)))


def endpoint_cost(replica_hours: Iterable[float], price_per_h: float) -> float:
    """C_ep = P sum over hours of R_h, called or not.

    >>> round(endpoint_cost([2, 2, 3], 0.20), 6)
    1.4
    """
    return price_per_h * sum(replica_hours)


def endpoint_per_request(rate: float, count: float, price_per_h: float) -> float:
    """P R / (3600 lambda): what one request costs from `count` replicas that get `rate` in all.

    >>> round(endpoint_per_request(100.0, 2, 0.36) * 1e6, 6)
    2.0
    """
    return price_per_h * count / (HOUR_S * rate)


def endpoint_floor(capacity: float, price_per_h: float, headroom: float = 1.0) -> float:
    """P / (3600 rho X_s): the least a request can cost within the limit; a quieter endpoint costs more."""
    return price_per_h / (HOUR_S * headroom * capacity)


def utilisation_at_slo(rate: float, count: float, capacity: float) -> float:
    """u = lambda / (R X_s): share of what the replicas carry within the limit (not of processor time)."""
    return rate / (count * capacity)


def headroom(growth_per_s: float, delay_s: float) -> float:
    """rho <= 1 / (1 + g D): planned so full, replicas still carry what grows by g a second until D s later more come.

    >>> round(headroom(0.10 / 60, 90.0), 4)
    0.8696
    """
    return 1 / (1 + growth_per_s * delay_s)


def late_requests(rate: float, count: float, capacity: float, delay_s: float) -> float:
    """(lambda - R X_s) D: requests beyond what the replicas carry until further ones are up.

    >>> late_requests(1000.0, 2, 400.0, 90.0), late_requests(700.0, 2, 400.0, 90.0)
    (18000.0, 0.0)
    """
    return max(rate - count * capacity, 0.0) * delay_s


# --- where they cross ----------------------------------------------------------------------------------------------


def most_runs_a_day(
    items: float, items_per_s: float, start_s: float, *, job_price: float, endpoint_price: float, count: int = 1
) -> float:
    """How often a day a job may start before an endpoint that is up all day costs less.

    `items` a day, whatever the number of runs, so a run more costs a start more:
    P_j (f t0 + N / X_b) = 24 h R P_e, solved for f. Negative where the work alone fills more than the day.

    >>> most_runs_a_day(1_000_000, 500.0, 20.0, job_price=0.2, endpoint_price=0.2)
    4220.0
    """
    left = DAY_S * count * endpoint_price / job_price - items / items_per_s
    return left / start_s if start_s > 0 else math.copysign(math.inf, left)


def break_even_rate(
    items_per_s: float, runs_a_day: float, start_s: float, *, job_price: float, endpoint_price: float, count: int = 1
) -> float:
    """Requests/s (mean over the day) above which an endpoint of `count` replicas costs less than `runs_a_day` jobs.

    P_j (f t0 + 86400 lambda / X_b) = 24 h R P_e, solved for lambda. It only tells where the replicas carry that rate.

    >>> break_even_rate(500.0, 24, 20.0, job_price=0.2, endpoint_price=0.2)
    497.22222222222223
    """
    return items_per_s * (count * endpoint_price / job_price - runs_a_day * start_s / DAY_S)


def serverless_cost(
    requests: float,
    call_s: float,
    *,
    per_request: float,
    per_gb_s: float,
    gb: float,
    cold_share: float = 0.0,
    cold_s: float = 0.0,
) -> float:
    """C_sl = n (p_req + M (d + f_c d_init) p_gbs): paid by call and by memory x time, cold starts included.

    call_s: service time at batch 1; cold_share: share of calls that start a new environment, cold_s: what that takes.

    >>> round(serverless_cost(1e6, 0.1, per_request=2e-7, per_gb_s=1e-5, gb=2), 6)
    2.2
    """
    return requests * (per_request + gb * (call_s + cold_share * cold_s) * per_gb_s)


def serverless_break_even(
    price_per_h: float, call_s: float, *, per_request: float, per_gb_s: float, gb: float, count: int = 1
) -> float:
    """lambda* = P_e R / (3600 (p_req + M d p_gbs)): requests/s above which the endpoint costs less than serverless.

    Valid while it is no more than the replicas carry within the limit.

    >>> round(serverless_break_even(0.36, 0.1, per_request=2e-7, per_gb_s=1e-5, gb=2), 4)
    45.4545
    """
    return price_per_h * count / (HOUR_S * (per_request + gb * call_s * per_gb_s))
