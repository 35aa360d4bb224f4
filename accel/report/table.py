"""The table a study ends with in a terminal, and its small sister for notebooks."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from accel.analysis import Estimate
from accel.analysis.conclusion import Comparison, Conclusion, Row
from accel.report import words
from accel.report.rescues import lines
from accel.report.terminal import QUIET, fit, plain, styled, versus
from accel.units import show_seconds

if TYPE_CHECKING:
    from rich.text import Text
_STYLES = {"faster": "bold green", "slower": "bold yellow", "failed": "bold red", "refused": "bold red"}
_NARROWEST = 72


def text(conclusion: Conclusion, width: int = 80, *, colour: bool | None = None, report: str = "") -> str:
    """Per variant three lines (name and verdict, values, 95 % intervals), then the answers; at most `width` columns.

    colour: None means only where standard output is a terminal. report: where the page lies, if it is known.
    """
    from rich.console import Console

    wanted = sys.stdout.isatty() and "NO_COLOR" not in os.environ if colour is None else colour
    console = Console(
        file=io.StringIO(),
        width=max(width, _NARROWEST),
        force_terminal=wanted,
        color_system="standard" if wanted else None,
        no_color=not wanted,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
        _environ={},
    )
    for part in _parts(conclusion, report, console.width):
        console.print(part, overflow="fold")
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in written.splitlines())


def _parts(conclusion: Conclusion, report: str, width: int) -> Iterator[Any]:
    record = conclusion.record
    took = f", {show_seconds(record.elapsed_s)}" if record.elapsed_s else ""
    head = f"{record.source.name} on {words.machine(record)} · {words.day(record.created_unix_ns)}"
    yield styled(head, style="bold")
    yield styled(f"{record.profile}{took} · {conclusion.badge or conclusion.validity.upper()}", style=QUIET)
    yield styled("")
    if conclusion.rows:
        yield _grid(conclusion, width)
        yield styled("")
    if any(_measured(row) for row in conclusion.rows):
        yield styled(_legend(conclusion), style=QUIET)
        yield styled("")
    yield from _closing(conclusion, report)


def _closing(conclusion: Conclusion, report: str) -> Iterator[Text]:
    yield styled(conclusion.headline, style="bold")
    answers = conclusion.answers
    for answer in answers:
        yield styled(answer.sentence)
    if conclusion.roles is not None:
        yield from versus(conclusion.roles, words.slo(conclusion.record))
    for line in lines(conclusion):
        yield styled(line)
    for target, ranks in conclusion.groups.items():
        if len(ranks) > 1:
            order = " > ".join(", ".join(names) for names in ranks)
            yield styled(f"Shown to be faster, {target}: {order}", style=QUIET)
    if conclusion.pareto is not None:
        yield styled(words.front(conclusion.pareto), style=QUIET)
    if conclusion.record.interrupted:
        yield styled("This study was interrupted; `--resume` continues it.")
    for line in conclusion.record.not_bought:
        yield styled(f"Not bought: {line}", style=QUIET)
    for finding in sorted(conclusion.findings, key=lambda f: -f.weight)[:3]:
        command = f" Try: {finding.command}" if finding.command else ""
        yield styled(f"· {words.sentence(finding.what, finding.why)}{command}")
    yield styled(f"Report: {report or _default_report(conclusion)}")


def _default_report(conclusion: Conclusion) -> str:
    folder = words.study_folder(conclusion.record)
    return "report.html in the study's folder" if folder == "." else f"{folder.rstrip('/')}/report.html"


def _legend(conclusion: Conclusion) -> str:
    known = [r.quality for r in conclusion.rows if r.quality is not None]
    word = words.accuracy_word(known[0]) if known else "accuracy"
    meaning = "" if word == "accuracy" else f"; accuracy: {word}"
    return (
        "Second line: 95 % intervals; `-` is a number that wasn't measured well enough to print. p50-p99: one request "
        f"at a time, closed loop. Speed-ups against the original{meaning}; it passes the guard where nothing else is "
        "said. Under size: peak memory."
    )


class _Column:
    """A heading and how a row's value and interval are found."""

    def __init__(self, head: str, value: Any, small: Any) -> None:
        self.head, self.value, self.small = head, value, small


def _columns(conclusion: Conclusion) -> list[_Column]:
    scale, unit = words.scale_of(conclusion.rows)

    def latency(name: str) -> _Column:
        return _Column(
            f"{name} {unit}",
            lambda r: words.value_of(getattr(r, name), scale),
            lambda r: _narrow(getattr(r, name), scale),
        )

    def ratio(head: str, name: str) -> _Column:
        return _Column(head, lambda r: words.times(getattr(r, name)), lambda r: _ends(getattr(r, name)))

    columns = [latency("p50"), latency("p90"), latency("p99")]
    columns.append(_Column("items/s", lambda r: words.value_of(r.throughput), lambda r: _narrow(r.throughput)))
    columns += [ratio("×latency", "speedup_latency"), ratio("×batch", "speedup_batch")]
    columns.append(_Column("accuracy", _accuracy, _accuracy_ends))
    columns.append(_Column("size", lambda r: _bytes(r.artefact_bytes), lambda r: _bytes(r.memory_bytes, missing="")))
    return columns


def _grid(conclusion: Conclusion, width: int) -> Any:
    from rich.table import Table

    columns = _columns(conclusion)
    cell = width // len(columns)
    grid = Table.grid(padding=0, expand=False)
    grid.add_column(width=width, no_wrap=False)
    if any(_measured(row) for row in conclusion.rows):
        grid.add_row(styled("".join(c.head.rjust(cell) for c in columns), style="bold"))
    grid.add_row(styled("─" * cell * len(columns), style=QUIET))
    for row in conclusion.rows:
        for line in _lines(row, columns, cell):
            grid.add_row(line)
    return grid


