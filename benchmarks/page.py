"""`reports/batch-versus-online.html` and its raw data beside it: what the finished cells say, a section a model.

python -m benchmarks.page            collects the cells from ACCEL_BENCH_OUT into cells.json, then makes the page of it
python -m benchmarks.page --keep     makes the page of the cells.json that is there
"""

from __future__ import annotations

import datetime
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from accel import __version__
from accel.report import draw, page, words
from accel.result import write_atomically
from accel.units import show_seconds
from benchmarks.batching.shown import percent
from benchmarks.cells import Batch, Cell, Online
from benchmarks.chart import pair
from benchmarks.subject import ROOT, place

NAME = "batch-versus-online"
TEMPLATE = Path(__file__).with_name("page.html.j2")
_WIDE, _PHONE = 860, 336


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table, as text; wins: what this variant is the best at."""

    variant: str
    original: bool
    reason: str = ""
    batch: str = ""
    batch_ends: str = ""
    batch_size: str = ""
    alone: str = ""
    online: str = ""
    online_ends: str = ""
    policy: str = ""
    there: str = ""
    cost: str = ""
    quality: str = ""
    quality_word: str = ""
    outcome: str = ""
    doubts: tuple[str, ...] = ()
    wins: tuple[str, ...] = ()


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One model on the page."""

    id: str
    model: str
    sentence: str
    note: str
    random_weights: bool
    limit: str
    lines: tuple[Line, ...]
    wide: str
    phone: str


def collected(root: Path) -> list[Cell]:
    """Every finished cell below a folder, by model and variant."""
    found = [msgspec.json.decode(path.read_bytes(), type=Cell) for path in root.glob("*/cells/*.json")]
    return sorted(found, key=lambda c: (c.model, not c.original, c.variant))


def render(cells: Sequence[Cell]) -> str:
    """The page as text; a function of the cells alone."""
    models = list(dict.fromkeys(c.model for c in cells))
    values = {
        "sections": [section(m, [c for c in cells if c.model == m]) for m in models],
        "machines": machines(cells),
        "version": __version__,
        "style": page.text_of("page.css"),
        "dark": draw.dark_rules(),
    }
    template = page.templates().from_string(TEMPLATE.read_text(encoding="utf-8"))
    return str(template.render(values))


def machines(cells: Sequence[Cell]) -> list[str]:
    """Where and when, a line a machine."""
    found: dict[str, set[str]] = {}
    for cell in cells:
        day = datetime.datetime.fromtimestamp(cell.where.unix_s, datetime.UTC)
        found.setdefault(f"{cell.where.cores} × {cell.where.cpu}", set()).add(f"{day.day} {day:%b %Y}")
    return [f"{machine} · {', '.join(sorted(days))}" for machine, days in sorted(found.items())]


def section(model: str, cells: Sequence[Cell]) -> Section:
    """One model's table, chart and sentence."""
    batch = _best(cells, items_of)
    online = _best(cells, rate_of)
    wins = {id(batch): ("batch",)} if batch is not None else {}
    if online is not None:
        wins[id(online)] = (*wins.get(id(online), ()), "online")
    asked = next((c.online for c in cells if c.online is not None), None)
    return Section(
        id=model,
        model=model,
        sentence=_sentence(cells, batch, online),
        note="" if asked is None else _limit_note(asked),
        random_weights=any(c.random_weights for c in cells),
        limit="the limit" if asked is None else f"{words.percentile(asked.p)} ≤ {show_seconds(asked.slo_s)}",
        lines=tuple(_line(c, wins.get(id(c), ())) for c in cells),
        wide=_picture(cells, _WIDE, f"{model}-wide"),
        phone=_picture(cells, _PHONE, f"{model}-phone"),
    )


def items_of(cell: Cell) -> float:
    """Items a second as a batch job; 0 where none was measured."""
    return 0.0 if cell.batch is None else statistics.median(cell.batch.items_per_s)


def rate_of(cell: Cell) -> float:
    """Requests a second within the limit; 0 where there is none."""
    return 0.0 if cell.online is None else cell.online.max_qps


def three(value: float) -> str:
    """Three digits, with commas.

    >>> three(1034.2), three(0.12345)
    ('1,030', '0.123')
    """
    return f"{float(f'{value:.3g}'):,.10g}"


def _best(cells: Sequence[Cell], number: Any) -> Cell | None:
    """The best of those whose outputs weren't found worse than allowed."""
    able = [c for c in cells if number(c) > 0 and (c.quality is None or c.quality.outcome != "fails")]
    return max(able, key=number, default=None)


