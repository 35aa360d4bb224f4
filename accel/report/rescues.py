"""What rescues tried and found, as plain values for the page and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from accel.analysis.conclusion import Conclusion, Row
from accel.analysis.rescues import chosen_step, kept, rescued_row
from accel.report import words
from accel.rescue.record import Rescue, Step

_KINDS = {
    "start": "the variant that failed",
    "switch": "a setting",
    "types": "operator types in float",
    "blocks": "blocks in float",
    "nodes": "single layers in float",
}


GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "rescue",
        "the search for a form of a quantized variant that keeps the guard; it chooses on the validation part alone",
    ),
    (
        "calibration, validation, evaluation",
        "samples to read ranges from, to choose by, and to report on; never shared",
    ),
)


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One step: what was changed, how, what stays in float for it; score and time as text. kind: a style's name."""

    what: str
    how: str
    left_float: tuple[str, ...]
    score: str
    lost: str
    time: str
    outcome: str
    reason: str
    chosen: bool


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One rescue: whose, what came of it, the figures beside it, its steps. became: the rescued variant, or ""."""

    variant: str
    said: str
    became: str
    judged: str
    facts: tuple[tuple[str, str], ...]
    steps: tuple[Tried, ...]


def told(conclusion: Conclusion) -> tuple[Told, ...]:
    """Every rescue of a study, in the order of its variants' names."""
    return tuple(_told(rescue, conclusion) for rescue in conclusion.rescues)


def lines(conclusion: Conclusion) -> Iterator[str]:
    """One line a rescue for the end of a terminal's table."""
    for one in told(conclusion):
        became = f" {one.judged}." if one.judged else ""
        yield f"Rescue of {one.variant} ({_steps(len(one.steps))}): {one.said.rstrip('.')}.{became}"


def of_variant(conclusion: Conclusion, name: str) -> Iterator[str]:
    """Everything about the rescue that a variant went through, or came from, line by line."""
    for rescue in conclusion.rescues:
        row = rescued_row(rescue, conclusion.rows)
        if row is not None and row.name == name != rescue.variant:
            yield f"rescued from: {rescue.variant} ({rescue.said})"
        if rescue.variant != name:
            continue
        one = _told(rescue, conclusion)
        yield f"rescue: {one.said}"
        yield from (f"rescue, {label}: {value}" for label, value in one.facts)
        for step in one.steps:
            mark = "*" if step.chosen else "-"
            figures = ", ".join(filter(None, (step.score, step.lost, step.time, step.outcome)))
            left = f"; in float: {', '.join(step.left_float)}" if step.left_float else ""
            yield f"  {mark} {step.what}: {figures or step.reason}{left}"


def _told(rescue: Rescue, conclusion: Conclusion) -> Told:
    row = rescued_row(rescue, conclusion.rows)
    chosen = chosen_step(rescue) if rescue.chosen is not None else None
    return Told(
        variant=rescue.variant,
        said=rescue.said,
        became="" if row is None else row.name,
        judged="" if row is None else _judged(row),
        facts=tuple(_facts(rescue)),
        steps=tuple(_tried(step, step is chosen) for step in rescue.steps),
    )


def _judged(row: Row) -> str:
    """How the rescued variant did where nothing was chosen by."""
    if row.quality is None:
        return f"{row.name} was not judged: {row.reason}" if row.reason else f"{row.name} was not judged"
    figure = f"{words.accuracy_word(row.quality)} {words.accuracy(row.quality)}"
    return f"On the evaluation part {row.name} {words.guard_word(row.quality)}: {figure}"


def _facts(rescue: Rescue) -> Iterator[tuple[str, str]]:
    share = kept(rescue) if rescue.chosen is not None else None
    if share is not None:
        value, low, high = share
        ends = "" if low is None or high is None else f" [{100 * low:.0f}–{100 * high:.0f}]"
        yield "kept of the time saved (rough)", f"{100 * value:.0f} %{ends}"
    if rescue.self_check_error is not None:
        yield "self-check, all in float against the float model", f"relative error {rescue.self_check_error:.1e}"
    if rescue.clean_error is not None:
        yield "made cleanly against as searched", f"relative error {rescue.clean_error:.1e}"
    if rescue.steps:
        yield (
            "search",
            f"{_steps(len(rescue.steps))} in {rescue.seconds:.0f} s"
            + ("" if rescue.complete else ", ended by its time"),
        )


def _tried(step: Step, chosen: bool) -> Tried:
    return Tried(
        what=step.what,
        how=_KINDS.get(step.kind, step.kind),
        left_float=step.left_float,
        score="" if step.score is None else f"{step.score:.3f}",
        lost=_lost(step),
        time=_time(step),
        outcome=step.outcome,
        reason=step.reason,
        chosen=chosen,
    )


def _lost(step: Step) -> str:
    """Points against the reference, or the distance to it."""
    if step.drop is not None:
        # The sum turns a negative zero into a positive one.
        return f"{-100 * step.drop + 0.0:+.2g} points".replace("-", "−")
    return "" if step.distance_db is None else f"{step.distance_db:.1f} dB"


def _time(step: Step) -> str:
    if step.relative_time is None:
        return ""
    low, high = step.relative_time_low, step.relative_time_high
    ends = "" if low is None or high is None else f" [{low:.2f}–{high:.2f}]"
    return f"{step.relative_time:.2f}{ends} of FP32's time"


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"