def _lines(row: Row, columns: list[_Column], cell: int) -> Iterator[Text]:
    yield _title(row, cell * len(columns))
    if _measured(row):
        yield styled("".join(fit(plain(c.value(row)), cell) for c in columns))
        yield styled("".join(fit(plain(c.small(row)), cell) for c in columns), style=QUIET)
    if row.status == "ok" and (said := _guard(row)):
        yield styled(f"    {said}")
    if row.status != "ok" and row.reason:
        yield styled(f"    {'fails: ' if row.status == 'refused' else ''}{row.reason}")
        if step := words.extra_step(row.reason, row.next_step):
            yield styled(f"    → {step}", style=QUIET)


def _title(row: Row, width: int) -> Text:
    """The name at the left; what it rests on and the verdict at the right."""
    size = f"batch {row.batch_size}" if row.batch_size and row.status == "ok" else ""
    rests = ", ".join(filter(None, (size, _evidence(row))))
    verdict = plain(words.status_word(row))
    gap = width - len(row.name) - len(rests) - len(verdict) - 2
    title = styled(row.name, style="bold")
    title.append(" " * max(gap, 2))
    title.append(f"{rests}  ", style=QUIET)
    return title.append(verdict, style=_style(row))


def _guard(row: Row) -> str:
    """The guard's word where it isn't `passes`, which the legend says of all others."""
    if row.quality is None or row.is_baseline or row.quality.outcome in ("passes", "unmeasured"):
        return ""
    return f"accuracy {words.guard_word(row.quality)}"


def _measured(row: Row) -> bool:
    return any(words.value_of(e) != words.NOTHING for e in (row.p50, row.throughput))


def _style(row: Row) -> str:
    if row.status != "ok":
        return _STYLES.get(row.status, QUIET)
    verdicts = {c.verdict for _, c in words.verdicts(row)}
    return _STYLES["slower"] if "SLOWER" in verdicts else _STYLES["faster"] if "FASTER" in verdicts else QUIET


def _evidence(row: Row) -> str:
    if row.status != "ok" or row.is_baseline:
        return ""
    doubt = "" if row.validity == "valid" else f", {row.validity}"
    return ("screening only" if row.evidence == "screening" else row.evidence) + doubt


def _ends(comparison: Comparison | None) -> str:
    return "" if comparison is None else _narrow(comparison.ratio)


def _narrow(estimate: Estimate | None, scale: float = 1.0) -> str:
    """An interval that fits its column: with three digits where more would not."""
    ends = words.ends_of(estimate, scale)
    return ends if len(ends) < 10 else words.ends_of(estimate, scale, short=True)


def _accuracy(row: Row) -> str:
    return words.accuracy(row.quality, interval=False)


def _accuracy_ends(row: Row) -> str:
    """Without leading zeros, so that it fits: `.972-.991`."""
    _, found, ends = words.accuracy(row.quality).partition(" [")
    return ends.rstrip("]").replace("0.", ".") if found else ""


def _bytes(count: int | None, missing: str = words.NOTHING) -> str:
    text = words.bytes_or_dash(count).replace(" ", "")
    return missing if text == words.NOTHING else text


def html_fragment(conclusion: Conclusion) -> str:
    """A table for notebooks: headline, one line a variant, the answers; inline styles only, everything escaped."""
    scale, unit = words.scale_of(conclusion.rows)
    heads = ("variant", f"p50, {unit}", "items/s", "× latency", "× batch", "× online", "accuracy", "size", "verdict")
    right, left = 'style="text-align:right"', 'style="text-align:left"'
    top = "".join(f'<th scope="col" {right if i else left}>{escape(h)}</th>' for i, h in enumerate(heads))
    lines = [f"<tr>{top}</tr>"]
    for row in conclusion.rows:
        cells = (
            _noted(row.p50, scale),
            _noted(row.throughput),
            *(_ratio_text(c) for c in (row.speedup_latency, row.speedup_batch, row.speedup_online)),
            " ".join(filter(None, (words.accuracy(row.quality), _guard(row).removeprefix("accuracy ")))),
            words.bytes_or_dash(row.artefact_bytes),
            words.status_word(row) + (f": {row.reason}" if row.status != "ok" else ""),
        )
        name = f'<th scope="row" {left}>{escape(row.name)}</th>'
        lines.append(f"<tr>{name}{''.join(f'<td {right}>{escape(c)}</td>' for c in cells)}</tr>")
    found = (conclusion.online, conclusion.batch, conclusion.memory)
    answers = [a.sentence for a in found if a is not None]
    said = "".join(f"<p>{escape(s)}</p>" for s in answers)
    badge = escape(conclusion.badge)
    head = f"<p><strong>{escape(conclusion.headline)}</strong><br>{escape(conclusion.subline)} {badge}</p>"
    return f"<div>{head}<table>{''.join(lines)}</table>{said}</div>"


def _noted(estimate: Estimate | None, scale: float = 1.0) -> str:
    return words.with_interval(estimate, scale)


def _ratio_text(comparison: Comparison | None) -> str:
    value = words.times(comparison)
    if comparison is None or value == words.NOTHING:
        return words.NOTHING
    return f"{value} [{words.ends_of(comparison.ratio)}] {comparison.verdict}"
