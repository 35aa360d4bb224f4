"""Batch against online in one picture: what a job of each variant gets through, and a service within its limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accel.report.charts._draw import data, finish
from accel.report.charts._theme import GRID, MUTED, ORIGINAL, WINNER, short

_ROW_PX = 34


def pair(rows: Sequence[tuple[str, float, float]], width: int) -> dict[str, Any]:
    """(variant, items/s, requests/s within the limit; 0: none) -> a specification; a line joins the two."""
    import altair as alt

    listed = [
        {"variant": short(name, 34 if width > 500 else 20), "batch": items, "online": rate}
        for name, items, rate in rows
    ]
    y = alt.Y("variant:N", sort=[r["variant"] for r in listed], axis=alt.Axis(title=None, labelLimit=230, grid=False))
    top = 1.06 * max(max(items, rate) for _, items, rate in rows)
    scale = alt.Scale(domain=[0, top], nice=False)

    def x(field: str) -> Any:
        axis = alt.Axis(title="per second", tickCount=5, format=",~r", grid=True, gridColor=GRID)
        return alt.X(f"{field}:Q", scale=scale, axis=axis)

    both = [r for r in listed if r["online"] > 0]
    line = data(both).mark_rule(color=MUTED, strokeWidth=2).encode(y=y, x=x("online"), x2="batch:Q")
    long = [
        {"variant": r["variant"], "value": r[field], "what": what}
        for r in listed
        for field, what in (("batch", "batch, items"), ("online", "service, requests"))
        if r[field] > 0
    ]
    colour = alt.Color(
        "what:N",
        scale=alt.Scale(domain=["batch, items", "service, requests"], range=[ORIGINAL, WINNER]),
        legend=alt.Legend(symbolType="circle", columns=2 if width > 500 else 1, labelLimit=260),
    )
    dots = data(long).mark_point(filled=True, size=90, opacity=1).encode(y=y, x=x("value"), color=colour)
    return finish(alt.layer(line, dots), width=width, height=_ROW_PX * len(rows))
