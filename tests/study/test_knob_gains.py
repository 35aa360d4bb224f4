"""What a setting gained, in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from accel.study import knob_gains


@pytest.mark.parametrize(
    ("found", "said"),
    [
        # Twice less memory is half of it.
        (
            {"memory": [2.0, 1.6, 2.5]},
            "0.50× the memory [0.40–0.62] of `plain` in 3 interleaved rounds (lowest–highest)",
        ),
        ({"batch": [1.5]}, "1.50× the items/s [1.50–1.50] of `plain` in 1 interleaved round (lowest–highest)"),
        ({"batch": []}, "it was not measured beside `plain`"),
    ],
)
def test_a_gain_is_said_of_whom_it_was_measured_beside(
    found: dict[str, list[float]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knob_gains, "gains", lambda *_: found)
    one: Any = SimpleNamespace(variant=SimpleNamespace(name="set"), parent="plain")
    assert knob_gains.told(None, one) == said  # type: ignore[arg-type]
