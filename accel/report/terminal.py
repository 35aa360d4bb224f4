"""Lines for a terminal: text that can't steer it, numbers that fit their columns, the block batch against online."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from accel.analysis.roles import Roles
from accel.report import words
from accel.report.roles import items_word, number, price, seconds, share, winners

if TYPE_CHECKING:
    from rich.text import Text

QUIET = "dim"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WIDTHS = (13, 7, 17, 15, 9, 11)
_WON = {"batch": "best for batch jobs", "online": "best online", "both": "best in both"}


def styled(words: str, style: str = "") -> Text:
    """Text without control characters, so that no name can move the cursor or recolour a terminal."""
    from rich.text import Text

    return Text(_CONTROL.sub(" ", words), style=style)


def fit(value: str, cell: int) -> str:
    """Right-aligned; what is too long for its column loses thousands separators and leading zeros, then whole digits.

    >>> fit("2,300,000-7,000,000", 10)
    '   2.3M-7M'
    """
    if len(value) >= cell:
        value = value.replace(",", "").replace("0.", ".")
    if len(value) >= cell:
        value = re.sub(r"\d{6,}", lambda number: f"{int(number[0]) / 1e6:.3g}M", value)
    return value.rjust(cell) if len(value) < cell else f" {value}"


def plain(value: str) -> str:
    """A dash that every terminal has, and short intervals."""
    return "-" if value == words.NOTHING else value.replace("–", "-")


def versus(roles: Roles, limit: str) -> Iterator[Text]:
    """Batch against online: a line of headings, three lines a winner, and what makes the difference."""
    chosen = winners(roles)
    if not chosen:
        return
    heads = ("items/s", "batch", items_word(roles.items), "requests/s", "busy", "SLO costs")
    yield styled("")
    yield styled(f"Batch against online{f', {limit}' if limit else ''}", style="bold")
    yield styled("".join(h.rjust(w) for h, w in zip(heads, _WIDTHS, strict=True)), style="bold")
    for name, (role, won) in chosen.items():
        yield styled(f"{name}  ").append(_WON[won], style=QUIET)
        values = (number(role.items), None, seconds(role.job_s), number(role.rate), share(role.utilisation))
        cells = [*values, price(role.slo_cost)]
        shown = [plain(c.value) if c is not None else str(role.batch_size or "-") for c in cells]
        below = [plain(c.small[0]) if c is not None and c.small else "" for c in cells]
        below[2] = ""  # the ends of a duration are too long for a column
        yield styled("".join(fit(v, w) for v, w in zip(shown, _WIDTHS, strict=True)))
        yield styled("".join(fit(v, w) for v, w in zip(below, _WIDTHS, strict=True)), style=QUIET)
    for sentence in roles.why[:2]:
        yield styled(sentence)
