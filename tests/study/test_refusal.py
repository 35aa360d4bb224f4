"""A child's failure as the user hears of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from accel.errors import InputError, NothingMeasured
from accel.measurement.isolation import Cause, ChildFailed
from accel.study.refusal import holds_more, refusal

LOG = Path("/x/inspect.log")
TRACEBACK = "Traceback (most recent call last):\n  boom"


def test_a_reason_it_gave_is_wrong_input() -> None:
    found = refusal(ChildFailed("the samples are empty.", "Give one", cause="error"), "Looking", LOG)
    assert isinstance(found, InputError)
    assert str(found) == "The samples are empty. Give one."


def test_a_surprise_names_the_log() -> None:
    found = refusal(ChildFailed("KeyError: 'x'", cause="error", log_tail=TRACEBACK), "Looking", LOG)
    assert isinstance(found, InputError)
    assert str(found) == "Looking failed: KeyError: 'x'. The details are in `/x/inspect.log`."


@pytest.mark.parametrize("cause", ["crash", "hang", "memory"])
def test_a_death_means_that_nothing_was_measured(cause: Cause) -> None:
    found = refusal(ChildFailed("crashed with SIGSEGV while loading", cause=cause, log_tail="x"), "Looking", LOG)
    assert isinstance(found, NothingMeasured)
    assert str(found) == (
        "Looking failed: its process crashed with SIGSEGV while loading. What it printed is in `/x/inspect.log`."
    )
    assert "printed" not in str(refusal(ChildFailed("crashed", cause=cause), "Looking", LOG))


def test_which_logs_are_worth_keeping(tmp_path: Path) -> None:
    assert not holds_more(tmp_path / "none")
    (tmp_path / "a.log").write_text("a warning")
    assert not holds_more(tmp_path)
    (tmp_path / "b.log").write_bytes(b"\xff" + TRACEBACK.encode())
    assert holds_more(tmp_path)
