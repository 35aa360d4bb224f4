"""How many requests a second each variant carries before its latency breaks the SLO."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import msgspec

from accel.analysis import policy
from accel.analysis.conclusion import Conclusion, Row
from accel.analysis.wording import includes_zero
from accel.report import words
from accel.report.charts import Place, Traces
from accel.report.charts._draw import data, finish, label, ticks_125
from accel.report.charts._theme import BAD, MUTED, PAPER, colours, leading, scale, short, winners
from accel.units import show_seconds

_MOST, _CEILING, _MARGIN_PX = 4, 12.0, 60


class OnlineCapacity(msgspec.Struct, frozen=True, kw_only=True):
    """Requests/s against the SLO's percentile from schedule, with the crossing and the batch throughput as a wall."""

    place: ClassVar[Place] = "wide"
    order: ClassVar[int] = 10

    def title(self, conclusion: Conclusion) -> str:
        """A question a reader would ask."""
        record = conclusion.record
        limit = show_seconds(record.slo_s) if record.slo_s is not None else "the limit"
        return f"How many requests per second before {words.slo_percentile(record)} breaks {limit}?"

    def note(self, conclusion: Conclusion) -> str:
        """What the original and the winner hold."""
        rows = [r for r in _shown(conclusion) if r.is_baseline or r.name in winners(conclusion)[:1]]
        held = [f"{_who(r)} {words.value_of(r.online.rate)}" for r in rows if r.online is not None]
        walls = "Dashed: what a batch job gets from the same variant." if any(r.throughput for r in rows) else ""
        guess = any(r.online is not None and r.online.predicted for r in rows)
        walls = f"{walls} Line: a fit through the trials."
        said = f"Within the limit: {', '.join(held)}." if held else ""
        return " ".join(
            filter(None, (said, walls, "Indicative: the trials are too short for this percentile." if guess else ""))
        )

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None:
        """Curves, crossings, SLO line and walls; None without an SLO or without trials."""
        rows, limit = _shown(conclusion), conclusion.record.slo_s
        if not rows or limit is None:
            return None
        frame = _Frame.around(rows, limit * 1e3)
        chosen = colours(conclusion, rows)
        limit_line, limit_label = _slo(conclusion, frame, width)
        layers = [
            *limit_line,
            _bands(_main(conclusion, rows), chosen, frame),
            *_walls(conclusion, rows, chosen, frame),
            *limit_label,
            *_curves(conclusion, rows, chosen, frame),
            *_price(conclusion, rows, frame),
            *_crossings(_main(conclusion, rows), chosen, frame, width),
            *_names(conclusion, rows, chosen, frame, width),
        ]
        import altair as alt

        return finish(alt.layer(*layers), width=width, height=330 if width > 500 else 300)


class _Frame(msgspec.Struct, frozen=True):
    """The axes' ranges: requests/s to the right, milliseconds upwards; `limit` is the SLO in ms."""

    limit: float
    right: float
    low: float
    high: float

    @classmethod
    def around(cls, rows: list[Row], limit: float) -> _Frame:
        points = [(rate, q * 1e3) for r in rows if r.online for rate, q, _ in r.online.trials if q > 0]
        rates = [p[0] for p in points] + [r.online.rate.value for r in rows if r.online]
        walls = [r.throughput.value for r in rows if r.throughput is not None]
        lowest = min([q for _, q in points] + [limit])
        highest = min(max([q for _, q in points] + [limit]), _CEILING * limit)
        return cls(limit, max(rates + walls) * 1.12, lowest / 1.5, max(highest, limit * 2) * 2.4)

    def above(self, y: float) -> float:
        """How far up `y` milliseconds lie, as a share of the height."""
        return math.log(y / self.low) / math.log(self.high / self.low)

    def x(self) -> Any:
        import altair as alt

        title = "requests per second, arriving by themselves"
        axis = alt.Axis(title=title, tickCount=5, grid=False)
        return alt.X("x:Q", scale=alt.Scale(domain=[0, self.right], nice=False), axis=axis)

    def y(self, title: str) -> Any:
        import altair as alt

        axis = alt.Axis(title=title, values=ticks_125(self.low, self.high), format="~r")
        return alt.Y("y:Q", scale=alt.Scale(type="log", domain=[self.low, self.high], nice=False), axis=axis)


