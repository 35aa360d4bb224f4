"""What waiting for a batch does to latency, from an idle service to twice what it can carry, and what is left of it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import msgspec

from accel.analysis.conclusion import Conclusion, Row
from accel.analysis.load_curve import LoadPoint
from accel.report import words
from accel.report.charts import Place, Traces
from accel.report.charts._draw import data, finish, label, ticks_125
from accel.report.charts._load_lines import SIMULATED, dots, in_doubt, origin, pieces, policy_of, series
from accel.report.charts._theme import BAD, INK, MUTED, PAPER, colours, leading, scale, short
from accel.units import show_seconds

_MOST, _CEILING, _GAP_PX = 2, 6.0, 60
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")


class LoadCurve(msgspec.Struct, frozen=True, kw_only=True):
    """Two panels over the offered rate, a line for each policy: the SLO's percentile from schedule, and goodput."""

    place: ClassVar[Place] = "below"
    order: ClassVar[int] = 12

    def title(self, conclusion: Conclusion) -> str:
        """A question a reader would ask."""
        return "What does each batching policy do under load?"

    def note(self, conclusion: Conclusion) -> str:
        """How to read it, and what of it is only simulated."""
        found = _shown(conclusion)
        guessed = any(p.simulated for p in found)
        drops = any(p.dropped > 0 for p in found)
        simulated = "Dashed: simulated from measured service times, not measured under load. " if guessed else ""
        shaky = "Hollow: unstable, or too few requests for this percentile. " if any(map(in_doubt, found)) else ""
        lost = "Who is given up counts as infinitely late. " if drops else ""
        return (
            f"Left, latency from schedule; a line that ends at the top goes on above it. {simulated}{shaky}{lost}"
            "Right, requests a second answered within the limit: on the thin line, all that came."
        )

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None:
        """None without an SLO or without a policy that was seen at two rates."""
        points, limit = _shown(conclusion), conclusion.record.slo_s
        if not points or limit is None:
            return None
        import altair as alt

        wide = width > 560
        panel = (width - _GAP_PX) // 2 - 48 if wide else width - 62
        frame = _Frame.around(points, limit * 1e3, panel)
        look = _Look.of(conclusion, points)
        left = alt.layer(*_limit(conclusion, frame), *_walls(conclusion, points, frame), *_marks(look, frame, "late"))
        right = alt.layer(*_all_that_came(frame), *_marks(look, frame, "good"))
        panels = [p.properties(width=panel, height=280) for p in (left, right)]
        return finish(alt.concat(*panels, columns=2 if wide else 1, spacing=_GAP_PX // 2), width=None, height=None)


class _Frame(msgspec.Struct, frozen=True):
    """The axes' ranges: requests/s to the right, milliseconds (`low` to `high`) and goodput (0 to `top`) upwards."""

    limit: float
    right: float
    low: float
    high: float
    top: float
    width: int

    @classmethod
    def around(cls, points: list[LoadPoint], limit: float, width: int) -> _Frame:
        known = [p.quantile_s * 1e3 for p in points if p.quantile_s]
        lowest = min([*known, limit]) / 1.5
        high = max(min(max([*known, limit]), _CEILING * limit), 3 * limit) * 1.15
        return cls(
            limit, max(p.rate for p in points) * 1.04, lowest, high, max(p.goodput for p in points) * 1.15, width
        )

    def x(self) -> Any:
        import altair as alt

        axis = alt.Axis(title="offered requests per second", tickCount=5, grid=False, format=",~r")
        return alt.X("x:Q", scale=alt.Scale(domain=[0, self.right], nice=False), axis=axis)

    def late(self, title: str) -> Any:
        import altair as alt

        axis = alt.Axis(title=title, values=ticks_125(self.low, self.high), format="~r")
        return alt.Y("y:Q", scale=alt.Scale(type="log", domain=[self.low, self.high], nice=False), axis=axis)

    def good(self) -> Any:
        import altair as alt

        axis = alt.Axis(title="answered within the limit, per second", tickCount=5, format=",~r")
        return alt.Y("y:Q", scale=alt.Scale(domain=[0, self.top], nice=False), axis=axis)


class _Look(msgspec.Struct, frozen=True):
    """Which line looks how, by its name: the colour of its variant, the shape of its policy; lines: name -> points."""

    percentile: str
    colours: dict[str, str]
    shapes: dict[str, str]
    lines: dict[str, list[LoadPoint]]

    @classmethod
    def of(cls, conclusion: Conclusion, points: list[LoadPoint]) -> _Look:
        rows = {r.name: r for r in _rows(conclusion) if any(p.variant == r.name for p in points)}
        chosen = colours(conclusion, list(rows.values()))
        shapes = {name: _SHAPES[i % len(_SHAPES)] for i, name in enumerate(dict.fromkeys(map(policy_of, points)))}
        look = cls(words.slo_percentile(conclusion.record), {}, {}, {})
        for name, line in series(points).items():
            row = rows[line[0].variant]
            who = "original" if row.is_baseline else short(row.name, 18)
            called = name if len(rows) == 1 else f"{who}: {policy_of(line[0])}"
            called = called if called not in look.lines else name
            look.lines[called] = line
            look.colours[called], look.shapes[called] = chosen[row.name], shapes[policy_of(line[0])]
        return look


def _rows(conclusion: Conclusion) -> list[Row]:
    """The variants whose policies are drawn: the original and the first that won, as far as they were looked at."""
    able = [r for r in conclusion.rows if r.status == "ok" and any(p.variant == r.name for p in conclusion.loads)]
    return leading(conclusion, able, _MOST)


def _shown(conclusion: Conclusion) -> list[LoadPoint]:
    """Points of lines with at least two; invalid ones count nowhere."""
    names = [r.name for r in _rows(conclusion)]
    able = [p for p in conclusion.loads if p.variant in names and 0 < p.rate < math.inf and p.level != "invalid"]
    return [p for line in series(able).values() if len(line) > 1 for p in line]


def _values(look: _Look, frame: _Frame, panel: str) -> list[dict[str, Any]]:
    """Rows of one panel; a line of latencies ends at the first point that lies above the picture."""
    found: list[dict[str, Any]] = []
    for name, line in look.lines.items():
        for p in line:
            late_ms = math.inf if p.quantile_s is None else p.quantile_s * 1e3
            inside = late_ms < frame.high
            y = min(max(late_ms, frame.low), frame.high) if panel == "late" else p.goodput
            beyond = panel == "late" and not inside
            found.append({"x": p.rate, "y": round(y, 5), "line": name, "beyond": beyond, **_told(p, late_ms)})
            if beyond:
                break
    return found


def _told(p: LoadPoint, late_ms: float) -> dict[str, Any]:
    """What a point says of itself when it is pointed at."""
    return {
        "variant": p.variant,
        "policy": policy_of(p),
        "how": origin(p),
        "hollow": in_doubt(p),
        "ms": f"{late_ms:.3g}" if math.isfinite(late_ms) else "never",
        "good": f"{p.goodput:.3g}",
        "dropped": f"{100 * p.dropped:.2g} %",
        "busy": words.NOTHING if p.utilisation is None else f"{100 * p.utilisation:.0f} %",
    }


def _marks(look: _Look, frame: _Frame, panel: str) -> list[Any]:
    import altair as alt

    values = _values(look, frame, panel)
    y = frame.late(f"{look.percentile} from schedule, ms (log)") if panel == "late" else frame.good()
    legend = alt.Legend(columns=2, labelLimit=195, symbolSize=60)
    colour = alt.Color("line:N", scale=alt.Scale(**scale(look.colours)), legend=legend)
    shape = alt.Shape("line:N", scale=alt.Scale(**scale(look.shapes)), legend=legend)
    place = {"x": frame.x(), "y": y, "color": colour}
    shown = [
        alt.Tooltip("policy:N"),
        alt.Tooltip("variant:N"),
        alt.Tooltip("how:N"),
        alt.Tooltip("x:Q", title="offered, 1/s", format=".4~r"),
        alt.Tooltip("ms:N", title=f"{look.percentile}, ms"),
        alt.Tooltip("good:N", title="within the limit, 1/s"),
        alt.Tooltip("dropped:N", title="given up"),
        alt.Tooltip("busy:N", title="busy"),
    ]
    layers: list[Any] = []
    for name, line in look.lines.items():
        some = [v for v in values if v["line"] == name]
        strong = line[0].policy.name == "dynamic"
        style = {"strokeWidth": 2.8 if strong else 1.5, "opacity": 1.0 if strong else 0.75}
        for guessed, piece in pieces(some):
            dash = {"strokeDash": [5, 4]} if guessed else {}
            layers.append(data(piece).mark_line(**style, **dash).encode(**place))
        layers += [mark.encode(**place, shape=shape, tooltip=shown) for mark in dots(some, style["opacity"])]
    return [*layers, *_simulated(look, values, frame)] if panel == "late" else layers


def _simulated(look: _Look, values: list[dict[str, Any]], frame: _Frame) -> list[Any]:
    """The word `simulated` over the flat part of each dashed line, once where two lie close to each other."""
    layers: list[Any] = []
    taken: list[float] = []
    for name in look.lines:
        guessed = [v for v in values if v["line"] == name and v["how"] == SIMULATED]
        if not guessed:
            continue
        at = min(guessed, key=lambda v: abs(v["x"] - 0.16 * frame.right))
        height = math.log(at["y"] / frame.low) / math.log(frame.high / frame.low)
        if any(abs(height - other) < 0.06 for other in taken):
            continue
        taken.append(height)
        style = {"align": "center", "dy": -10, "fontStyle": "italic"}
        halo = label(at["x"], at["y"], SIMULATED, PAPER, **style, stroke=PAPER, strokeWidth=3)
        layers += [halo, label(at["x"], at["y"], SIMULATED, INK, **style)]
    return layers


def _limit(conclusion: Conclusion, frame: _Frame) -> list[Any]:
    """The SLO as a line with its words at the right end."""
    assumed = " (assumed)" if conclusion.record.slo_assumed else ""
    text = f"SLO {words.slo_percentile(conclusion.record)} = {show_seconds(frame.limit / 1e3)}{assumed}"
    rule = data([{"y": frame.limit}]).mark_rule(color=BAD, strokeWidth=1.5).encode(y="y:Q")
    return [rule, label(frame.right, frame.limit, text, BAD, align="right", baseline="bottom", dy=-3)]


def _walls(conclusion: Conclusion, points: list[LoadPoint], frame: _Frame) -> list[Any]:
    """A thin dotted line at what each variant does in batch mode: nobody carries more than that for long."""
    chosen = colours(conclusion, [r for r in _rows(conclusion) if any(p.variant == r.name for p in points)])
    layers: list[Any] = []
    for row in _rows(conclusion):
        if row.throughput is None or row.name not in chosen or not 0 < row.throughput.value < frame.right:
            continue
        x, colour = row.throughput.value, chosen[row.name]
        rule = data([{"x": x}]).mark_rule(color=colour, strokeDash=[1, 3], strokeWidth=1.5).encode(x="x:Q")
        text = f"batch {words.value_of(row.throughput)}/s"
        layers += [rule, label(x, frame.low, text, colour, dx=5, dy=-8, align="left")]
    return layers


def _all_that_came(frame: _Frame) -> list[Any]:
    """The line on which every request is answered within the limit."""
    end = min(frame.right, frame.top)
    line = data([{"x": 0.0, "y": 0.0}, {"x": end, "y": end}]).mark_line(color=MUTED, strokeWidth=1)
    return [line.encode(x=frame.x(), y=frame.good())]
