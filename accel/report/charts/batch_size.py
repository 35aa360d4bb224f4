"""What a larger batch gives in throughput and takes in latency."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from accel.analysis import Estimate
from accel.analysis.conclusion import Conclusion, Row
from accel.report import words
from accel.report.charts import Place, Traces
from accel.report.charts._draw import data, finish, ticks_125
from accel.report.charts._theme import colours, leading, scale

_MOST, _GAP_PX = 5, 60


class BatchSize(msgspec.Struct, frozen=True, kw_only=True):
    """Two panels over batch size: items a second, and milliseconds a batch takes."""

    place: ClassVar[Place] = "below"
    order: ClassVar[int] = 20

    def title(self, conclusion: Conclusion) -> str:
        """A question a reader would ask."""
        return "What does a larger batch buy?"

    def note(self, conclusion: Conclusion) -> str:
        """The best sizes found."""
        best = [
            f"{'original' if r.is_baseline else r.name}: {r.batch_size}" for r in _shown(conclusion) if r.batch_size
        ]
        found = f"Best size found: {', '.join(best)}. " if best else ""
        return f"{found}Whiskers: 95 % intervals. Latency is closed loop: one batch after another."

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None:
        """None if no variant was measured at two sizes."""
        rows = _shown(conclusion)
        if not rows:
            return None
        import altair as alt

        wide = width > 560
        panel = (width - _GAP_PX) // 2 - 48 if wide else width - 62
        chosen = colours(conclusion, rows)
        left = _panel(rows, chosen, panel, "items per second", throughput=True)
        right = _panel(rows, chosen, panel, "ms per batch (log)", throughput=False)
        chart = alt.concat(left, right, columns=2 if wide else 1, spacing=_GAP_PX // 2)
        return finish(chart, width=None, height=None)


def _shown(conclusion: Conclusion) -> list[Row]:
    able = [r for r in conclusion.rows if r.status == "ok" and len(r.throughput_by_size) > 1]
    return leading(conclusion, able, _MOST)


def _values(rows: list[Row], *, throughput: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in rows:
        by_size: dict[int, Estimate] = row.throughput_by_size if throughput else row.latency_by_size
        factor = 1.0 if throughput else 1e3
        for size, e in sorted(by_size.items()):
            if words.half_width(e) is None or e.value <= 0:
                continue
            ends = {"low": (e.low or e.value) * factor, "high": (e.high or e.value) * factor}
            found.append({"variant": row.name, "size": size, "y": e.value * factor, **ends})
    return found


def _panel(rows: list[Row], chosen: dict[str, str], width: int, title: str, *, throughput: bool) -> Any:
    import altair as alt

    values = _values(rows, throughput=throughput)
    sizes = sorted({v["size"] for v in values})
    room = [min(sizes, default=1) / 1.15, max(sizes, default=2) * 1.15]
    axis = alt.Axis(title="batch size (log)", values=sizes, grid=False, format="d")
    x = alt.X("size:Q", scale=alt.Scale(type="log", base=2, domain=room, nice=False), axis=axis)
    y = _vertical(values, title, throughput=throughput)
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=3, columns=3 if width > 400 else 2, labelLimit=180)
    colour = alt.Color("variant:N", scale=alt.Scale(**scale(chosen)), legend=legend)
    tips = [
        alt.Tooltip("variant:N"),
        alt.Tooltip("size:Q", title="batch size"),
        alt.Tooltip("y:Q", title=title, format=".3~r"),
        alt.Tooltip("low:Q", title="from", format=".3~r"),
        alt.Tooltip("high:Q", title="to", format=".3~r"),
    ]
    base = data(values)
    line = base.mark_line(strokeWidth=2.2).encode(x=x, y=y, color=colour)
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(x=x, y=y, color=colour, tooltip=tips)
    whiskers = base.mark_rule(strokeWidth=1.4).encode(x=x, y="low:Q", y2="high:Q", color=colour)
    return alt.layer(line, whiskers, dots).properties(width=width, height=260)


def _vertical(values: list[dict[str, Any]], title: str, *, throughput: bool) -> Any:
    import altair as alt

    if throughput:
        axis = alt.Axis(title=title, tickCount=6, format=",~r")
        return alt.Y("y:Q", scale=alt.Scale(zero=True), axis=axis)
    low = min((v["low"] for v in values), default=1.0) / 1.2
    high = max((v["high"] for v in values), default=10.0) * 1.2
    axis = alt.Axis(title=title, values=ticks_125(low, high), format="~r")
    return alt.Y("y:Q", scale=alt.Scale(type="log", domain=[low, high], nice=False), axis=axis)
