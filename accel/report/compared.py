"""What `accel compare` prints: what the gate came to, what changed, what appeared and vanished, and the warnings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from accel.analysis import Estimate
from accel.analysis.beside import Beside
from accel.analysis.changes import STORED, Changes, Moved
from accel.analysis.conclusion import Comparison
from accel.analysis.gate import Judgement, Outcome
from accel.report import words

if TYPE_CHECKING:

    class Compared(Protocol):
        """The fields of a comparison that are printed."""

        @property
        def old(self) -> str: ...
        @property
        def new(self) -> str: ...
        @property
        def changes(self) -> Changes: ...
        @property
        def beside(self) -> Beside | None: ...
        @property
        def judgements(self) -> tuple[Judgement, ...]: ...
        @property
        def outcome(self) -> Outcome | None: ...
        @property
        def strict(self) -> bool: ...
        @property
        def notes(self) -> tuple[str, ...]: ...


_WIDTH = 100
_MARKS = {"passes": "PASS", "fails": "FAIL", "can't tell": "CAN'T TELL"}
_UNITS = {"p50": "ms", "p99": "ms", "throughput": "/s", "rate": "/s"}


def text(found: Compared) -> str:
    """At most 100 columns; plain text, since a log of continuous integration shows no colour."""
    return "\n".join(line for part in _parts(found) for line in _folded(part)).rstrip()


def _folded(line: str) -> list[str]:
    if len(line) <= _WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _parts(found: Compared) -> Iterator[str]:
    yield f"old: {found.old}"
    yield f"new: {found.new}"
    for warning in found.changes.warnings:
        yield f"Warning: {warning}"
    yield ""
    if found.outcome is not None:
        yield from _gate(found)
    if found.beside is not None:
        yield from _beside(found.beside)
    yield from _changes(found.changes, show_numbers=found.beside is None)


def _gate(found: Compared) -> Iterator[str]:
    outcome = found.outcome or "passes"
    strict = " (--strict counts that as failed)" if outcome == "can't tell" and found.strict else ""
    yield f"Gate: {_MARKS[outcome]}{strict}"
    for one in found.judgements:
        who = one.old if one.old == one.new else f"{one.old} → {one.new}"
        yield f"  {_MARKS[one.outcome]:<10}  {one.sentence}  ({one.target}: {who})"
        if one.settle:
            yield f"              {one.settle}"
    for note in found.notes:
        yield f"  Note: {note}"
    yield ""


def _beside(found: Beside) -> Iterator[str]:
    yield f"{found.new} against {found.old}, from the blocks of their study (above 1 is better):"
    for name, one in (("latency", found.latency), ("batch", found.batch), ("online", found.online)):
        yield f"  {name:<10}  {'not measured for both' if one is None else _verdict(one)}"
    yield ""


def _verdict(one: Comparison) -> str:
    reason = f" ({one.reason})" if one.reason else ""
    return f"{words.with_interval(one.ratio, unit='×')}  {one.verdict}{reason}"


def _changes(found: Changes, *, show_numbers: bool) -> Iterator[str]:
    if found.moved and show_numbers:
        yield f"New / old ({STORED}):"
        yield from _table(found.moved)
        yield ""
    for crown in found.winners:
        same = crown.old == crown.new
        yield f"Recommended for {crown.target}: " + (
            f"still {crown.new}" if same else f"{crown.old or 'nothing'} → {crown.new or 'nothing'}"
        )
    for acc in found.accuracy:
        if acc.old != acc.new:
            yield f"{acc.variant}: {acc.metric} {acc.old:.4g} → {acc.new:.4g} ({100 * (acc.new - acc.old):+.2f} pp)"
    for turned in found.turned:
        yield f"{turned.variant}: {turned.what} was {turned.old}, is {turned.new}"
    if found.appeared:
        yield f"Appeared: {', '.join(found.appeared)}"
    if found.vanished:
        yield f"Vanished: {', '.join(found.vanished)}"


def _table(moved: Sequence[Moved]) -> Iterator[str]:
    width = min(40, max(len(m.variant) for m in moved))
    for m in moved:
        scale = 1e-3 if _UNITS[m.metric] == "ms" else 1.0
        shown = f"{_number(m.old, scale)} → {_number(m.new, scale)} {_UNITS[m.metric]}"
        yield f"  {m.variant:<{width}}  {m.metric:<10}  {words.with_interval(m.ratio, unit='×'):<22}  {shown}".rstrip()


def _number(estimate: Estimate, scale: float) -> str:
    shown = words.value_of(estimate, scale)
    return shown if shown != words.NOTHING else f"about {estimate.value / scale:.2g}"
