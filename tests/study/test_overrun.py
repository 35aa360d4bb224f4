"""A budget isn't overrun, however slow the model is: real studies of a function that sleeps half a second an item."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accel
from accel.errors import NothingMeasured
from tests.study.processes import children_of

GIVEN = {"x": np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)}


_STARTS = 30
"""A study of this kind starts fewer processes than that; on a busy machine starting them is what takes longer."""


def grace_s() -> float:
    """The 15 s that a small budget may be overrun by, and what starting processes takes just now."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import numpy, msgspec"], check=True)
    return 15 + _STARTS * (time.monotonic() - begun)


def slow(x: Any) -> Any:
    """Half a second an item."""
    import time as clock

    clock.sleep(0.5 * len(x))
    return {"y": x.sum(axis=1, keepdims=True)}


def never(x: Any) -> Any:
    """A quarter of an hour an item."""
    import time as clock

    clock.sleep(900)
    return {"y": x}


def test_a_slow_model_is_measured_within_a_small_budget(tmp_path: Path) -> None:
    study = None
    for budget in (20, 80):  # on a busy machine the first may be too little, which must not be overrun either
        grace, begun = grace_s(), time.monotonic()
        with contextlib.suppress(NothingMeasured):
            study = accel.bench(slow, GIVEN, budget=f"{budget}s", out=tmp_path / f"{budget}")
        assert time.monotonic() - begun <= budget + grace
        if study is not None:
            break
    assert study is not None
    base = study.conclusion.row(study.record.baseline)
    assert base.status == "ok"
    assert study.record.not_bought, "it says what the time was too short for"
    assert any("did not buy everything" in f.what for f in study.conclusion.findings)
    assert not children_of(study.folder)


def test_one_that_does_not_fit_at_all_says_which_budget_would(tmp_path: Path) -> None:
    grace, begun = grace_s(), time.monotonic()
    with pytest.raises(NothingMeasured, match=r"budget of 10 s ended while .*use --budget \d+s or more"):
        accel.bench(never, GIVEN, budget="10s", out=tmp_path / "out")
    assert time.monotonic() - begun <= 10 + grace
    assert not children_of(tmp_path / "out")
