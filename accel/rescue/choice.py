"""Which of the forms tried so far is the one to keep?"""

from __future__ import annotations

from collections.abc import Sequence

from accel.rescue.record import Step

ENOUGH_KEPT = 0.6
"""A form that keeps this share of the time that 8 bits had saved is good enough to end a search."""
_CLEARLY_DB = 0.5
_ALIKE = 1.1
"""Rough times this close together order nothing."""


def kept(step: Step, start: Step) -> float | None:
    """Which share of the time that the failing form `start` saved against FP32 this one saves; None if it saved none.

    >>> slow, fast = (Step(what="", kind="types", compression=(), relative_time=t) for t in (0.7, 0.5))
    >>> round(kept(slow, fast), 3)
    0.6
    """
    if start.relative_time is None or step.relative_time is None or start.relative_time >= 1:
        return None
    return (1 - step.relative_time) / (1 - start.relative_time)


def good_enough(step: Step | None, start: Step) -> bool:
    """True for a form that keeps enough, or where nothing was saved that could be kept."""
    if step is None:
        return False
    share = kept(step, start)
    return share is None or share >= ENOUGH_KEPT


def best(steps: Sequence[Step]) -> Step | None:
    """The fastest acceptable form that saves time at all, settled ones first among those that keep enough.

    Among forms whose rough times can't be told apart, the one closest to the reference (in dB): scores of acceptable
    forms differ by chance, and an unsettled one may be within the limit by luck. A failing form that the validation
    part doesn't show to fail must be beaten in quality as well.
    """
    start = next((step for step in steps if step.kind == "start"), None)
    if start is None:
        return None
    usable = [step for step in steps if step.acceptable and step.kind != "start" and _saves(step, start)]
    if start.acceptable:
        usable = [step for step in usable if better(step, start)]
    enough = [step for step in usable if good_enough(step, start)]
    settled = [step for step in enough if step.outcome == "passes"]
    candidates = settled or enough or usable
    if not candidates:
        return None
    fastest = min(candidates, key=_time)
    ends = fastest.relative_time_high or _time(fastest)
    alike = max(_ALIKE * _time(fastest), ends)
    near = [step for step in candidates if (step.relative_time_low or _time(step)) <= alike]
    return max(near, key=lambda step: (step.distance_db or float("-inf"), -_time(step)))


def closeness(step: Step) -> tuple[float, float]:
    """For ordering by quality: the score where there is one, then the distance from the reference."""
    low = float("-inf")
    return (low if step.score is None else step.score, low if step.distance_db is None else step.distance_db)


def _time(step: Step) -> float:
    return float("inf") if step.relative_time is None else step.relative_time


def _saves(step: Step, start: Step) -> bool:
    share = kept(step, start)
    return share is None or share > 0


def better(step: Step, other: Step) -> bool:
    """Closer to the reference: by the score where it differs, else clearly by distance."""
    if step.outcome == "failed" or other.outcome == "failed":
        return step.outcome != "failed"
    if step.score is not None and other.score is not None and step.score != other.score:
        return step.score > other.score
    if step.distance_db is None or other.distance_db is None:
        return False
    return step.distance_db > other.distance_db + _CLEARLY_DB