def _sentence(cells: Sequence[Cell], batch: Cell | None, online: Cell | None) -> str:
    original = next((c for c in cells if c.original), None)
    said = []
    for what, best, number, unit in (
        ("Batch", batch, items_of, "items/s"),
        ("Online", online, rate_of, "requests/s within the limit"),
    ):
        if best is None:
            said.append(f"{what}: no variant met the limit." if what == "Online" else "Batch: nothing was measured.")
            continue
        times = "" if original is None or best is original else _times(what, best, original)
        name = "the original" if best.original else f"`{best.variant}`"
        shaken = " (disturbed while it was measured)" if _shaken(what, best) else ""
        said.append(f"{what}: {name} gives {three(number(best))} {unit}{times}{shaken}.")
    return " ".join(said)


def _times(what: str, best: Cell, original: Cell) -> str:
    """How many times the original, as far as the ends of both let one say; "" where an end is missing."""
    ours, base = _ends(what, best), _ends(what, original)
    if ours is None or base is None or base[0] <= 0:
        return ""
    return f", {ours[0] / base[1]:.2g} to {ours[1] / base[0]:.2g} times the original"


def _ends(what: str, cell: Cell) -> tuple[float, float] | None:
    """The range of the rounds in batch, the interval of the crossing online."""
    if what == "Batch":
        return None if cell.batch is None else (min(cell.batch.items_per_s), max(cell.batch.items_per_s))
    if cell.online is None or cell.online.crossing.low is None or cell.online.crossing.high is None:
        return None
    return cell.online.crossing.low, cell.online.crossing.high


def _shaken(what: str, cell: Cell) -> bool:
    if what == "Batch":
        return cell.batch is not None and bool(_doubt("batch", cell.batch.validity))
    return cell.online is not None and cell.online.level != "valid"


def _limit_note(online: Online) -> str:
    if online.p < online.wanted_p:
        wanted, taken = words.percentile(online.wanted_p), words.percentile(online.p)
        return f"The recipe's limit is at {wanted}, which trials this short don't carry; here it is {taken}."
    return ""


def _line(cell: Cell, wins: tuple[str, ...]) -> Line:
    quality = cell.quality
    line = Line(
        variant=cell.variant,
        original=cell.original,
        reason=cell.reason,
        quality="" if quality is None else words.accuracy(quality),
        quality_word="" if quality is None else words.accuracy_word(quality),
        outcome="" if quality is None else quality.outcome,
        wins=wins,
    )
    if cell.batch is not None:
        line = _with_batch(line, cell.batch)
    return line if cell.online is None else _with_online(line, cell, cell.online)


def _with_batch(line: Line, batch: Batch) -> Line:
    rates = sorted(batch.items_per_s)
    return msgspec.structs.replace(
        line,
        batch=three(statistics.median(rates)),
        batch_ends=f"{three(rates[0])}–{three(rates[-1])}",
        batch_size=f"batches of {batch.size}",
        doubts=(*line.doubts, *_doubt("batch", batch.validity)),
    )


def _with_online(line: Line, cell: Cell, online: Online) -> Line:
    p50, there = ("" if not x else show_seconds(statistics.median(x)) for x in (online.there_p50_s, online.there_s))
    ends = "–".join("?" if end is None else three(end) for end in (online.crossing.low, online.crossing.high))
    items = items_of(cell)
    level = () if online.level == "valid" else (f"online {online.level}",)
    return msgspec.structs.replace(
        line,
        alone=show_seconds(statistics.median(online.alone_s)),
        online=three(online.max_qps) if online.max_qps > 0 else "none",
        online_ends=ends if online.max_qps > 0 else "",
        policy=words.policy(online.policy),
        there=f"{p50} / {there}" if p50 and there else "",
        cost=percent(max(0.0, 1 - online.max_qps / items)) if items and online.max_qps > 0 else "",
        doubts=(*line.doubts, *level, *online.flags),
    )


def _doubt(what: str, validity: Sequence[str]) -> tuple[str, ...]:
    worst = next((w for w in ("invalid", "unstable") if w in validity), None)
    return () if worst is None else (f"{what} {worst}",)


def _picture(cells: Sequence[Cell], width: int, prefix: str) -> str:
    rows = [(("original" if c.original else c.variant), items_of(c), rate_of(c)) for c in cells if items_of(c) > 0]
    return draw.picture(pair(rows, width), prefix) if rows else ""


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    raw = ROOT / "reports" / NAME / "cells.json"
    if "--keep" not in given:
        raw.parent.mkdir(exist_ok=True)
        write_atomically(raw, msgspec.json.format(msgspec.json.encode(collected(place() / "suite")), indent=1) + b"\n")
    out = raw.parent.with_suffix(".html")
    write_atomically(out, render(read(raw)).encode())
    print(out)
    return 0


def read(raw: Path) -> list[Cell]:
    """The cells of a stored file."""
    return msgspec.json.decode(raw.read_bytes(), type=list[Cell])


if __name__ == "__main__":
    sys.exit(main())