def _shown(conclusion: Conclusion) -> list[Row]:
    able = [r for r in conclusion.rows if r.online is not None and r.online.trials and r.status == "ok"]
    return leading(conclusion, able, _MOST)


def _main(conclusion: Conclusion, rows: list[Row]) -> list[Row]:
    """The rows that are drawn in full: the original and what won, or the best of the rest where nothing did."""
    won = [r for r in rows if r.is_baseline or r.name in winners(conclusion)[:1]]
    return won if len(won) > 1 else rows[:2]


def _who(row: Row) -> str:
    return "original" if row.is_baseline else short(row.name)


def _points(row: Row, frame: _Frame) -> list[dict[str, Any]]:
    """The trials in order of rate, up to the first beyond the ceiling, which tells where the curve leaves."""
    found: list[dict[str, Any]] = []
    assert row.online is not None
    for rate, quantile_s, level in sorted(row.online.trials):
        y = min(quantile_s * 1e3, frame.high / 1.7)
        found.append({"x": rate, "y": max(y, frame.low), "variant": row.name, "level": level})
        if quantile_s * 1e3 > frame.high / 1.7:
            break
    return found


def _fit(row: Row, frame: _Frame) -> list[dict[str, Any]]:
    """A curve that never falls through the trials: neighbours that fall are pooled (isotonic regression of ln latency).

    Source: Ayer et al. 1955, pool adjacent violators; each pool is drawn at its mean rate.
    """
    pools: list[tuple[float, float, int]] = []
    for point in _points(row, frame):
        pools.append((point["x"], math.log(point["y"]), 1))
        while len(pools) > 1 and pools[-2][1] > pools[-1][1]:
            (x1, y1, n1), (x2, y2, n2) = pools[-2:]
            n = n1 + n2
            pools[-2:] = [((x1 * n1 + x2 * n2) / n, (y1 * n1 + y2 * n2) / n, n)]
    return [{"x": round(x, 4), "y": round(math.exp(y), 5), "variant": row.name, "level": "fit"} for x, y, _ in pools]


def _slo(conclusion: Conclusion, frame: _Frame, width: int) -> tuple[list[Any], list[Any]]:
    """The line, and its words with a halo that keeps them readable across other lines."""
    import altair as alt

    percentile = words.slo_percentile(conclusion.record)
    assumed = " (assumed)" if conclusion.record.slo_assumed else ""
    text = f"SLO {percentile} = {show_seconds(frame.limit / 1e3)}{assumed}"
    rule = data([{"y": frame.limit}]).mark_rule(color=BAD, strokeWidth=1.5)
    rule = rule.encode(y=frame.y(f"{percentile} from schedule, ms (log)"))
    at, style = _free_place(conclusion, frame, width)
    end = data([{"y": frame.limit, "text": text, "x": at}])
    halo = {"fontSize": 12, **style}
    place = {"x": alt.X("x:Q"), "y": "y:Q", "text": "text:N"}
    behind = end.mark_text(stroke=PAPER, strokeWidth=5, **halo).encode(**place)
    return [rule], [behind, end.mark_text(color=BAD, **halo).encode(**place)]


