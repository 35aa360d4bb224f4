"""What does one variant cost in both roles? The formulas of `accel.analysis.cost` on what a study measured."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from accel.analysis import Estimate, cost
from accel.analysis.cost import CostLine, CostTable
from accel.analysis.propagate import through
from accel.units import show_seconds

_HOURLY = 24


def cost_table(
    *,
    items: Estimate | None,
    rate: Estimate | None,
    utilisation: Estimate | None,
    start_s: float | None,
    price_per_h: float | None,
    count: int,
) -> CostTable:
    """Costs of a job of `count` items and of an endpoint, on one instance.

    items: items/s at the best batch size. rate: requests/s within the limit. start_s: from a fresh process to the first
    answer; provisioning and pulling an image come on top where it runs and aren't in it. price_per_h: None gives
    instance-seconds. Where evidence is missing the line stays, without a value, and says what is missing.
    """
    unit = "instance-seconds" if price_per_h is None else "price units"
    price = cost.PER_SECOND if price_per_h is None else price_per_h
    lines = (
        *_job(items, start_s, price, unit, count),
        *_endpoint(rate, utilisation, price, unit),
        _start(start_s),
        *_crossing(items, rate, start_s, count),
    )
    return CostTable(unit=unit, price_per_h=price_per_h, items=count, lines=lines)


def _job(items: Estimate | None, start_s: float | None, price: float, unit: str, count: int) -> Iterator[CostLine]:
    words = (
        ("job_s", f"batch job of {count:,} items, on one instance"),
        ("job", f"that job's cost, in {unit}: paid for its duration"),
        ("job_start_share", "of that, for its start"),
    )
    if items is None or items.value <= 0:
        for key, label in words:
            yield CostLine(key=key, label=label, value=None, note="its batch throughput was not measured")
        return
    t0 = start_s or 0.0
    note = "" if start_s is not None else "without its start, which was not measured"
    yield CostLine(
        key="job_s", label=words[0][1], value=through(lambda x: cost.job_s(count, x, t0), items, unit="s"), note=note
    )
    paid = through(lambda x: cost.job_cost(count, x, t0, price), items, unit=unit)
    yield CostLine(key="job", label=words[1][1], value=paid, note=note)
    share = None if not t0 else through(lambda x: t0 / cost.job_s(count, x, t0), items, unit="1")
    yield CostLine(key="job_start_share", label=words[2][1], value=share, note=note)


def _endpoint(rate: Estimate | None, utilisation: Estimate | None, price: float, unit: str) -> Iterator[CostLine]:
    full = f"endpoint, a million predictions at the highest rate within the limit, in {unit}"
    half = "the same at half that rate: paid while it is up, busy or not"
    busy = "share of time its workers are busy at that rate"
    if rate is None or rate.value <= 0:
        said = "no rate within the limit was measured" if rate is None else "it met the limit at no rate tried"
        for key, label in (("endpoint_per_million", full), ("endpoint_half_per_million", half), ("utilisation", busy)):
            yield CostLine(key=key, label=label, value=None, note=said)
        return
    parts = (
        ("endpoint_per_million", full, 1.0),
        ("endpoint_half_per_million", half, 0.5),
        ("endpoint_tenth_per_million", "at a tenth of it, as at night", 0.1),
    )
    for key, label, part in parts:
        paid = through(partial(_per_million, part, price), rate, unit=unit)
        yield CostLine(key=key, label=label, value=paid)
    said = "" if utilisation is not None else "no trial near that rate says so"
    yield CostLine(key="utilisation", label=busy, value=utilisation, note=said)


def _per_million(part: float, price: float, rate: float) -> float:
    return cost.MILLION * cost.endpoint_per_request(part * rate, 1, price)


def _start(start_s: float | None) -> CostLine:
    label = "cold start: from a fresh process to the first answer"
    if start_s is None:
        return CostLine(key="start_s", label=label, value=None, note="it was not measured")
    note = (
        f"a replica ordered now helps {show_seconds(start_s)} later at best; where the rate grows by g a second "
        "until then, fill replicas to 1 / (1 + g D) only (D: this, and the time the scaler takes to notice)"
    )
    found = Estimate(value=start_s, low=None, high=None, n=1, unit="s", method="one start, no interval")
    return CostLine(key="start_s", label=label, value=found, note=note)


def _crossing(items: Estimate | None, rate: Estimate | None, start_s: float | None, count: int) -> Iterator[CostLine]:
    runs = f"jobs a day from which an endpoint that is always up costs less, for {count:,} items a day"
    often = "requests/s from which an endpoint costs less than a job every hour"
    if items is None or items.value <= 0 or start_s is None or start_s <= 0:
        said = "its start was not measured" if start_s is None else "its batch throughput was not measured"
        yield CostLine(key="break_even_runs", label=runs, value=None, note=said)
        yield CostLine(key="break_even_rate", label=often, value=None, note=said)
        return
    most = through(
        lambda x: cost.most_runs_a_day(count, x, start_s, job_price=1, endpoint_price=1), items, unit="1/day"
    )
    note = "at one price for both" if most.value > 0 else "the work alone fills more than a day of one instance"
    yield CostLine(key="break_even_runs", label=runs, value=most if most.value > 0 else None, note=note)
    even = through(
        lambda x: cost.break_even_rate(x, _HOURLY, start_s, job_price=1, endpoint_price=1), items, unit="1/s"
    )
    yield CostLine(
        key="break_even_rate", label=often, value=even if even.value > 0 else None, note=_carried(even, rate)
    )


def _carried(even: Estimate, rate: Estimate | None) -> str:
    """Whether one replica carries the rate at which it would begin to pay."""
    if even.value <= 0:
        return "starting every hour alone takes more than the day: an endpoint costs less at any rate"
    if rate is None or rate.value <= 0:
        return "whether a replica carries that rate within the limit is not known"
    if rate.value >= even.value:
        return "a replica carries that rate within the limit"
    return "more than a replica carries within the limit, so hourly jobs cost less at every rate it carries"
