"""How all charts look: colours with their dark counterparts, fonts, axes, and which variants get which colour.

A chart is drawn once, in light colours; the page's style sheet replaces each colour by its dark counterpart, so what
is drawn before and what scripts draw later follow the reader's setting alike.
"""

from __future__ import annotations

from typing import Any

from accel.analysis.conclusion import Conclusion, Row

INK, MUTED, GRID = "#1f2328", "#59636e", "#e4e7eb"
ORIGINAL, WINNER, BAD, GOOD, PAPER = "#6b7280", "#0969da", "#c0264f", "#1a7f4b", "#ffffff"
OTHERS = ("#9a6700", "#7048c8", "#0b7285", "#a8471f")
STAGES = ("#8b95a3", "#5b8fd6", "#0f4f9e", "#c08a1e", "#3f9d6b", "#8e5bb5")

DARK = {
    INK: "#e6edf3",
    MUTED: "#9aa4ae",
    GRID: "#2a3038",
    ORIGINAL: "#9299a4",
    WINNER: "#58a6ff",
    BAD: "#ff7b93",
    GOOD: "#4cc38a",
    PAPER: "#11151a",
    OTHERS[0]: "#d8a33c",
    OTHERS[1]: "#b39af5",
    OTHERS[2]: "#4fc3d6",
    OTHERS[3]: "#f0905f",
    STAGES[0]: "#6e7884",
    STAGES[1]: "#79b0f2",
    STAGES[2]: "#3d7bd0",
    STAGES[3]: "#d9a940",
    STAGES[4]: "#5cc08c",
    STAGES[5]: "#b58ad9",
}

FONT = "Liberation Sans"
"""Its metrics come with vl-convert, so a label's place doesn't depend on the fonts of the machine."""


def config() -> dict[str, Any]:
    """Vega-Lite configuration shared by every chart."""
    axis = {
        "domain": False,
        "ticks": False,
        "grid": False,
        "gridColor": GRID,
        "labelColor": MUTED,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelPadding": 8,
        "titlePadding": 10,
    }
    return {
        "font": FONT,
        "background": "transparent",
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"grid": True},
        "text": {"color": INK, "fontSize": 12},
        "title": {"color": INK, "fontSize": 13, "anchor": "start", "fontWeight": "bold"},
        "legend": {
            "labelColor": INK,
            "titleColor": MUTED,
            "labelFontSize": 12,
            "orient": "top",
            "title": None,
            "columnPadding": 22,
        },
    }


def colours(conclusion: Conclusion, rows: list[Row]) -> dict[str, str]:
    """A colour for each row by name: the original grey, the winner blue, the others in their order."""
    won = winners(conclusion)
    rest = iter(OTHERS * (1 + len(rows) // len(OTHERS)))
    chosen: dict[str, str] = {}
    for row in rows:
        if row.is_baseline:
            chosen[row.name] = ORIGINAL
        elif row.name in won[:1]:
            chosen[row.name] = WINNER
        else:
            chosen[row.name] = next(rest)
    return chosen


def winners(conclusion: Conclusion) -> list[str]:
    """Names of variants that won something, the online one first; the original is no winner."""
    found = (conclusion.online, conclusion.batch, conclusion.memory)
    answers = [a for a in found if a is not None and not a.keeps_baseline]
    return list(dict.fromkeys(a.winner for a in answers))


def leading(conclusion: Conclusion, rows: list[Row], most: int) -> list[Row]:
    """At most `most` of the rows: the original, then the winners, then the fastest of the rest."""
    won = winners(conclusion)

    def rank(row: Row) -> tuple[int, float, str]:
        speed = max((c.ratio.value for c in (row.speedup_batch, row.speedup_latency) if c is not None), default=0.0)
        place = 0 if row.is_baseline else 1 + won.index(row.name) if row.name in won else 9
        return place, -speed, row.name

    return sorted(rows, key=rank)[:most]


def scale(chosen: dict[str, str]) -> dict[str, Any]:
    """A colour scale by variant name."""
    return {"domain": list(chosen), "range": list(chosen.values())}


def short(name: str, most: int = 28) -> str:
    """A name that fits beside a line.

    >>> short("a" * 40)
    'aaaaaaaaaaaaaaaaaaaaaaaaaaa…'
    """
    return name if len(name) <= most else name[: most - 1] + "…"