def _free_place(conclusion: Conclusion, frame: _Frame, width: int) -> tuple[float, dict[str, Any]]:
    """Where the SLO's words touch least: at the right end, else between two crossings, else under the line."""
    plot = width - _MARGIN_PX
    crossings = sorted(r.online.rate.value / frame.right * plot for r in _shown(conclusion) if r.online)
    above = {"align": "right", "baseline": "bottom", "dy": -5}
    if crossings[-1] < plot - 130:
        return frame.right, above
    gaps = [(b - a, (a + b) / 2) for a, b in zip([0.0, *crossings], crossings, strict=False)]
    widest, middle = max(gaps)
    if widest >= 210:
        return middle / plot * frame.right, {**above, "align": "center"}
    return frame.right, {"align": "right", "baseline": "top", "dy": 6}


def _bands(rows: list[Row], chosen: dict[str, str], frame: _Frame) -> Any:
    import altair as alt

    values = [
        {"variant": r.name, "x": r.online.rate.low, "x2": r.online.rate.high, "y": frame.low, "y2": frame.limit}
        for r in rows
        if r.online and r.online.rate.low is not None and r.online.rate.high is not None
    ]
    return (
        data(values)
        .mark_rect(opacity=0.16)
        .encode(x=frame.x(), x2="x2:Q", y="y:Q", y2="y2:Q", color=_colour(chosen, alt))
    )


def _colour(chosen: dict[str, str], alt: Any) -> Any:
    return alt.Color("variant:N", scale=alt.Scale(**scale(chosen)), legend=None)


def _walls(conclusion: Conclusion, rows: list[Row], chosen: dict[str, str], frame: _Frame) -> list[Any]:
    kept = [r for r in rows if r.throughput is not None and (r.is_baseline or r.name in winners(conclusion)[:1])]
    layers: list[Any] = []
    for row in kept:
        assert row.throughput is not None
        x, colour = row.throughput.value, chosen[row.name]
        right = x > 0.8 * frame.right
        rule = data([{"x": x}]).mark_rule(color=colour, strokeDash=[5, 4], strokeWidth=1.5).encode(x="x:Q")
        text = f"batch {words.value_of(row.throughput)}/s"
        layers += [
            rule,
            label(x, frame.high, text, colour, dx=-6 if right else 6, dy=9, align="right" if right else "left"),
        ]
    return layers


def _wall_words(conclusion: Conclusion, rows: list[Row], frame: _Frame, plot: int) -> list[float]:
    """Where the middle of each wall's words is, in pixels; they stand at the top."""
    kept = [r for r in rows if r.is_baseline or r.name in winners(conclusion)[:1]]
    at = [r.throughput.value / frame.right for r in kept if r.throughput is not None]
    return [x * plot + (-46 if x > 0.8 else 46) for x in at]


def _curves(conclusion: Conclusion, rows: list[Row], chosen: dict[str, str], frame: _Frame) -> list[Any]:
    import altair as alt

    main = _main(conclusion, rows)
    values = [p for r in main for p in _points(r, frame)]
    firm = [p for p in values if p["level"] == "valid"]
    shaky = [p for p in values if p["level"] != "valid"]
    tooltip = [
        alt.Tooltip("variant:N"),
        alt.Tooltip("x:Q", title="requests/s", format=".3~r"),
        alt.Tooltip("y:Q", title="ms from schedule", format=".3~r"),
        alt.Tooltip("level:N", title="trial"),
    ]
    colour = _colour(chosen, alt)
    place = {"x": frame.x(), "y": "y:Q", "color": colour}
    fitted = [p for r in main for p in _fit(r, frame)]
    aside = [p for r in rows if r not in main for p in _fit(r, frame)]
    thin = data(aside).mark_line(interpolate="monotone", strokeWidth=1.3).encode(**place, tooltip=tooltip)
    line = data(fitted).mark_line(interpolate="monotone", strokeWidth=2.4).encode(**place)
    filled = data(firm).mark_point(filled=True, size=52, opacity=1).encode(**place, tooltip=tooltip)
    hollow = data(shaky).mark_point(filled=False, fill=PAPER, size=52, strokeWidth=1.8, opacity=1)
    layers = [thin, line, filled]
    return [*layers, hollow.encode(**place, tooltip=tooltip)] if shaky else layers


