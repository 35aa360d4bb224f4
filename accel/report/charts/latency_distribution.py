"""How latency spreads: the whole distribution, not just its percentiles."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import numpy as np

from accel.analysis.conclusion import Conclusion, Row
from accel.measurement.trace import Trace
from accel.report.charts import Place, Traces
from accel.report.charts._draw import data, finish, flat, ticks_125
from accel.report.charts._theme import MUTED, colours, leading, scale

_MOST, _POINTS = 4, 120


class LatencyDistribution(msgspec.Struct, frozen=True, kw_only=True):
    """The share of requests answered within a time, for the original and the finalists."""

    place: ClassVar[Place] = "below"
    order: ClassVar[int] = 40

    def title(self, conclusion: Conclusion) -> str:
        """A question a reader would ask."""
        return "How far does latency spread?"

    def note(self, conclusion: Conclusion) -> str:
        """What is drawn."""
        return (
            "Share of requests answered within a time; closed loop, one request at a time, warm-up left out. "
            "No outlier was removed."
        )

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None:
        """None without traces."""
        able = [r for r in conclusion.rows if r.name in traces and len(traces[r.name].counted().ok()) >= 2]
        rows = leading(conclusion, able, _MOST)
        if not rows:
            return None
        import altair as alt

        values = [v for r in rows for v in _steps(r, traces[r.name])]
        low, high = min(v["ms"] for v in values) / 1.1, max(v["ms"] for v in values) * 1.1
        axis = alt.Axis(title="latency, ms, closed loop (log)", values=ticks_125(low, high), format="~r")
        x = alt.X("ms:Q", scale=alt.Scale(type="log", domain=[low, high], nice=False), axis=axis)
        y_axis = alt.Axis(title="share of requests", format=".0%", values=[0, 0.25, 0.5, 0.75, 1.0])
        y = alt.Y("y:Q", scale=alt.Scale(domain=[0, 1]), axis=y_axis)
        legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=3, columns=2 if width < 500 else 4, labelLimit=200)
        colour = alt.Color("variant:N", scale=alt.Scale(**scale(colours(conclusion, rows))), legend=legend)
        tips = [
            alt.Tooltip("variant:N"),
            alt.Tooltip("ms:Q", title="within, ms", format=".3~r"),
            alt.Tooltip("y:Q", title="share", format=".1%"),
        ]
        curve = data(values).mark_line(interpolate="step-after", strokeWidth=2.2)
        marks = [*flat(0.9, "p90", dash=[2, 3]), *flat(0.99, "p99", dash=[2, 3], colour=MUTED)]
        layers = [curve.encode(x=x, y=y, color=colour, tooltip=tips), *marks]
        return finish(alt.layer(*layers), width=width, height=300)


def _steps(row: Row, trace: Trace) -> list[dict[str, Any]]:
    """At most `_POINTS` points of the empirical distribution (inverted_cdf), denser in the upper tail."""
    latency = np.sort(trace.counted().ok().latency_ns)
    n = len(latency)
    tail = 1 - np.geomspace(0.1, max(1 / n, 1e-4), _POINTS // 3)
    shares = np.unique(np.concatenate([np.linspace(1 / n, 0.9, _POINTS - len(tail)), tail, [1.0]]))
    ranks = np.unique(np.clip(np.ceil(n * shares).astype(int), 1, n))
    return [
        {"variant": row.name, "ms": float(f"{latency[k - 1] * 1e-6:.4g}"), "y": round(float(k / n), 5)} for k in ranks
    ]
