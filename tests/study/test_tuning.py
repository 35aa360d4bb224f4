"""How long a run has to be for a slow model, and who goes on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from accel.plugins import Named
from accel.study.live import Turn
from accel.study.tuning import long_enough


def funnel(item_s: float) -> Any:
    """A study that has scored `net` at `item_s` seconds an item, and timed nothing yet."""
    return SimpleNamespace(results={}, folder=None, item_s={"net": item_s})


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
    found = long_enough(funnel(item_s), turn(target, size), "net")
    assert found.duration_s == pytest.approx(wanted_s)