def _price(conclusion: Conclusion, rows: list[Row], frame: _Frame) -> list[Any]:
    won = next((r for r in rows if r.name in winners(conclusion)[:1]), None)
    if won is None or won.online is None or won.throughput is None:
        return []
    start, end = won.online.rate.value, won.throughput.value
    if end - start < 0.2 * frame.right:
        return []
    y = frame.limit / 1.12
    line = data([{"x": start, "x2": end, "y": y}]).mark_rule(color=MUTED, strokeWidth=1)
    middle = (start + end) / 2
    return [
        line.encode(x="x:Q", x2="x2:Q", y="y:Q"),
        label(middle, y, f"the SLO's price{_share(conclusion, won)}", MUTED, align="center", baseline="top", dy=6),
    ]


def _share(conclusion: Conclusion, won: Row) -> str:
    """How much of the batch throughput the limit costs, where the interval carries it."""
    role = conclusion.roles.online if conclusion.roles is not None else None
    if role is None or role.variant != won.name or includes_zero(role.slo_cost):
        return ""
    cost = words.value_of(role.slo_cost, 0.01)
    return "" if cost == words.NOTHING else f": {cost} %"


def _crossings(rows: list[Row], chosen: dict[str, str], frame: _Frame, width: int) -> list[Any]:
    layers: list[Any] = []
    for row in rows:
        assert row.online is not None
        colour, x = chosen[row.name], row.online.rate.value
        ring = data([{"x": x, "y": frame.limit}]).mark_point(
            filled=False, fill=PAPER, stroke=colour, size=120, strokeWidth=2.4, opacity=1
        )
        text = f"{words.value_of(row.online.rate)}/s"
        cramped = x / frame.right * (width - _MARGIN_PX) < 9 * len(text) + 14
        side = {"align": "left", "dx": 10, "dy": 14} if cramped else {"align": "right", "dx": -9, "dy": -12}
        layers += [
            ring.encode(x="x:Q", y="y:Q"),
            label(x, frame.limit, text, colour, **side, fontSize=14, fontWeight="bold"),
        ]
    return layers


def _with_policy(row: Row) -> str:
    """The winner's name and how it batches, as far as there is room."""
    how = policy.short(row.online.policy) if row.online is not None else ""
    return f"{_who(row)} · {how}" if how and len(_who(row)) + len(how) <= 40 else _who(row)


def _names(conclusion: Conclusion, rows: list[Row], chosen: dict[str, str], frame: _Frame, width: int) -> list[Any]:
    """Names above the curves' upper ends, lifted where two would touch; beside the end where a wall's words are."""
    layers: list[Any] = []
    taken: list[tuple[float, float, float]] = []
    plot = width - _MARGIN_PX
    won = [r for r in rows if r.name in winners(conclusion)[:1]]
    tall = 330 if width > 500 else 300
    beside = [(x, 40.0) for x in _wall_words(conclusion, rows, frame, plot)]
    for row in sorted(rows, key=lambda r: r.online.rate.value if r.online else 0.0):
        end = _fit(row, frame)[-1]
        text = _who(row) if row.is_baseline or row not in won else _with_policy(row)
        half = 3.6 * len(text)
        centre = min(max(end["x"] / frame.right * plot, half), plot - half)
        height, lift = frame.above(end["y"]) * tall, 14
        while any(abs(height + lift - y) < 15 and abs(centre - x) < half + size for x, size, y in taken):
            lift += 5
        if height + lift > tall - 24 and any(abs(centre - x) < half + size for x, size in beside):
            layers.append(label(end["x"], end["y"], text, chosen[row.name], align="right", dx=-9, dy=4))
            continue
        taken.append((centre, half, height + lift))
        x = centre / plot * frame.right
        weight = "normal" if row.is_baseline else "bold"
        layers.append(label(x, end["y"], text, chosen[row.name], align="center", dy=-lift, fontWeight=weight))
    return layers
