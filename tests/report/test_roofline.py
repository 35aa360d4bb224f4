"""The section on the machine's limits: there where it is known, and only there."""

from __future__ import annotations

import msgspec

from accel.analysis.bounds import with_rooflines
from accel.report.page import render
from accel.report.roofline import precision_words, section, shown, told
from tests.analysis.test_roofline import cost, machine, peak, row, seconds
from tests.report import example


def conclusion(**changes):
    made = example.conclusion()
    record = msgspec.structs.replace(made.record, peaks=machine(0.02), cost=cost(), **changes)
    rows = with_rooflines([row(name="a <b>", p50=seconds(0.02, 0.05)), *made.rows], record, {})
    return msgspec.structs.replace(made, record=record, rows=rows)


def test_a_study_without_peaks_has_no_such_section() -> None:
    assert section(example.conclusion()) is None


def test_the_page_shows_share_bound_and_what_binds() -> None:
    found = section(conclusion())
    assert found is not None
    first = found.lines[0]
    assert (first.name, first.how, first.limit) == ("a <b>", "one at a time", "memory (main memory)")
    assert first.of_peak == ("25 %", "23–27 of FP32")
    assert first.seconds[0] == "20 ms"
    assert [line.name for line in found.peaks][:2] == ["FP32 products", "BF16 products"]
    assert found.peaks[0].cells == (("100 GFLOP/s", "98–102"), ("200 GFLOP/s", "196–204"))
    assert found.cost.startswith("500 M multiply-accumulates an item, 105 MB of weights read a call")
    page = render(conclusion())
    assert 'id="roofline"' in page
    assert "a &lt;b&gt;" in page
    assert "a <b>" not in page


def test_the_same_in_lines_of_text() -> None:
    made = conclusion()
    lines = told(made.row("a <b>"), made)
    assert lines[0].startswith("roofline, one at a time: 25 % [23–27] of the peak of FP32 on 2 threads; at least ")
    assert len(lines) == 2
    alone = msgspec.structs.replace(row().effective, threads=1)
    one = with_rooflines([row(effective=alone)], made.record, {})[0]
    assert " of the peak of FP32 on 1 thread; " in told(one, made)[0]
    unknown = msgspec.structs.replace(made, record=msgspec.structs.replace(made.record, peaks=None))
    assert "accel doctor --measure" in told(row(), unknown)[0]
    assert told(row(), example.conclusion()) == []


def test_what_is_faster_than_possible_is_explained_where_it_stands() -> None:
    made = conclusion()
    assert made.record.cost is not None
    fast = with_rooflines([row(p50=seconds(0.001, 0.05))], made.record, {})
    found = section(msgspec.structs.replace(made, rows=fast))
    assert found is not None
    assert found.lines[0].of_peak[0] == "500 %"
    assert any(note.startswith("More than 100 % means") for note in found.notes)
    assert any("More than 100 % means" in line for line in told(fast[0], made))
    usual = section(msgspec.structs.replace(made, rows=with_rooflines([row()], made.record, {})))
    assert usual is not None
    assert not any("More than" in note for note in usual.notes)


def test_words_for_a_peak_and_a_mix() -> None:
    assert shown(peak("int8", 1.25e12, spread=0.1)) == "1.25 TOP/s [1.12–1.38]"
    assert shown(peak("ram", 16e9)) == "16 GB/s [16–16]"
    assert precision_words({"int8": 0.97, "fp32": 0.03}) == "INT8 (97 %) and FP32 (3 %)"
