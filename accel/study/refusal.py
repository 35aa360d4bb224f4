"""A failure of a child, told to the user: wrong input if the child could say what is wrong, else its death and log."""

from __future__ import annotations

from pathlib import Path

from accel.errors import AccelError, InputError, NothingMeasured
from accel.measurement.isolation import ChildFailed

_TRACEBACK = "Traceback (most recent call last)"


def refusal(error: ChildFailed, doing: str, log: Path) -> AccelError:
    """The error to raise instead.

    InputError: the child lived on and gave a reason. NothingMeasured: it crashed, hung or ran out of memory.
    The log is named where it holds more than the sentence does. doing: "Looking at the model".
    """
    reason = error.reason.rstrip(".")
    told = error.cause == "error"
    if told and _TRACEBACK not in error.log_tail:
        return InputError(_sentences(reason, error.next_step))
    if told:
        return InputError(_sentences(f"{doing} failed: {reason}", error.next_step, f"The details are in `{log}`"))
    printed = f"What it printed is in `{log}`" if error.log_tail else ""
    return NothingMeasured(_sentences(f"{doing} failed: its process {reason}", error.next_step, printed))


def holds_more(log: Path) -> bool:
    """True if a log tells more than the sentence did, so that it must outlive a study that never began."""
    return any(_TRACEBACK in path.read_text("utf-8", "replace") for path in log.glob("*.log"))


def _sentences(*parts: str) -> str:
    return " ".join(f"{part[0].upper()}{part[1:].rstrip('.')}." for part in parts if part)
