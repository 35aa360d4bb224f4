"""accel.max_qps: what it refuses before anything runs, and how it prints what it found."""

from __future__ import annotations

from typing import Any

import pytest

import accel
from accel.analysis import Estimate
from accel.analysis.online import Trial
from accel.slo import parse_slo
from accel.study.highest_rate import _SAID, MaxQps


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"function": "model.onnx"}, "accel.bench"),
        ({"slo": "fast"}, "SLO"),
        ({"budget": "soon"}, "budget"),
        ({"workers": 0}, "from 1"),
        ({"samples": None}, "needs samples"),
    ],
)
def test_wrong_arguments_are_said_before_anything_runs(arguments: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"function": len, "samples": [[1]], "slo": "p99=20ms"} | arguments
    function, samples = given.pop("function"), given.pop("samples")
    with pytest.raises(accel.InputError, match=said):
        accel.max_qps(function, samples, **given)


def found(**more: Any) -> MaxQps:
    trials = (
        Trial(rate=85.0, quantile_s=0.012, n=4000, phase="search"),
        Trial(rate=115.0, quantile_s=0.05, n=4000, keeps_up=False, phase="search"),
        Trial(rate=100.0, quantile_s=0.021, n=4000, level="unstable", phase="search"),
        Trial(rate=99.0, quantile_s=9.0, n=4000, level="invalid", generator_late=True, phase="search"),
        Trial(rate=97.5, quantile_s=0.0185, n=4000, phase="confirmation"),
    )
    there = Estimate(value=0.0185, low=0.017, high=0.02, n=6, unit="s", method="")
    fields: dict[str, Any] = {
        "slo": parse_slo("p99=20ms"),
        "claim": 97.51,
        "crossing": 99.0,
        "low": 96.8,
        "high": 101.6,
        "lowest_fail": 100.0,
        "there": there,
        "predicted": 100.0,
        "alone_s": 0.002,
        "flags": (),
        "validity": "valid",
        "method": "line",
        "trials": trials,
        "elapsed_s": 212.0,
    }
    return MaxQps(**(fields | more))


def test_it_prints_the_claim_its_interval_and_a_line_a_trial() -> None:
    lines = str(found()).splitlines()
    assert lines[0] == "97.51 requests/s within p99 <= 20 ms [96.8, 101.6]: valid"
    assert lines[1] == "  p99 there 18.5 ms [17 ms, 20 ms]"
    assert "missed the limit: 100/s" in lines[2]
    endings = ["within", "late, the queue grew", "late, unstable", "invalid: the generator was late", "within"]
    assert [line.split("requests  ")[1] for line in lines[4:]] == endings
    assert [line.split()[1] for line in lines[4:]] == ["search"] * 4 + ["fresh"]


def test_every_flag_is_said_in_words() -> None:
    for flag, words in _SAID.items():
        assert f"  {flag}: {words}" in str(found(flags=(flag,)))


def test_a_function_that_is_late_alone_has_no_rate() -> None:
    text = str(found(claim=0.0, there=None, lowest_fail=None, trials=(), flags=()))
    assert text.startswith("No rate was within p99 <= 20 ms; one call alone takes 2 ms (p99)")


def slow(x: Any) -> Any:
    import time

    time.sleep(0.05)
    return x


def test_one_that_is_late_alone_is_searched_no_further() -> None:
    result = accel.max_qps(slow, [1, 2], slo="p90=10ms", budget=30)
    assert result.claim == 0.0
    assert result.trials == ()
    assert result.alone_s >= 0.05


def test_a_budget_too_small_for_the_percentile_says_what_would_do() -> None:
    with pytest.raises(accel.InputError, match="needs more than 1000 requests.*Use budget="):
        accel.max_qps(slow, [1, 2], slo="p99=500ms", budget=30)
