"""Two panels over batch size, items a second and milliseconds a batch, a line for each name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accel.analysis import Estimate
from accel.report import words
from accel.report.charts._draw import data, finish, ticks_125
from accel.report.charts._theme import scale

Line = tuple[str, dict[int, Estimate], dict[int, Estimate]]
"""(name, items a second by size, seconds a batch by size)"""
_GAP_PX = 60


def panels(
    lines: Iterable[Line], chosen: dict[str, str], width: int, *, what: str, height: int = 260
) -> dict[str, Any]:
    """The specification; chosen: colour by name, in the order of the legend; what: what the names are."""
    import altair as alt

    wide = width > 560
    panel = (width - _GAP_PX) // 2 - 48 if wide else width - 62
    rates = [v for name, items, _ in lines for v in _values(name, items, 1.0, what)]
    times = [v for name, _, seconds in lines for v in _values(name, seconds, 1e3, what)]
    left = _panel(rates, chosen, panel, "items per second", what=what, height=height)
    right = _panel(times, chosen, panel, "ms per batch (log)", what=what, height=height)
    chart = alt.concat(left, right, columns=2 if wide else 1, spacing=_GAP_PX // 2)
    return finish(chart, width=None, height=None)


def _values(name: str, by_size: dict[int, Estimate], factor: float, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for size, e in sorted(by_size.items()):
        if words.half_width(e) is None or e.value <= 0:
            continue
        ends = {"low": (e.low or e.value) * factor, "high": (e.high or e.value) * factor}
        found.append({what: name, "size": size, "y": e.value * factor, **ends})
    return found


def _panel(
    values: list[dict[str, Any]], chosen: dict[str, str], width: int, title: str, *, what: str, height: int
) -> Any:
    import altair as alt

    sizes = sorted({v["size"] for v in values})
    room = [min(sizes, default=1) / 1.15, max(sizes, default=2) * 1.15]
    axis = alt.Axis(title="batch size (log)", values=sizes, grid=False, format="d")
    x = alt.X("size:Q", scale=alt.Scale(type="log", base=2, domain=room, nice=False), axis=axis)
    y = _vertical(values, title)
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=3, columns=3 if width > 400 else 2, labelLimit=180)
    colour = alt.Color(f"{what}:N", scale=alt.Scale(**scale(chosen)), legend=legend)
    tips = [
        alt.Tooltip(f"{what}:N"),
        alt.Tooltip("size:Q", title="batch size"),
        alt.Tooltip("y:Q", title=title, format=".3~r"),
        alt.Tooltip("low:Q", title="from", format=".3~r"),
        alt.Tooltip("high:Q", title="to", format=".3~r"),
    ]
    base = data(values)
    line = base.mark_line(strokeWidth=2.2).encode(x=x, y=y, color=colour)
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(x=x, y=y, color=colour, tooltip=tips)
    whiskers = base.mark_rule(strokeWidth=1.4).encode(x=x, y="low:Q", y2="high:Q", color=colour)
    return alt.layer(line, whiskers, dots).properties(width=width, height=height)


def _vertical(values: list[dict[str, Any]], title: str) -> Any:
    import altair as alt

    if "(log)" not in title:
        axis = alt.Axis(title=title, tickCount=6, format=",~r")
        return alt.Y("y:Q", scale=alt.Scale(zero=True), axis=axis)
    low = min((v["low"] for v in values), default=1.0) / 1.2
    high = max((v["high"] for v in values), default=10.0) * 1.2
    axis = alt.Axis(title=title, values=ticks_125(low, high), format="~r")
    return alt.Y("y:Q", scale=alt.Scale(type="log", domain=[low, high], nice=False), axis=axis)
