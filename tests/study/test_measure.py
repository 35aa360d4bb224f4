"""accel.measure: which load its arguments ask for, and what it says of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accel
from accel.plugins import Named
from accel.study import measure as module


def asked(**arguments: Any) -> Named:
    every = dict.fromkeys(("rate", "arrivals", "cv", "trace", "concurrency"))
    return module._scenario(**(every | arguments))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    np.save(tmp_path / "a.npy", np.arange(20) * 0.05)
    return tmp_path / "a.npy"


def test_the_arguments_name_a_scenario(recording: Path) -> None:
    assert asked() == Named("single_stream")
    assert asked(concurrency=8) == Named("closed_loop", {"k": 8})
    assert asked(rate=50) == Named("server", {"rate": 50.0, "arrivals": "poisson"})
    assert asked(rate=50, cv=3) == Named("server", {"rate": 50.0, "arrivals": "gamma", "cv": 3})
    assert asked(trace=recording) == Named("server", {"arrivals": "replay", "trace": str(recording)})
    assert asked(trace=recording, rate=9).fields["rate"] == 9.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rate": 0}, "above 0"),
        ({"rate": float("nan")}, "above 0"),
        ({"rate": "fast"}, "above 0"),
        ({"rate": 5, "concurrency": 2}, "closed loop"),
        ({"concurrency": 0}, "`k`: Expected `int` >= 1"),
        ({"arrivals": "constant"}, "needs a rate"),
        ({"arrivals": "nonsense", "rate": 4}, "nonsense"),
        ({"cv": 2, "rate": 4, "arrivals": "constant"}, "belongs to"),
        ({"cv": -2, "rate": 4}, "cv"),
        ({"arrivals": "replay"}, "need both"),
        ({"trace": "/there/is/no.csv"}, "No such file"),
        ({"trace": "a.csv", "arrivals": "poisson"}, "need both"),
    ],
)
def test_contradictions_are_said_before_anything_runs(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(accel.InputError, match=said):
        asked(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"inputs": "some"}, "`unique` or `same`"), ({"workers": 0}, "from 1"), ({"slo": "fast"}, "SLO")],
)
def test_other_arguments_are_checked_too(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(accel.InputError, match=said):
        accel.measure(len, ["a"], **arguments)


def test_recorded_arrivals_are_replayed_and_a_repetition_is_said(recording: Path) -> None:
    found = accel.measure(len, ["a", "bb"], trace=recording, rate=40, duration="1s", slo="p99=2s")
    assert found.requests == 40
    assert found.rate == 40.0
    assert found.offered == pytest.approx(40)
    assert found.goodput == found.offered
    assert found.latency == "from schedule"
    assert "repeated end to end" in str(found)
    assert "40 requests/s came (40 asked for)" in str(found)


def test_a_closed_loop_is_called_one_and_has_no_rate_to_keep_up_with() -> None:
    found = accel.measure(len, ["a", "bb"], concurrency=3, workers=2, duration="0.3s", inputs="same")
    assert found.latency == "closed loop"
    assert found.rate is None
    assert found.goodput is None
    assert found.keeps_up
    assert found.result.inputs == "same"
    assert found.errors == 0
    assert "3 at a time" in str(found)
    assert "latency closed loop" in str(found)


def test_same_inputs_show_a_cache_of_answers() -> None:
    def cached(item: int, seen: dict[int, int] = {}) -> int:  # noqa: B006  # the cache this is about
        if item not in seen:
            seen[item] = sum(range(20_000))
        return seen[item]

    # 20,000 items are more than 0.3 s of calls get through: unique inputs never repeat, the same one always does.
    medians = [
        accel.measure(cached, list(range(20_000)), duration="0.3s", inputs=inputs).service_p50
        for inputs in ("unique", "same")
    ]
    assert medians[0] is not None
    assert medians[1] is not None
    assert medians[0].value > 10 * medians[1].value


def test_a_rate_beyond_the_harness_is_invalid_and_says_so() -> None:
    found = accel.measure(len, ["a", "bb"], rate=1_000_000, arrivals="constant", duration="0.1s")
    assert found.validity == "invalid"
    assert "more than the harness can offer" in found.reason
    assert "It was the harness that didn't keep up" in str(found)
    assert found.p50 is None or found.p50.validity == "invalid"
