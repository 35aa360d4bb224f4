"""What is to be said of variants that lost their accuracy and were rescued, or could not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from accel.analysis import wording as words
from accel.analysis.conclusion import Finding, Row
from accel.analysis.findings.seen import Seen
from accel.analysis.rescues import chosen_step, kept, lost, rescued_row
from accel.rescue.record import Rescue
from accel.result import Quality

_HOW = "A rescue chooses on samples that neither calibrate nor are reported; the accuracy here is from the others."


def _rescued(seen: Seen) -> Iterator[Finding]:
    for rescue in seen.rescues:
        parent = next((r for r in seen.rows if r.name == rescue.variant), None)
        if parent is None or parent.quality is None:
            continue
        begins = f"`{rescue.variant}` {lost(parent.quality)}"
        row = rescued_row(rescue, seen.rows)
        if rescue.chosen is None:
            yield Finding(what=f"{begins}; no improvement was found.", why=rescue.said, weight=66)
        elif row is None or row.quality is None or row.status not in ("ok", "refused"):
            why = "" if row is None else f" {row.reason}"
            yield Finding(
                what=f"{begins}; a form that keeps it was found, but not measured.",
                why=f"{rescue.said}{why}",
                weight=67,
            )
        else:
            yield _measured(begins, rescue, row, row.quality)


def _measured(begins: str, rescue: Rescue, row: Row, quality: Quality) -> Finding:
    step = chosen_step(rescue)
    by = "changed" if step is None else f"with {step.what}"
    left = "" if step is None or not step.left_float else f" (in float: {_listed(step.left_float)})"
    back = {"passes": f"{by}{left} it passes the guard", "fails": f"{by}{left} it still fails it"}.get(
        quality.outcome, f"{by}{left} it comes near, but {_unresolved(quality)}"
    )
    return Finding(
        what=f"{begins}; {back}, {words.accuracy_short(quality)}{_speed(rescue, quality)}.",
        why=f"See `{row.name}`. {_HOW}",
        weight=82 if quality.outcome != "fails" else 66,
    )


def _unresolved(quality: Quality) -> str:
    needed = f"; about {quality.needed:,} would settle it" if quality.needed else ""
    return f"{quality.samples} samples leave it unresolved{needed}"


def _speed(rescue: Rescue, quality: Quality) -> str:
    """The share of the time saved that is kept, labelled as the rough timing it is."""
    found = kept(rescue)
    if found is None or quality.outcome == "fails":
        return ""
    value, low, high = found
    ends = "" if low is None or high is None else f" [{100 * low:.0f}–{100 * high:.0f}]"
    return f", and keeps {100 * value:.0f} %{ends} of the time saved, timed roughly during the rescue"


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (_rescued,)
