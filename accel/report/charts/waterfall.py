"""Where the speed came from: compilation, then compression, then batching."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from accel.analysis.conclusion import Conclusion, Step
from accel.report import words
from accel.report.charts import Place, Traces
from accel.report.charts._draw import data, finish
from accel.report.charts._theme import BAD, GRID, INK, MUTED, ORIGINAL, WINNER

_RATE_UNITS = ("1/s", "/s", "items/s", "requests/s")
_ROW_PX = 66


class Waterfall(msgspec.Struct, frozen=True, kw_only=True):
    """One bar a strategy: what there was in grey, what it added in colour."""

    place: ClassVar[Place] = "beside"
    order: ClassVar[int] = 20

    def title(self, conclusion: Conclusion) -> str:
        """The heading of the first screen's right column."""
        return "Where it came from"

    def note(self, conclusion: Conclusion) -> str:
        """Which strategy gave most, which could not be shown to give anything, and which was never measured."""
        steps = [s for s in conclusion.waterfall if s.strategy != "original"]
        known = [s for s in steps if s.ratio is not None and s.ratio.low is not None]
        parts = []
        shown = [(s.ratio.value, s.strategy) for s in known if s.shown and s.ratio is not None]
        if shown and max(shown)[0] > 1:
            parts.append(f"{max(shown)[1].capitalize()} gave most of it")
        if silent := [s.strategy for s in known if not s.shown]:
            parts.append(f"{' and '.join(silent)} added nothing that could be shown")
        if unknown := [s.strategy for s in steps if s not in known]:
            parts.append(f"what {' and '.join(unknown)} added wasn't measured beside the step before")
        text = "; ".join(parts)
        return f"{text[:1].upper()}{text[1:]}." if text else ""

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None:
        """Bars from the top down; None if there is nothing beside the original."""
        steps = conclusion.waterfall
        if len(steps) < 2:
            return None
        import altair as alt

        right = max(s.value for s in steps) * 1.22
        x = alt.X("x:Q", scale=alt.Scale(domain=[0, right], nice=False), axis=None)
        y = alt.Y("y:Q", scale=alt.Scale(domain=[len(steps), 0], nice=False), axis=None)
        box = {"x": x, "x2": "x2:Q", "y": y, "y2": "y2:Q"}
        bed = data(_bed(steps, right)).mark_rect(color=GRID, opacity=0.35).encode(**box)
        bars = (
            data(_bars(steps))
            .mark_rect()
            .encode(
                **box,
                color=alt.Color("colour:N", scale=None),
                opacity=alt.Opacity("opacity:Q", scale=None),
                tooltip="tip:N",
            )
        )
        chart = alt.layer(bed, bars, *_texts(steps, width, x, y))
        return finish(chart, width=width, height=_ROW_PX * len(steps))


def _bed(steps: tuple[Step, ...], right: float) -> list[dict[str, Any]]:
    return [{"x": 0, "x2": right, "y": i + 0.44, "y2": i + 0.74} for i in range(len(steps))]


def _bars(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    before, doubt = steps[0].value, _doubt(steps)
    for i, step in enumerate(steps):
        kept, grown = min(before, step.value), abs(step.value - before)
        tip = f"{_label(step)}: {_value(step, doubt)} ({step.variant})"
        place = {"y": i + 0.44, "y2": i + 0.74, "tip": tip}
        found.append({"x": 0.0, "x2": kept, "colour": ORIGINAL, "opacity": 0.45 if i else 0.75, **place})
        if grown:
            colour = WINNER if step.value > before else BAD
            opacity = 1.0 if step.shown else 0.5
            found.append({"x": kept, "x2": kept + grown, "colour": colour, "opacity": opacity, **place})
        before = step.value
    return found


def _texts(steps: tuple[Step, ...], width: int, x: Any, y: Any) -> list[Any]:
    import altair as alt

    def text(at: Any, values: list[dict[str, Any]], colour: str, **mark: Any) -> Any:
        style = {"align": "left", "baseline": "middle", "fontSize": 14, **mark}
        return data(values).mark_text(color=colour, **style).encode(x=at, y=y, text="text:N")

    layers: list[Any] = []
    before, doubt = 0.0, _doubt(steps)
    for i, step in enumerate(steps):
        strong, weak = _gain(step)
        top = i + 0.28
        layers += [
            text(alt.value(0), [{"y": top, "text": _label(step)}], INK),
            text(alt.value(width), [{"y": top, "text": weak}], MUTED, align="right"),
            text(
                alt.value(width - 7.6 * len(weak) - 8),
                [{"y": top, "text": strong}],
                WINNER if step.shown else MUTED,
                align="right",
                fontWeight="bold",
            ),
            text(
                x, [{"x": max(step.value, before), "y": i + 0.59, "text": _value(step, doubt)}], INK, dx=7, fontSize=13
            ),
        ]
        before = step.value
    return layers


def _label(step: Step) -> str:
    return "original" if step.strategy == "original" else f"+ {step.strategy}"


def _value(step: Step, doubt: float) -> str:
    """The value with the digits that a relative half-width of `doubt` allows."""
    text = words.rounded(step.value, doubt * step.value)
    return f"{text}/s" if step.unit in _RATE_UNITS else f"{text} {step.unit}"


def _doubt(steps: tuple[Step, ...]) -> float:
    """The smallest relative half-width among the steps' ratios; they are what is known of the values' intervals."""
    halves = [(h / s.ratio.value) for s in steps if s.ratio is not None and (h := words.half_width(s.ratio))]
    return min(halves, default=0.05)


def _gain(step: Step) -> tuple[str, str]:
    """What is written at the right: the ratio and its interval, or why there is none."""
    if step.strategy == "original":
        return "", ""
    if step.ratio is None:
        return "", "not measured"
    if not step.shown:
        return "n.s.", "not shown"
    return f"×{words.value_of(step.ratio)}", words.ends_of(step.ratio)
