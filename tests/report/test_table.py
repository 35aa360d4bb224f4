"""The terminal table: fits its columns, says every status, prints no number without an interval."""

from __future__ import annotations

import msgspec
import pytest
from rich.cells import cell_len

from accel.report import table
from tests.report import example


@pytest.mark.parametrize("case", sorted(example.odd_cases()))
@pytest.mark.parametrize("width", [80, 100])
def test_no_line_is_longer_than_the_terminal(case: str, width: int) -> None:
    lines = table.text(example.odd_cases()[case], width).splitlines()
    assert max(map(cell_len, lines)) <= width


def test_hostile_names_neither_widen_nor_steer_the_terminal() -> None:
    text = table.text(example.hostile("\x1b[31m\r\n\x07[bold]red[/bold] " + "x" * 200))
    assert max(map(cell_len, text.splitlines())) <= 80
    assert not {"\x1b", "\r", "\x07"} & set(text)
    assert "[bold]red[/bold]" in text.replace("\n", "")


def test_it_holds_what_a_reader_looks_for() -> None:
    text = table.text(example.conclusion())
    for word in ("SLOWER", "REFUSED", "FAILED", "WRONG", "SKIPPED", "FASTER", "baseline"):
        assert word in text
    for part in ("p50 ms", "p99 ms", "items/s", "2.66-2.76", "4.58×", "4.40-4.76", "0.983", "1MB", "168MB"):
        assert part in text
    assert "Batch: use OpenVINO INT8" in text
    assert "Online: use OpenVINO INT8" in text
    assert "Not bought: 2 of 6 blocks" in text
    assert text.endswith("Report: demo-study/report.html")


def test_values_stand_above_their_intervals() -> None:
    lines = table.text(example.conclusion()).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("OpenVINO INT8 ") and "FASTER" in line)
    value, ends = lines[at + 1].split(), lines[at + 2].split()
    assert value[:3] == ["2.71", "3.25", "4.6"]
    assert ends[:3] == ["2.66-2.76", "3.15-3.35", "4.2-5.0"]


def test_no_colour_where_there_is_no_terminal() -> None:
    assert "\x1b" not in table.text(example.conclusion())
    assert "\x1b[" in table.text(example.conclusion(), colour=True)


def test_a_number_without_an_interval_is_a_dash() -> None:
    usual = example.conclusion()
    assert usual.rows[1].p50 is not None
    bare = msgspec.structs.replace(usual.rows[1].p50, value=0.00777, low=None, high=None)
    rows = (usual.rows[0], msgspec.structs.replace(usual.rows[1], p50=bare), *usual.rows[2:])
    assert "7.77" not in table.text(example.conclusion(rows=rows))


def test_the_report_is_where_it_was_told() -> None:
    assert table.text(example.conclusion(), report="x/y.html").endswith("Report: x/y.html")


@pytest.mark.parametrize("case", sorted(example.odd_cases()))
def test_the_notebook_fragment_renders(case: str) -> None:
    fragment = table.html_fragment(example.odd_cases()[case])
    assert fragment.startswith("<div>")
    assert fragment.endswith("</div>")


def test_the_notebook_fragment_escapes() -> None:
    fragment = table.html_fragment(example.hostile())
    assert "<script" not in fragment
    assert "<img" not in fragment
    assert "&lt;script&gt;" in fragment


def test_ranks_are_groups() -> None:
    ranks = {"batch": (("OpenVINO INT8", "ORT INT8"), ("torch eager",)), "latency": (("one", "two"),)}
    said = table.text(example.conclusion(groups=ranks), 120)
    assert "Shown to be faster, batch: OpenVINO INT8, ORT INT8 > torch eager" in said
    assert "latency: one, two" not in said
