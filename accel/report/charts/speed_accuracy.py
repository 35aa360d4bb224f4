"""What speed cost in accuracy, and what was refused for it."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import msgspec

from accel.analysis.conclusion import Comparison, Conclusion, Row
from accel.analysis.guard import is_probe
from accel.report import words
from accel.report.charts import Place, Traces
from accel.report.charts._draw import data, finish, flat, ticks_ratio
from accel.report.charts._theme import BAD, INK, MUTED, ORIGINAL, OTHERS, WINNER, short, winners
from accel.result import Quality

_STATES = {
    "original": ORIGINAL,
    "passes": WINNER,
    "unresolved": OTHERS[0],
    "refused": BAD,
}
_SHAPES = {
    "original": "square",
    "passes": "circle",
    "unresolved": "diamond",
    "refused": "cross",
}
_PROBE = "speed probe"

_TICKS = (20, 5, 1, 0, -1, -5, -20, -100)

Measure = Literal["metric", "agreement", "sqnr"]


class SpeedAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Speed-up against accuracy, one mark a variant; refused ones are crosses, speed probes triangles."""

    place: ClassVar[Place] = "below"
    order: ClassVar[int] = 30

    def title(self, conclusion: Conclusion) -> str:
        """A question a reader would ask."""
        return "Is the speed paid for with accuracy?"

    def note(self, conclusion: Conclusion) -> str:
        """How to read the marks."""
        kind = "one request at a time" if _speed_kind(conclusion) == "latency" else "batch throughput"
        limit = words.points(conclusion.record.accuracy_drop)
        guard = f" A loss of more than {limit} is refused." if _measure(conclusion) == "metric" else ""
        untimed = [r for r in conclusion.rows if r.status == "refused" and _speed(r, conclusion) is None]
        known = ", ".join(f"{r.name} ({words.accuracy(r.quality, interval=False)})" for r in untimed if r.quality)
        left_out = f" Refused before it was timed: {known}." if known else ""
        return (
            f"Up and to the right is better. Speed-up of {kind} against the original.{guard} Bars: 95 % intervals."
            + left_out
        )

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None:
        """None unless two variants have both a speed and an accuracy."""
        measure = _measure(conclusion)
        points = [p for r in conclusion.rows if (p := _point(r, measure, conclusion))] if measure else []
        if len(points) < 2 or measure is None:
            return None
        import altair as alt

        x, y = _axes(points, measure, conclusion)
        base = data(points)
        colours, shapes = _styles(points)
        colour = alt.Color("state:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=None)
        shape = alt.Shape("state:N", scale=alt.Scale(domain=list(shapes), range=list(shapes.values())), legend=None)
        bar = base.mark_rule(strokeWidth=1.3, opacity=0.6)
        across = bar.encode(x="x_low:Q", x2="x_high:Q", y="y:Q", color=colour)
        along = bar.encode(x="x:Q", y="y_low:Q", y2="y_high:Q", color=colour)
        tips = [
            alt.Tooltip("variant:N"),
            alt.Tooltip("state:N", title="guard"),
            alt.Tooltip("x:Q", title="speed-up", format=".3~r"),
            alt.Tooltip("accuracy:N", title=words.accuracy_word(conclusion.rows[0].quality)),
        ]
        marks = base.mark_point(filled=True, size=130, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
        layers = [
            *_guard(conclusion, measure),
            across,
            along,
            marks.encode(tooltip=tips),
            *_names(points, width),
        ]
        return finish(alt.layer(*layers), width=width, height=330)


def _measure(conclusion: Conclusion) -> Measure | None:
    """The strongest measure that the variants share."""
    known = [r.quality for r in conclusion.rows if r.quality is not None]
    if any(q.drop is not None and not q.synthetic for q in known):
        return "metric"
    if any(q.agreement is not None and not (q.synthetic or q.random_weights) for q in known):
        return "agreement"
    return "sqnr" if any(q.sqnr_db is not None and math.isfinite(q.sqnr_db) for q in known) else None


def _of(quality: Quality, measure: Measure) -> tuple[float | None, float | None, float | None]:
    """The value and its ends: percentage points against the original, or decibels."""
    if measure == "metric":
        if quality.drop is None:
            return None, None, None
        return _points_of(-quality.drop), _points_of(quality.drop_high, -1), _points_of(quality.drop_low, -1)
    if measure == "agreement":
        if quality.agreement is None:
            return None, None, None
        ends = (quality.agreement_low, quality.agreement_high)
        low, high = (None if e is None else _points_of(e - 1) for e in ends)
        return _points_of(quality.agreement - 1), low, high
    known = quality.sqnr_db is not None and math.isfinite(quality.sqnr_db)
    return (quality.sqnr_db if known else None), None, None


def _points_of(part: float | None, sign: int = 1) -> float | None:
    return None if part is None else round(100 * sign * part, 4)


def _speed_kind(conclusion: Conclusion) -> Literal["latency", "batch"]:
    batch = sum(r.speedup_batch is not None for r in conclusion.rows)
    latency = sum(r.speedup_latency is not None for r in conclusion.rows)
    return "batch" if batch >= latency and conclusion.record.target != "online" else "latency"


def _speed(row: Row, conclusion: Conclusion) -> Comparison | None:
    return row.speedup_batch if _speed_kind(conclusion) == "batch" else row.speedup_latency


def _point(row: Row, measure: Measure | None, conclusion: Conclusion) -> dict[str, Any] | None:
    speed = _speed(row, conclusion)
    if row.quality is None or measure is None or (speed is None and not row.is_baseline):
        return None
    value, low, high = _of(row.quality, measure)
    if value is None:
        return None
    ratio = speed.ratio if speed is not None and not row.is_baseline else None
    x = ratio.value if ratio else 1.0
    return {
        "variant": row.name,
        "state": _state(row),
        "winner": row.name in winners(conclusion),
        "x": x,
        "x_low": ratio.low if ratio and ratio.low else x,
        "x_high": ratio.high if ratio and ratio.high else x,
        "accuracy": words.accuracy(row.quality),
        "y": value,
        "y_low": value if low is None else low,
        "y_high": value if high is None else high,
    }


def _styles(points: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """Colours and shapes by state; that of speed probes only where there are some."""
    if not any(p["state"] == _PROBE for p in points):
        return _STATES, _SHAPES
    return {**_STATES, _PROBE: MUTED}, {**_SHAPES, _PROBE: "triangle-up"}


def _state(row: Row) -> str:
    if row.is_baseline:
        return "original"
    if is_probe(row.quality):
        return _PROBE
    if row.status in ("refused", "wrong") or (row.quality is not None and row.quality.outcome == "fails"):
        return "refused"
    passes = row.quality is not None and row.quality.outcome == "passes"
    return "passes" if passes else "unresolved"


def _axes(points: list[dict[str, Any]], measure: Measure, conclusion: Conclusion) -> tuple[Any, Any]:
    import altair as alt

    low, high = min(p["x_low"] for p in points) / 1.25, max(p["x_high"] for p in points) * 1.35
    axis = alt.Axis(title="speed-up (log)", values=ticks_ratio(low, high), labelExpr="datum.label + '×'", format="~r")
    x = alt.X("x:Q", scale=alt.Scale(type="log", domain=[low, high], nice=False), axis=axis)
    y_axis = alt.Axis(title=_y_title(measure, conclusion), tickCount=6, format="~r", labelOverlap=False)
    bottom, top = _span(points)
    if measure == "sqnr":
        return x, alt.Y("y:Q", scale=alt.Scale(domain=[bottom, top], zero=False, nice=False), axis=y_axis)
    bent = alt.Scale(type="symlog", constant=1, domain=[bottom, top], nice=False)
    y_axis.values = [v for v in _TICKS if bottom <= v <= top]
    y_axis.format = "d"
    return x, alt.Y("y:Q", scale=bent, axis=y_axis)


def _span(points: list[dict[str, Any]]) -> tuple[float, float]:
    """The vertical axis' ends, with room for names below the lowest mark."""
    bottom, top = min(p["y_low"] for p in points), max(p["y_high"] for p in points)
    if bottom >= 0:
        return bottom * 0.85, top * 1.08 + 0.1
    return bottom * 1.8 - 0.3, top + 0.4


def _y_title(measure: Measure, conclusion: Conclusion) -> str:
    if measure == "sqnr":
        return "SQNR, dB (median)"
    what = (conclusion.record.metric or "accuracy") if measure == "metric" else "agreement"
    return f"{what}, points against the reference (bent scale)"


def _guard(conclusion: Conclusion, measure: Measure) -> list[Any]:
    if measure == "sqnr":
        return flat(20.0, "guard: 20 dB", dash=[2, 3], colour=BAD)
    limit = 100 * conclusion.record.accuracy_drop if measure == "metric" else 1.0
    return flat(-limit, f"guard: −{limit:g} point{'' if limit == 1 else 's'}", dash=[2, 3], colour=BAD)


def _bend(value: float) -> float:
    """The axis' bend, to place names: linear near zero, logarithmic beyond one point."""
    return math.copysign(math.log1p(abs(value)), value)


def _names(points: list[dict[str, Any]], width: int) -> list[Any]:
    """Names beside their marks; those that would touch are put on further lines below or above."""
    import altair as alt

    low, high = min(p["x_low"] for p in points) / 1.25, max(p["x_high"] for p in points) * 1.35
    bottom, top = (_bend(v) for v in _span(points))
    plot = width - 64
    taken: list[tuple[float, float, float]] = []
    layers: list[Any] = []
    for point in sorted(points, key=lambda p: (-p["y"], p["x"])):
        said = f" ({point['state']})" if point["state"] in ("refused", _PROBE) else ""
        text = short(point["variant"], 34) + said
        half = 3.4 * len(text)
        centre = plot * math.log(point["x"] / low) / math.log(high / low)
        middle = min(max(centre, half), plot - half)
        height = 285 * (top - _bend(point["y"])) / (top - bottom)
        down = 20.0
        while any(abs(middle - m) < half + h + 6 and abs(height + down - y) < 14 for m, h, y in taken):
            down += 15.0
        taken.append((middle, half, height + down))
        colour = INK if point["winner"] else MUTED
        weight = "bold" if point["winner"] else "normal"
        mark = data([{"x": point["x"], "y": point["y"], "text": text}])
        layers.append(
            mark.mark_text(color=colour, fontWeight=weight, dx=middle - centre, dy=down, baseline="middle").encode(
                x=alt.X("x:Q"), y=alt.Y("y:Q"), text="text:N"
            )
        )
    return layers
