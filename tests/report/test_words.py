"""Numbers as words: rounded by their intervals, in the unit that suits."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis import Estimate
from accel.report import words
from accel.result import Quality
from tests.report import example


def estimate(value: float, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=6, unit="s", method="by hand")


@pytest.mark.parametrize(
    ("given_", "value", "ends"),
    [
        (estimate(52.3, 49.2, 54.4), "52", "49–54"),
        (estimate(7.43, 7.1, 7.8), "7.4", "7.1–7.8"),
        (estimate(15_912.0, 15_400.0, 16_400.0), "15,900", "15,400–16,400"),
        (estimate(7.43, 7.1, None), "7.4", "7.1–?"),
        (estimate(1.41e-05, 0.8e-05, 2.4e-05), "1.4e-05", "8e-06–2.4e-05"),
        (estimate(7.43, None, None), "–", ""),
        (estimate(math.nan, 1.0, 2.0), "–", ""),
        (estimate(7.43, 7.1, math.inf), "7.4", "7.1–?"),
        (None, "–", ""),
    ],
)
def test_no_digit_the_interval_does_not_carry(given_: Estimate | None, value: str, ends: str) -> None:
    assert words.value_of(given_) == value
    assert words.ends_of(given_) == ends


@given(st.floats(1e-6, 1e9), st.floats(1e-4, 0.5))
def test_rounding_stays_within_a_tenth_of_the_half_width(value: float, relative: float) -> None:
    half = value * relative
    written = float(words.rounded(value, half).replace(",", ""))
    # at worst half of the last digit: 0.5 in the first digit of 5 h, with at most four decimals
    assert abs(written - value) <= max(0.25 * half, 0.5e-4) * (1 + 1e-9)


def test_an_unstable_number_says_so() -> None:
    shaky = msgspec.structs.replace(estimate(7.43, 7.1, 7.8), validity="unstable")
    assert words.with_interval(shaky, unit="ms") == "7.4 [7.1–7.8] ms unstable"


def test_accuracy_tells_the_strongest_thing_that_is_known() -> None:
    labels = Quality(outcome="passes", rule="", value=0.983, low=0.972, high=0.991, agreement=0.99)
    assert words.accuracy(labels) == "0.983 [0.972–0.991]"
    assert words.accuracy(labels, interval=False) == "0.983"
    agreed = Quality(outcome="passes", rule="", agreement=0.998, agreement_low=0.992, agreement_high=1.0, sqnr_db=30.0)
    assert words.accuracy(agreed) == "0.998 [0.992–1.000]"
    random = msgspec.structs.replace(agreed, random_weights=True)
    assert words.accuracy(random) == "30 dB"
    assert words.accuracy_word(random) == "correctness (SQNR)"
    made = msgspec.structs.replace(labels, synthetic=True)
    assert words.accuracy(made) == "unknown"
    assert words.accuracy(msgspec.structs.replace(random, sqnr_db=math.inf)) == "equal"
    assert words.accuracy(None) == "–"


def test_a_million_items_and_what_they_cost() -> None:
    rate = estimate(63.0, 61.0, 65.0)
    assert words.million(rate) == "4 h 24 min"  # 1e6 / 63 = 15,873 s
    assert words.instance_seconds(rate) == "15,900 [15,400–16,400]"
    assert words.million(estimate(63.0, None, None)) == "–"


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        ("accel bench demo --out demo-study", "demo-study"),
        ("accel bench demo --out='my study'", "my study"),
        ("accel bench demo", "."),
        ("accel bench 'unfinished", "."),
        ("accel bench --out", "."),
        ("", "."),
    ],
)
def test_the_study_is_where_its_command_put_it(command: str, folder: str) -> None:
    assert words.study_folder(example.record((), command=command)) == folder


def test_code_survives_an_odd_folder() -> None:
    quoted = example.conclusion(record_command="""accel bench demo --out 'a"b\\c'""")
    line = words.code(quoted, "batch").splitlines()[1]
    assert line == 'study = accel.open_study("a\\"b\\\\c")'


def test_dates_are_utc() -> None:
    assert words.day(example.CREATED_NS) == "22 Nov 2026"
    assert words.moment(example.CREATED_NS) == "22 Nov 2026, 10:30 UTC"
