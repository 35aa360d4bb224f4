"""Ask a child for something with two clocks running: its own patience, and what is left of the budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accel.measurement.isolation import Child, ChildFailed
from accel.study.budget import BudgetEnded


def ask_within(
    child: Child,
    command: dict[str, Any],
    *,
    timeout_s: float,
    left_s: float,
    on_stage: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Ask a child, for `timeout_s` at most and no longer than the study has `left_s`.

    Raises ChildFailed for what the child is to blame for, BudgetEnded where only the time was up.
    """
    if left_s <= 0:
        raise BudgetEnded("it waited for its turn")
    try:
        return child.ask(command, timeout_s=min(timeout_s, left_s), on_stage=on_stage)
    except ChildFailed as error:
        if error.cause == "hang" and left_s < timeout_s:
            raise BudgetEnded(error.reason.rpartition(" while ")[2]) from None
        raise
