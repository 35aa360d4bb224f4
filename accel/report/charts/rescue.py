"""What a rescue tried: accuracy on the validation part against the time of a call, step after step."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from accel.analysis.conclusion import Conclusion
from accel.analysis.rescues import chosen_step
from accel.report import words
from accel.report.charts import Place, Traces
from accel.report.charts._draw import data, finish, flat
from accel.report.charts._theme import BAD, INK, MUTED, OTHERS, WINNER, short
from accel.rescue.record import Rescue, Step

_TICKS = (20, 5, 1, 0, -1, -5, -20, -100)
_MOST = 4
_SHAPES = {"start": "cross", "tried": "circle", "within the guard": "diamond", "chosen": "square"}


class RescueChart(msgspec.Struct, frozen=True, kw_only=True):
    """One path a rescue: from the failing variant through the forms that were tried to the one that was chosen."""

    place: ClassVar[Place] = "below"
    order: ClassVar[int] = 90

    def title(self, conclusion: Conclusion) -> str:
        """A question a reader would ask."""
        return "What did it take to get the accuracy back?"

    def note(self, conclusion: Conclusion) -> str:
        """How to read the marks, and what the figures are not."""
        return (
            "Up is better, left is faster: the time of a call against the same backend in FP32, timed roughly, both in "
            "one process by turns. Scored on the validation part alone; the accuracy in the other tables is from the "
            "evaluation part. Cross: the variant that failed; square: what was chosen; diamond: within the guard."
        )

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None:
        """None unless a rescue has two steps with a time and a distance from the reference."""
        measure = _measure(conclusion.rescues)
        paths = {r.variant: _path(r, measure) for r in conclusion.rescues}
        paths = {name: path for name, path in paths.items() if len(path) > 1}
        points = [p for path in list(paths.values())[:_MOST] for p in path]
        if not points:
            return None
        import altair as alt

        x, y = _axes(points, measure)
        chosen = dict(zip(paths, (WINNER, *OTHERS), strict=False))
        legend = alt.Legend(columns=1) if len(chosen) > 1 else None
        scale = alt.Scale(domain=list(chosen), range=list(chosen.values()))
        colour = alt.Color("rescue:N", scale=scale, legend=legend)
        shapes = alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values()))
        base = data(points)
        line = base.mark_line(strokeWidth=1.2, opacity=0.5).encode(x=x, y=y, color=colour, order="order:Q")
        across = base.mark_rule(strokeWidth=1.2, opacity=0.5).encode(x="x_low:Q", x2="x_high:Q", y="y:Q", color=colour)
        tips = [alt.Tooltip(f"{key}:N") for key in ("rescue", "step", "state", "accuracy")]
        tips.append(alt.Tooltip("x:Q", title="time against FP32 (rough)", format=".3~r"))
        marks = base.mark_point(filled=True, size=110, opacity=1).encode(
            x=x, y=y, color=colour, shape=alt.Shape("state:N", scale=shapes, legend=None), tooltip=tips
        )
        layers = [*_limits(conclusion, measure), line, across, marks, *_names(points, width)]
        return finish(alt.layer(*layers), width=width, height=300)


def _measure(rescues: tuple[Rescue, ...]) -> str:
    """Points against the reference where steps have them, else decibels."""
    return "points" if any(s.drop is not None for r in rescues for s in r.steps) else "dB"


def _path(rescue: Rescue, measure: str) -> list[dict[str, Any]]:
    chosen = chosen_step(rescue) if rescue.chosen is not None else None
    points = []
    for number, step in enumerate(rescue.steps):
        y = -100 * step.drop if measure == "points" and step.drop is not None else step.distance_db
        if step.relative_time is None or y is None or (measure == "points" and step.drop is None):
            continue
        points.append(
            {
                "rescue": rescue.variant,
                "step": step.what,
                "state": _state(step, chosen),
                "order": number,
                "x": step.relative_time,
                "x_low": step.relative_time if step.relative_time_low is None else step.relative_time_low,
                "x_high": step.relative_time if step.relative_time_high is None else step.relative_time_high,
                "y": round(y, 4),
                "accuracy": words.NOTHING if step.score is None else f"{step.score:.3f}",
            }
        )
    return points


def _state(step: Step, chosen: Step | None) -> str:
    if step is chosen:
        return "chosen"
    if step.kind == "start":
        return "start"
    return "within the guard" if step.acceptable else "tried"


def _axes(points: list[dict[str, Any]], measure: str) -> tuple[Any, Any]:
    import altair as alt

    left = min(p["x_low"] for p in points)
    right = max([1.0, *(p["x_high"] for p in points)])
    room = 0.12 * (right - left)
    x_axis = alt.Axis(title="time of a call, 1 = the same backend in FP32 (rough)", tickCount=6, format="~r")
    x = alt.X("x:Q", scale=alt.Scale(domain=[left - room, right + room], nice=False, zero=False), axis=x_axis)
    bottom, top = _span(points)
    title = "points against the reference (bent scale)" if measure == "points" else "SQNR, dB (median)"
    y_axis = alt.Axis(title=title, format="~r", labelOverlap=False)
    if measure != "points":
        return x, alt.Y("y:Q", scale=alt.Scale(domain=[bottom, top], zero=False, nice=False), axis=y_axis)
    y_axis.values = [v for v in _TICKS if bottom <= v <= top]
    return x, alt.Y("y:Q", scale=alt.Scale(type="symlog", constant=1, domain=[bottom, top], nice=False), axis=y_axis)


def _span(points: list[dict[str, Any]]) -> tuple[float, float]:
    """The vertical axis' ends, with room for a name below the lowest mark."""
    bottom, top = min(p["y"] for p in points), max(p["y"] for p in points)
    return (bottom * 1.8 - 0.3, max(top, 0.0) + 0.4) if bottom < 0 else (bottom * 0.85 - 0.3, top * 1.08 + 0.4)


def _limits(conclusion: Conclusion, measure: str) -> list[Any]:
    """The guard's limit across, and FP32's time as an upright line."""
    upright = data([{"x": 1.0}]).mark_rule(color=MUTED, strokeDash=[2, 3], strokeWidth=1).encode(x="x:Q")
    if measure != "points":
        return [upright, *flat(20.0, "guard: 20 dB", dash=[2, 3], colour=BAD)]
    agreed = all("agreement" in r.quality.rule for r in conclusion.rows if r.quality is not None)
    limit = 1.0 if agreed else 100 * conclusion.record.accuracy_drop
    said = f"guard: −{limit:g} point{'' if limit == 1 else 's'}"
    return [upright, *flat(-limit, said, dash=[2, 3], colour=BAD)]


def _names(points: list[dict[str, Any]], width: int) -> list[Any]:
    """The failing variant and the chosen form by name; the others are told in the list and by pointing at them."""
    import altair as alt

    middle = (min(p["x"] for p in points) + max(p["x"] for p in points)) / 2
    layers = []
    for point in points:
        if point["state"] not in ("start", "chosen"):
            continue
        text = short(point["rescue"] if point["state"] == "start" else point["step"], 44 if width > 500 else 24)
        at_left = point["x"] <= middle
        mark = data([{"x": point["x"], "y": point["y"], "text": text}]).mark_text(
            color=INK, align="left" if at_left else "right", dx=9 if at_left else -9, dy=15, baseline="middle"
        )
        layers.append(mark.encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), text="text:N"))
    return layers
