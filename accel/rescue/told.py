"""What a rescue came to, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accel import plugins
from accel.rescue.choice import closeness
from accel.rescue.record import Step


def told(variant: str, steps: Sequence[Step], best: Step | None, *, kept: float | None) -> str:
    """The sentence of the page and the terminal; names the settings, operator types or nodes."""
    tried = [step for step in steps if step.kind != "start"]
    if best is not None:
        share = _share(kept)
        held = (
            "is within the guard again" if best.outcome == "passes" else "is within the guard's limit again, unresolved"
        )
        return f"`{variant}` {held} with {_changed(steps, best)}{_score(best)}{share}."
    if not tried:
        return f"No improvement found for `{variant}`: there was nothing to try in the time given."
    acceptable = [step for step in tried if step.acceptable]
    if acceptable:
        return (
            f"No improvement found for `{variant}`: {len(acceptable)} of {_forms(len(tried))} meet the guard, but none "
            "is faster than float32."
        )
    scored = [step for step in tried if step.outcome != "failed"]
    if not scored:
        return f"No improvement found for `{variant}`: none of {_forms(len(tried))} could be made: {tried[0].reason}."
    closest = max(scored, key=closeness)
    return (
        f"No improvement found for `{variant}`: none of {_forms(len(tried))} meets the guard; the closest was "
        f"{closest.what}{_score(closest)}."
    )


def _share(kept: float | None) -> str:
    if kept is None:
        return ""
    return ", keeping " + (f"about {100 * kept:.0f} %" if kept < 1 else "all") + " of the time saved (rough)"


def _forms(count: int) -> str:
    return "the one form tried" if count == 1 else f"the {count} forms tried"


def _score(step: Step) -> str:
    if step.score is not None:
        return f" (validation {step.score:.3g})"
    return "" if step.distance_db is None else f" ({step.distance_db:.1f} dB from the reference)"


def _changed(steps: Sequence[Step], best: Step) -> str:
    """The fields in which the chosen form differs from the one that failed."""
    first = next((step for step in steps if step.kind == "start"), None)
    before: dict[str, Any] = {}
    for named in first.compression if first is not None else ():
        before |= {f"{named.name}.{key}": value for key, value in named.fields.items()}
    words = []
    for named in best.compression:
        for key, value in named.fields.items():
            if before.get(f"{named.name}.{key}") != value:
                words.append(f"{key} = {_value(value)}")
        gone = [k.partition(".")[2] for k in before if k.startswith(f"{named.name}.")]
        technique = plugins.make("compression", named)
        words += [f"{key} = {_value(getattr(technique, key))}" for key in gone if key not in named.fields]
    return " and ".join(words) or "the same settings"


def _value(value: Any, most: int = 4) -> str:
    if isinstance(value, (list, tuple)):
        shown = ", ".join(str(one) for one in value[:most])
        return shown if len(value) <= most else f"{shown} and {len(value) - most} more"
    return str(value)


def some(names: Sequence[str], most: int = 4) -> str:
    """The first few names, and how many more.

    >>> some(["Add", "Mul"], 1)
    '`Add` and 1 more'
    """
    listed = ", ".join(f"`{name}`" for name in names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
