"""From a chart's specification to what the page holds: still pictures, and the scripts that bring them to life."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

import msgspec

from accel import plugins
from accel.analysis.conclusion import Conclusion
from accel.report.charts import Chart, Traces
from accel.report.charts._theme import DARK

WIDE_PX, PHONE_PX = {"wide": 740, "beside": 390, "below": 960}, 336


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One chart, drawn for two widths; `specs` are the same drawings for the scripts, by name of the width."""

    name: str
    place: str
    title: str
    note: str
    wide: str
    phone: str
    specs: dict[str, dict[str, Any]]
    wide_px: int


def figures(conclusion: Conclusion, traces: Traces) -> list[Figure]:
    """Every chart that has something to show, the first screen's first, each group in its order."""
    charts = [(name, plugins.load("charts", name)()) for name in plugins.names("charts")]
    found = [f for name, chart in sorted(charts, key=_rank) if (f := _figure(name, chart, conclusion, traces))]
    if found and not any(f.place == "wide" for f in found):
        lead = next((i for i, f in enumerate(found) if f.place == "below"), None)
        if lead is not None:
            name = found[lead].name
            found[lead] = _drawn(name, plugins.load("charts", name)(), conclusion, traces, "wide") or found[lead]
    places = ("wide", "beside", "below")
    return sorted(found, key=lambda f: places.index(f.place))


def _rank(item: tuple[str, Chart]) -> tuple[int, str]:
    return item[1].order, item[0]


def _figure(name: str, chart: Chart, conclusion: Conclusion, traces: Traces) -> Figure | None:
    return _drawn(name, chart, conclusion, traces, chart.place)


def _drawn(name: str, chart: Chart, conclusion: Conclusion, traces: Traces, place: str) -> Figure | None:
    width = WIDE_PX[place]
    wide = chart.spec(conclusion, traces, width)
    phone = chart.spec(conclusion, traces, PHONE_PX)
    if wide is None or phone is None:
        return None
    title, note = chart.title(conclusion), chart.note(conclusion)
    return Figure(
        name=name,
        place=place,
        title=title,
        note=note,
        wide=picture(wide, f"{name}-wide"),
        phone=picture(phone, f"{name}-phone"),
        specs={"wide": wide, "phone": phone},
        wide_px=width,
    )


def picture(spec: dict[str, Any], prefix: str) -> str:
    """An SVG that scales and takes the page's font; ids are unique under `prefix` and the same on every drawing."""
    svg = _svg(msgspec.json.encode(spec))
    ids: dict[str, str] = {}
    for old in re.findall(r'\bid="([^"]+)"', svg):
        ids.setdefault(old, f"{prefix}-{len(ids)}")
    for old, new in ids.items():
        svg = svg.replace(f'id="{old}"', f'id="{new}"').replace(f"url(#{old})", f"url(#{new})")
    return re.sub(r"<[^>]*>", lambda tag: _slim(tag[0]), svg).replace("<svg ", '<svg aria-hidden="true" ', 1)


@lru_cache(maxsize=64)
def _svg(spec: bytes) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(spec.decode(), allowed_base_urls=[]))


def _slim(tag: str) -> str:
    """One tag without what the page sets for all charts, and with coordinates to a hundredth of a pixel."""
    if tag.startswith("<path") and re.search(r' d="(?:M0,0h0v0h0Z)?"', tag):
        return ""
    tag = re.sub(r' (?:role|aria-roledescription|aria-hidden|aria-label|pointer-events|font-family)="[^"]*"', "", tag)
    tag = tag.replace(' opacity="1"', "")
    return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), tag)


def dark_rules() -> str:
    """CSS that replaces each light colour of a chart by its dark counterpart."""
    lines = []
    for light, dark in DARK.items():
        lines.append(f'.chart [fill="{light}"]{{fill:{dark}}}.chart [stroke="{light}"]{{stroke:{dark}}}')
    return "\n".join(lines)


@cache
def scripts() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that sets `window.vegaEmbed` and asks for nothing from outside."""
    import vl_convert

    bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return re.sub(r"</(?=script)|<(?=!--)", lambda end: end[0].replace("<", "\\x3c"), bundle, flags=re.IGNORECASE)
