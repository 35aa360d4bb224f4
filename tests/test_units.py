from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import units
from accel.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [("20ms", 0.02), ("5m", 300), ("2h", 7200), ("1.5 s", 1.5), (3, 3), ("7us", 7e-6), ("7µs", 7e-6), ("1e3ms", 1)],
)
def test_times_are_read(text: str | float, value: float) -> None:
    assert units.seconds(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["", "5", "fast", "5 parsecs", "5M", "--5s", "1,5s", "nan", "inf"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    if text == "5":
        assert units.seconds(text) == 5
        return
    with pytest.raises(InputError, match="such as `20ms`"):
        units.seconds(text, "--budget")


@pytest.mark.parametrize("text", ["0", "-5m", "0ms", "1e999s"])
def test_a_time_must_be_positive_and_finite(text: str) -> None:
    with pytest.raises(InputError, match=r"--budget must be greater than zero"):
        units.seconds(text, "--budget")


@pytest.mark.parametrize(("text", "value"), [("1pp", 0.01), ("0.5%", 0.005), (0.02, 0.02), ("0", 0.0), ("99pp", 0.99)])
def test_drops_are_read(text: str | float, value: float) -> None:
    assert units.fraction(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["", "some", "-1pp", "100pp", "1", "nan", "2 pp pp"])
def test_a_wrong_drop_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="percentage points"):
        units.fraction(text, "--accuracy-drop")


@given(st.floats(1e-9, 1e7))
def test_a_shown_time_is_right_to_one_per_cent(value: float) -> None:
    scale = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
    words = units.show_seconds(value).split()
    shown = sum(float(n) * scale[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert shown == pytest.approx(value, rel=0.02)


def test_a_time_that_is_no_number_is_a_dash() -> None:
    assert units.show_seconds(math.nan) == "–"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (23e6, "23 MB"), (3.25e9, "3.25 GB")]
)
def test_bytes_are_decimal(value: float, text: str) -> None:
    assert units.show_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [(3.14159, 0.2, "3.14"), (3.14159, 0.02, "3.142"), (1234.5, 12, "1234"), (1234.5, 120, "1230"), (5.0, 0.0, "5")],
)
def test_no_digit_is_shown_that_the_interval_does_not_carry(value: float, half: float, text: str) -> None:
    assert units.show_rounded(value, half) == text
