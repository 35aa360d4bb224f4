"""How long a run is for a slow model or a small budget, and how long it is expected to take."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from accel.plugins import Named
from accel.study.lengths import expected_s, fitted
from accel.study.live import Turn
from accel.study.profiles import PROFILES


def funnel(item_s: float, budget_s: float = 300.0) -> Any:
    """A study that has scored `net` at `item_s` seconds an item, and timed nothing yet."""
    return SimpleNamespace(
        results={},
        folder=None,
        item_s={"net": item_s},
        record=SimpleNamespace(baseline="base"),
        profile=PROFILES["quick"],
        budget=SimpleNamespace(total_s=budget_s),
    )


def turn(target: Any, size: int = 1, duration_s: float = 0.6) -> Turn:
    return Turn(
        run_id="x",
        phase="screening",
        target=target,
        scenario=Named("offline"),
        batching=Named("fixed", {"size": size}),
        duration_s=duration_s,
        trial=0,
    )


@pytest.mark.parametrize(
    ("target", "size", "item_s", "wanted_s"),
    [
        ("latency", 1, 0.001, 0.6),
        ("latency", 1, 0.1, 25 * 0.1 * 1.1),
        ("batch", 8, 0.001, 0.6),
        ("batch", 8, 0.05, 8 * 8 * 0.05 * 1.1),
        ("batch", 8, 1.0, 5.0),
        ("online", 1, 1.0, 0.6),
    ],
)
def test_a_slow_model_gets_enough_batches_within_reason(target: str, size: int, item_s: float, wanted_s: float) -> None:
    found = fitted(funnel(item_s), turn(target, size), "net")
    assert found.duration_s == pytest.approx(wanted_s)


def test_a_small_budget_lengthens_nothing_and_warms_up_with_one_call() -> None:
    found = fitted(funnel(0.5, budget_s=20.0), turn("latency"), "net")
    assert (found.duration_s, found.warmup_iterations, found.warmup_s) == (0.6, 1, 0.0)
    usual = fitted(funnel(0.001, budget_s=20.0), turn("latency"), "net")
    assert (usual.duration_s, usual.warmup_iterations) == (0.6, None)


@pytest.mark.parametrize(
    ("item_s", "seconds"),
    [
        # 0.3 s of warm-up, 0.6 s counted, one more call, 0.2 s around.
        (0.001, 0.3 + 0.6 + 0.001 + 0.2),
        # Ten calls of warm-up take longer than 0.3 s.
        (0.1, 1.0 + 0.6 + 0.1 + 0.2),
        # Ten calls would take 10 s, but three calls and 2 s are enough.
        (1.0, 3.0 + 0.6 + 1.0 + 0.2),
    ],
)
def test_the_expected_length_of_a_turn_by_hand(item_s: float, seconds: float) -> None:
    assert expected_s(funnel(item_s), turn("latency"), "net") == pytest.approx(seconds)


def test_what_is_not_known_yet_is_expected_to_be_as_fast_as_the_original() -> None:
    study = funnel(0.1)
    study.item_s = {"base": 0.2}
    assert expected_s(study, turn("latency"), "net") == pytest.approx(2.0 + 0.6 + 0.2 + 0.2)
