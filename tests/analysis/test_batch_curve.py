"""The latency-against-batch curve: monotone, its knee, and whether batching pays; by hand and against an oracle."""

from __future__ import annotations

import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis import Estimate
from accel.analysis.batch_curve import BatchCurve, batch_curve, monotone, ratio


def about(value: float, half: float | None = 0.01, unit: str = "s") -> Estimate:
    ends = (None, None) if half is None else (value * math.exp(-half), value * math.exp(half))
    return Estimate(value=value, low=ends[0], high=ends[1], n=50, unit=unit, method="test")


def curve(seconds: dict[int, float], half: float | None = 0.01) -> BatchCurve:
    found = batch_curve(
        "net",
        {s: about(t, half) for s, t in seconds.items()},
        {s: about(s / t, half, "1/s") for s, t in seconds.items()},
    )
    assert found is not None
    return found


def line(fixed: float, item: float, sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)) -> dict[int, float]:
    return {s: fixed + s * item for s in sizes}


def test_the_curve_of_a_model_whose_calls_cost_more_than_its_items() -> None:
    found = curve(line(0.008, 0.0005))
    # 1 item: 8.5 ms, 117.6/s. 32 items: 24 ms, 1333/s. 16 items: 16 ms, 1000/s (75 %).
    assert (found.best, found.knee) == (32, 32)
    assert found.gain is not None
    assert found.gain.value == pytest.approx(32 / 0.024 * 0.0085)
    assert found.pays is True
    assert [p.gain for p in found.points][1] == pytest.approx((2 / 0.009) / (1 / 0.0085))
    assert "takes 2.82 times as long as one item and gives 11.3 times" in found.sentence
    assert "a call costs more than what is in it" in found.sentence


def test_a_compute_bound_model_gets_the_verdict_and_its_reason() -> None:
    found = curve(line(0.0001, 0.010))
    assert found.pays is False
    assert found.sentence.startswith("Batching doesn't pay here: a batch of 32 takes 31.7 times as long as one item")
    assert "one item already keeps the processor busy" in found.sentence
    assert found.knee == 1, "single items are within 5 % of the best"


def test_a_narrow_gain_is_left_open() -> None:
    # 12 % more at the best size, but the intervals are 10 % wide.
    found = curve({1: 0.010, 2: 0.020 / 1.12}, half=0.10)
    assert found.pays is None
    assert "too short to tell" in found.sentence
    assert curve({1: 0.010, 2: 0.020 / 1.12}, half=0.001).pays is True


def test_without_intervals_only_a_clear_difference_counts() -> None:
    assert curve({1: 0.010, 2: 0.0195}, half=None).pays is None
    assert curve({1: 0.010, 2: 0.012}, half=None).pays is True
    assert curve({1: 0.010, 2: 0.0215}, half=None).pays is False


def test_the_knee_is_the_smallest_size_within_five_per_cent() -> None:
    # 100, 190, 196, 200 a second: 190 is 95 % of 200.
    assert curve({1: 0.01, 2: 2 / 190, 4: 4 / 196, 8: 8 / 200}).knee == 2


def test_falling_seconds_are_pooled_with_the_least_change() -> None:
    """ln 4 and ln 2.25 pool to their mean: the geometric mean 3."""
    found = curve({1: 1.0, 2: 4.0, 4: 2.25, 8: 5.0})
    assert [p.monotone_s for p in found.points] == pytest.approx([1.0, 3.0, 3.0, 5.0])
    assert found.curve == tuple((p.size, p.monotone_s) for p in found.points)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=12))
def test_regression_against_pooling_by_hand(seconds: list[float]) -> None:
    """Pool adjacent violators, written out."""
    pools: list[list[float]] = []
    for value in seconds:
        pools.append([math.log(value)])
        while len(pools) > 1 and sum(pools[-2]) / len(pools[-2]) > sum(pools[-1]) / len(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    wanted = [math.exp(sum(p) / len(p)) for p in pools for _ in p]
    found = monotone(seconds)
    assert found == pytest.approx(wanted, rel=1e-9)
    assert all(b >= a * (1 - 1e-12) for a, b in itertools.pairwise(found))


def test_a_size_that_lacks_a_number_is_left_out() -> None:
    found = batch_curve("net", {1: about(0.01), 2: about(0.02)}, {2: about(100.0)})
    assert found is not None
    assert [p.size for p in found.points] == [2]
    assert (found.gain, found.pays) == (None, None)
    assert found.sentence == "Only batches of 2 were measured."
    assert batch_curve("net", {1: about(0.01)}, {}) is None


def test_a_ratio_adds_relative_errors_in_squares() -> None:
    found = ratio(about(20.0, 0.03), about(10.0, 0.04))
    assert found.value == 2.0
    assert found.low == pytest.approx(2 * math.exp(-0.05))
    assert found.high == pytest.approx(2 * math.exp(0.05))
    assert ratio(about(20.0, None), about(10.0)).low is None


def test_an_unstable_number_marks_the_ratio() -> None:
    shaky = msgspec.structs.replace(about(20.0), validity="unstable")
    assert ratio(shaky, about(10.0)).validity == "unstable"
    assert ratio(about(10.0), shaky).validity == "unstable"


def test_a_curve_survives_the_record_it_is_kept_in() -> None:
    found = curve(line(0.008, 0.0005))
    assert msgspec.json.decode(msgspec.json.encode(found), type=BatchCurve) == found
