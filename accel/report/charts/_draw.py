"""The few marks that several charts share, as Altair layers over inline data."""

from __future__ import annotations

import math
from typing import Any

from accel.report.charts._theme import MUTED, config


def data(values: list[dict[str, Any]]) -> Any:
    """Inline rows as Altair data."""
    import altair as alt

    return alt.Chart(alt.InlineData(values=values))


def label(x: Any, y: Any, text: str, colour: str, **mark: Any) -> Any:
    """One piece of text at a point in data coordinates; `x` and `y` are encodings of the fields `x` and `y`."""
    import altair as alt

    style = {"align": "left", "baseline": "middle", "fontSize": 12, **mark}
    return (
        data([{"x": x, "y": y, "text": text}])
        .mark_text(color=colour, **style)
        .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), text="text:N")
    )


def flat(place: float, words: str, *, dash: list[int], colour: str = MUTED) -> list[Any]:
    """A horizontal line at `place` with its words below its left end."""
    import altair as alt

    line = data([{"y": place}]).mark_rule(color=colour, strokeDash=dash, strokeWidth=1).encode(y="y:Q")
    text = (
        data([{"y": place, "text": words}])
        .mark_text(color=colour, align="left", baseline="top", dy=5, dx=4, fontSize=12)
        .encode(x=alt.value(0), y="y:Q", text="text:N")
    )
    return [line, text]


def ticks_125(low: float, high: float) -> list[float]:
    """Axis values 1, 2, 5 times powers of ten that lie in a range; finer where those are fewer than four.

    >>> ticks_125(4, 60), ticks_125(1.1, 5)
    ([5.0, 10.0, 20.0, 50.0], [1.5, 2.0, 3.0, 4.0, 5.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), tuple(k / 10 for k in range(10, 100, 2))):
        values = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
        inside = [v for v in values if low <= v <= high]
        if len(inside) >= 4:
            break
    return inside


def ticks_ratio(low: float, high: float) -> list[float]:
    """Axis values for a ratio on a log axis: powers of two where there are three or more, else 1, 2, 5.

    >>> ticks_ratio(0.2, 7)
    [0.25, 0.5, 1.0, 2.0, 4.0]
    """
    values = [2.0**k for k in range(-10, 14) if low <= 2.0**k <= high]
    return values if len(values) >= 3 else ticks_125(low, high)


def finish(chart: Any, *, width: int | None, height: int | None) -> dict[str, Any]:
    """The specification of a chart with the house configuration."""
    if width is not None and height is not None:
        chart = chart.properties(width=width, height=height)
    spec: dict[str, Any] = chart.to_dict()
    spec.pop("$schema", None)  # an address; nothing in the page names one
    spec["config"] = config()
    spec["autosize"] = {"type": "fit-x", "contains": "padding"} if width is not None else {"type": "pad"}
    spec["padding"] = {"left": 0, "right": 6, "top": 6, "bottom": 4}
    return spec
