"""What a variant costs before its first answer: once when it is made, and at every start."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from accel.analysis.conclusion import Conclusion, Row
from accel.report.charts import Place, Traces
from accel.report.charts._draw import data, finish
from accel.report.charts._theme import INK, STAGES, leading, short
from accel.units import show_seconds

_STAGES = ("load", "export", "compress", "compile", "open", "first run")
_MOST = 16


class SetUpTime(msgspec.Struct, frozen=True, kw_only=True):
    """Stacked bars of set-up seconds, one bar a variant."""

    place: ClassVar[Place] = "below"
    order: ClassVar[int] = 50

    def title(self, conclusion: Conclusion) -> str:
        """A question a reader would ask."""
        return "What does it cost before the first answer?"

    def note(self, conclusion: Conclusion) -> str:
        """Which part is paid once."""
        cached = any(r.set_up is not None and r.set_up.cached for r in conclusion.rows)
        said = " `cached`: the seconds are those of the time the artefact was made." if cached else ""
        return (
            "Load, export, compress and compile are paid once; open (with importing the runtime) and the first run at "
            f"every start.{said}"
        )

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None:
        """None if no set-up time is known."""
        able = [r for r in conclusion.rows if r.set_up is not None and _seconds(r)]
        rows = leading(conclusion, able, _MOST)
        if not rows:
            return None
        import altair as alt

        values, totals = _values(rows)
        order = [_name(r) for r in rows]
        right = max(t["total"] for t in totals) * (1.18 if width > 500 else 1.6)
        x_axis = alt.Axis(title="seconds", tickCount=6, grid=True)
        x = alt.X("start:Q", scale=alt.Scale(domain=[0, right], nice=False), axis=x_axis)
        y_axis = alt.Axis(title=None, grid=False, labelLimit=190 if width > 500 else 110, labelColor=INK)
        y = alt.Y("variant:N", sort=order, axis=y_axis, scale=alt.Scale(paddingInner=0.4, paddingOuter=0.2))
        legend = alt.Legend(columns=6 if width > 500 else 3)
        colour = alt.Color("stage:N", scale=alt.Scale(domain=list(_STAGES), range=list(STAGES)), legend=legend)
        tips = [alt.Tooltip("variant:N"), alt.Tooltip("stage:N"), alt.Tooltip("seconds:Q", format=".3~r")]
        bars = data(values).mark_bar().encode(x=x, x2="end:Q", y=y, color=colour, tooltip=tips)
        ends = data(totals).mark_text(align="left", dx=7, fontSize=12, color=INK)
        return finish(
            alt.layer(bars, ends.encode(x="total:Q", y=alt.Y("variant:N", sort=order), text="text:N")),
            width=width,
            height=30 * len(rows),
        )


def _name(row: Row) -> str:
    return short(row.name, 30)


def _seconds(row: Row) -> dict[str, float]:
    """Stage -> seconds, only what happened."""
    s = row.set_up
    if s is None:
        return {}
    opening = [v for v in (s.import_s, s.open_s) if v is not None]
    stages = (s.load_s, s.export_s, s.compress_s, s.compile_s, sum(opening) if opening else None, s.first_run_s)
    return {stage: v for stage, v in zip(_STAGES, stages, strict=True) if v}


def _values(rows: list[Row]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    parts: list[dict[str, Any]] = []
    totals: list[dict[str, Any]] = []
    for row in rows:
        end = 0.0
        for stage, seconds in _seconds(row).items():
            place = {"start": round(end, 6), "end": round(end + seconds, 6)}
            parts.append({"variant": _name(row), "stage": stage, "seconds": seconds, **place})
            end += seconds
        cached = " cached" if row.set_up is not None and row.set_up.cached else ""
        totals.append({"variant": _name(row), "total": round(end, 6), "text": show_seconds(end) + cached})
    return parts, totals
