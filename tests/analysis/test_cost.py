from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis import Estimate, cost
from accel.analysis.cost_table import cost_table
from accel.analysis.propagate import ratio, through
from accel.analysis.serverless import parse_serverless, serverless
from accel.errors import InputError


def estimate(value: float, low: float | None, high: float | None, validity: str = "valid", n: int = 5) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n, unit="1/s", method="given", validity=validity)  # type: ignore[arg-type]


# --- by hand -------------------------------------------------------------------------------------------------------


def test_a_job_is_paid_for_its_duration_and_every_instance_starts() -> None:
    # 1e6 items at 500/s take 2000 s, the start 20 s: 2020 instance-seconds; four instances take 520 s each.
    assert cost.job_cost(1e6, 500, 20, cost.PER_SECOND) == 2020
    assert cost.job_cost(1e6, 500, 20, cost.PER_SECOND, instances=4) == 2080
    assert cost.job_cost(1e6, 500, 20, 0.36) == pytest.approx(0.202)


def test_an_endpoint_is_paid_whether_it_is_called_or_not() -> None:
    # Two replicas for a day at 0.20 an hour: 9.60, with no request at all.
    assert cost.endpoint_cost([2] * 24, 0.20) == pytest.approx(9.6)
    # At 50 requests/s that is 4.32 million a day: 2.2222 a million; at 5 requests/s ten times as much.
    assert 1e6 * cost.endpoint_per_request(50, 2, 0.20) == pytest.approx(9.6 / 4.32)
    assert cost.endpoint_per_request(5, 2, 0.20) == pytest.approx(10 * cost.endpoint_per_request(50, 2, 0.20))


def test_the_floor_is_the_price_of_a_full_replica() -> None:
    assert cost.endpoint_floor(100, 0.36, headroom=0.8) == pytest.approx(0.36 / (3600 * 80))
    assert cost.endpoint_floor(100, 0.36) == pytest.approx(cost.endpoint_per_request(100, 1, 0.36))


def test_replicas_by_hand() -> None:
    assert cost.replicas(5000, 440) == 12  # 11.36
    assert cost.replicas(5000, 440, headroom=0.7) == 17  # 16.23
    assert cost.replicas(1, 440, least=2) == 2
    assert cost.replicas(0.3 * 3, 0.3) == 3  # 3.0000000000000004 is three


def test_room_to_grow_by_hand() -> None:
    # 10 % a minute for 90 s: 15 % more requests must fit, so replicas may be 1 / 1.15 full.
    assert cost.headroom(0.1 / 60, 90) == pytest.approx(1 / 1.15)
    assert cost.headroom(0, 90) == 1
    # 800 planned so full carry what comes 90 s later: no more than 920 at a capacity of 920.
    assert 800 / cost.headroom(0.1 / 60, 90) == pytest.approx(800 * (1 + 0.1 / 60 * 90))


def test_serverless_by_hand() -> None:
    # A million calls of 0.1 s with 2 GB at 1e-5 a GB-second: 2.00, and 0.20 for the calls.
    assert cost.serverless_cost(1e6, 0.1, per_request=2e-7, per_gb_s=1e-5, gb=2) == pytest.approx(2.2)
    # One in a hundred starts cold and takes 5 s more: 0.05 s a call more on average, so 1.00 more.
    cold = cost.serverless_cost(1e6, 0.1, per_request=2e-7, per_gb_s=1e-5, gb=2, cold_share=0.01, cold_s=5)
    assert cold == pytest.approx(3.2)


@given(st.floats(0.01, 10), st.floats(1e-3, 1), st.floats(0.1, 16))
def test_at_the_break_even_rate_endpoint_and_serverless_cost_the_same(price: float, call_s: float, gb: float) -> None:
    fees = {"per_request": 2e-7, "per_gb_s": 1.67e-5, "gb": gb}
    rate = cost.serverless_break_even(price, call_s, **fees)
    assert cost.serverless_cost(rate * 3600, call_s, **fees) == pytest.approx(price)


@given(st.floats(1, 1e4), st.floats(0.1, 600), st.floats(0.1, 2), st.floats(0.1, 2))
def test_at_the_break_even_runs_the_day_costs_the_same(x: float, start_s: float, job: float, endpoint: float) -> None:
    items = 1e6
    runs = cost.most_runs_a_day(items, x, start_s, job_price=job, endpoint_price=endpoint)
    jobs = job / 3600 * (runs * start_s + items / x)
    assert jobs == pytest.approx(24 * endpoint)


def test_at_the_break_even_rate_jobs_and_endpoint_cost_the_same() -> None:
    rate = cost.break_even_rate(500, 24, 20, job_price=0.3, endpoint_price=0.2)
    jobs = 24 * cost.job_cost(rate * 3600, 500, 20, 0.3)
    assert jobs == pytest.approx(cost.endpoint_cost([24], 0.2))


@pytest.mark.parametrize(
    ("text", "price"), [("0.20/h", 0.2), ("$0.20/h", 0.2), ("0.2", 0.2), (0.2, 0.2), ("€3 / h", 3)]
)
def test_prices_as_people_write_them(text: str | float, price: float) -> None:
    assert cost.parse_price(text) == price


@pytest.mark.parametrize("text", ["", "free", "0", "-1/h", "0.2/s", "nan", "inf", "0.2/h/h", "$"])
def test_a_wrong_price_is_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match=r"--price must be .* such as `0\.20/h`"):
        cost.parse_price(text)


# --- intervals -----------------------------------------------------------------------------------------------------


