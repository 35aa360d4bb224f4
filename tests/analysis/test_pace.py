"""The machine's pace over made-up studies: even, drifting, uneven, and too few runs to tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from accel.analysis.pace import pace
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result


def study(seconds: Sequence[float]) -> list[Result]:
    made = [
        Result(
            run_id=f"r{i:03}",
            study_id="s",
            phase="blocks",
            variant=Variant(name="v", backend=Named("null")),
            role="candidate",
            status="ok",
            created_unix_ns=i,
            canary_s=(s, s),
        )
        for i, s in enumerate(seconds)
    ]
    return made[::-1]


def test_by_hand() -> None:
    found = pace(study([1.0] * 6 + [1.02] * 6 + [1.2] * 6))
    assert found is not None
    assert (found.runs, found.change) == (18, pytest.approx(0.2))
    assert found.off == tuple(f"r{i:03}" for i in range(12, 18))
    assert found.spread == pytest.approx(np.std([1.0, 1.02, 1.2] * 6, ddof=1) / (3.22 / 3))
    assert found.trend_p < 1e-4
    assert found.drifted
    assert found.uneven


def test_a_machine_that_keeps_its_pace() -> None:
    rng = np.random.default_rng(1)
    alarms = [pace(study(1.0 + 0.02 * rng.normal(size=40))) for _ in range(50)]
    assert not any(a.drifted or a.uneven for a in alarms if a is not None)
    still = pace(study([1.0] * 20))
    assert still is not None
    assert (still.spread, still.change, still.trend_p, still.off) == (0.0, 0.0, 1.0, ())


def test_a_sure_but_small_trend_is_no_drift() -> None:
    found = pace(study([1.0 + 0.001 * i for i in range(30)]))
    assert found is not None
    assert found.trend_p < 0.01
    assert not found.drifted


def test_ups_and_downs_are_uneven_without_a_drift() -> None:
    found = pace(study([1.0, 1.0, 1.3, 0.8, 1.0] * 6))
    assert found is not None
    assert found.uneven
    assert not found.drifted


def test_too_few_runs_or_no_canary_say_nothing() -> None:
    assert pace(study([1.0] * 17)) is None
    assert pace([]) is None