def test_ends_pass_through_a_falling_function() -> None:
    found = through(lambda x: 1000 / x, estimate(10, 8, 20, validity="unstable"), unit="s")
    assert (found.value, found.low, found.high, found.unit) == (100, 50, 125, "s")
    assert (found.validity, found.n) == ("unstable", 5)


def test_an_open_end_turns_with_the_function() -> None:
    found = through(lambda x: 1000 / x, estimate(10, None, 20), unit="s")
    assert (found.low, found.high) == (50, None)
    assert through(lambda x: 2 * x, estimate(10, None, 20), unit="s").low is None


def test_a_ratio_adds_distances_in_quadrature() -> None:
    # ln 3 and ln 4 steps down and up: hypot; by symmetry value / exp(h) and value * exp(h).
    above, below = estimate(8, 8 / math.e**3, 8 * math.e**3), estimate(2, 2 / math.e**4, 2 * math.e**4, "unstable")
    found = ratio(above, below, unit="1")
    assert found.value == 4
    assert found.low == pytest.approx(4 * math.exp(-5))
    assert found.high == pytest.approx(4 * math.exp(5))
    assert found.validity == "unstable"
    assert ratio(above, estimate(2, None, 3), unit="1").high is None
    assert ratio(above, estimate(2, None, 3), unit="1").low is not None


# --- serverless ----------------------------------------------------------------------------------------------------


def test_serverless_prices_as_people_write_them() -> None:
    found = parse_serverless("$0.20/million, 0.0000167/GBs")
    assert (found.per_request, found.per_gb_s) == pytest.approx((2e-7, 1.67e-5))
    assert found.gb is None


@pytest.mark.parametrize(
    "text",
    ["", "0.2", "0.2/million", "0.2/million,1/GBs,0GB", "0.2/million,0.2/million,1/GBs", "a,b", "1e999/million,1/GBs"],
)
def test_wrong_serverless_prices_are_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match="--serverless must be given like"):
        parse_serverless(text)


def test_serverless_against_one_replica_by_hand() -> None:
    prices = parse_serverless("0.20/million,0.00001/GBs")
    call = estimate(0.1, 0.08, 0.12)
    found = serverless(
        prices, call_s=call, memory_bytes=2_000_000_000, capacity=estimate(50, 40, 60), price_per_h=0.36, cold_s=3.0
    )
    assert found is not None
    assert found.per_million.value == pytest.approx(2.2)
    assert (found.per_million.low, found.per_million.high) == pytest.approx((1.8, 2.6))
    # 0.0001 a second for the replica, 2.2e-6 a call.
    assert found.from_rate.value == pytest.approx(0.0001 / 2.2e-6)
    assert found.from_rate.low == pytest.approx(0.0001 / 2.6e-6)
    assert found.carried
    less = serverless(
        prices, call_s=call, memory_bytes=None, capacity=estimate(50, 40, 60), price_per_h=0.36, cold_s=None
    )
    assert less is None


# --- the table -----------------------------------------------------------------------------------------------------


def table(**changed: object) -> cost.CostTable:
    known = {
        "items": estimate(500, 400, 625),
        "rate": estimate(250, 200, 500),
        "utilisation": estimate(0.6, 0.5, 0.7),
        "start_s": 20.0,
        "price_per_h": None,
        "count": 1_000_000,
    }
    return cost_table(**known | changed)  # type: ignore[arg-type]


def value(found: cost.CostTable, key: str) -> Estimate:
    line = found.line(key)
    assert line is not None
    assert line.value is not None
    return line.value


def test_the_table_by_hand_in_instance_seconds() -> None:
    found = table()
    assert found.unit == "instance-seconds"
    assert (value(found, "job_s").value, value(found, "job_s").low, value(found, "job_s").high) == (2020, 1620, 2520)
    assert value(found, "job").value == pytest.approx(2020)
    assert value(found, "job_start_share").value == pytest.approx(20 / 2020)
    assert value(found, "endpoint_per_million").value == pytest.approx(4000)
    assert value(found, "endpoint_per_million").high == pytest.approx(5000)
    assert value(found, "endpoint_half_per_million").value == pytest.approx(8000)
    assert value(found, "break_even_runs").value == pytest.approx(4220)
    # Hourly jobs win at every rate a replica carries, since it carries half of what a job does.
    assert value(found, "break_even_rate").value == pytest.approx(500 * (1 - 480 / 86400))
    assert "hourly jobs cost less" in found.line("break_even_rate").note  # type: ignore[union-attr]


def test_the_table_with_a_price() -> None:
    found = table(price_per_h=0.36)
    assert found.unit == "price units"
    assert value(found, "job").value == pytest.approx(0.202)
    assert value(found, "endpoint_per_million").value == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("missing", "keys", "words"),
    [
        ("items", ("job_s", "job", "break_even_runs"), "batch throughput was not measured"),
        ("rate", ("endpoint_per_million", "utilisation"), "no rate within the limit was measured"),
        ("start_s", ("start_s", "break_even_rate"), "not measured"),
    ],
)
def test_missing_evidence_is_said_never_zero(missing: str, keys: tuple[str, ...], words: str) -> None:
    found = table(**{missing: None})
    for key in keys:
        line = found.line(key)
        assert line is not None
        assert line.value is None
        assert words in line.note


def test_a_job_longer_than_a_day_has_no_break_even() -> None:
    line = table(items=estimate(5, 4, 6)).line("break_even_runs")
    assert line is not None
    assert line.value is None
    assert "more than a day" in line.note
