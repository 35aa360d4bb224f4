"""The section of the page on what computes in 8 bits, and its lines for a terminal."""

from __future__ import annotations

from pathlib import Path

import msgspec

from accel.analysis.conclusion import Conclusion
from accel.report import page
from accel.report.jsonout import as_json
from accel.report.numerics import parts, told
from accel.result import Calibrated, Numerics, OperatorPrecision, Result
from tests.report import example

ROOT = Path(__file__).parents[2]
INT8 = Numerics(
    operators=(
        OperatorPrecision(type="Conv", total=5, low=3, left={"depthwise: excluded by name": 2}, names=("a", "b")),
        OperatorPrecision(type="Gemm", total=1, low=1),
    ),
    unfused=0,
    conversions=4,
    weight_bytes={"int8": 2_000_000, "float32": 1000},
    activation_bytes={"uint8": 300},
    islands=("Conv a",),
    source="a test",
    calibration=Calibrated(items=9, few=True, constant=("mask",)),
    notes=("what doesn't run in 8 bits runs in bf16",),
)


def given(*numerics: Numerics | None) -> Conclusion:
    whole = example.conclusion()
    rows = [msgspec.structs.replace(r, numerics=n) for r, n in zip(whole.rows, numerics, strict=False)]
    return msgspec.structs.replace(whole, rows=(*rows, *whole.rows[len(rows) :]))


def test_variants_with_one_reading_share_a_part() -> None:
    other = msgspec.structs.replace(INT8, unfused=7)
    found = parts(given(None, INT8, other, INT8))
    names = [r.name for r in example.conclusion().rows]
    assert [p.names for p in found] == [(names[1], names[3]), (names[2],)]
    assert [(line.type, line.low, line.left) for line in found[0].lines] == [
        ("Conv", "3 of 5", ("2: depthwise: excluded by name",)),
        ("Gemm", "1 of 1", ()),
    ]


def test_the_page_tells_all_of_it_and_escapes_what_a_model_calls_itself() -> None:
    hostile = "<img src=y onerror=alert(7)>"
    bad = msgspec.structs.replace(
        INT8,
        operators=(OperatorPrecision(type=hostile, total=1, low=0, left={hostile: 1}, names=(hostile,)),),
        islands=(hostile,),
        notes=(hostile,),
        source=hostile,
        calibration=Calibrated(items=1, constant=(hostile,), unused=(hostile,)),
    )
    text = page.render(given(None, INT8, bad))
    assert hostile not in text
    assert text.count("&lt;img src=y onerror=alert(7)&gt;") == 8
    assert 'id="numerics">What computes in 8 bits' in text
    section = text[text.index('id="numerics"') :]
    for said in ("3 of 5", "2: depthwise: excluded by name", "2 MB int8, 1 kB float32", "300 B uint8", "Conv a",
                 "9 samples (too few)", "mask", "runs in bf16"):  # fmt: skip
        assert said in section, said


def test_an_old_study_has_no_such_section() -> None:
    assert parts(example.conclusion()) == ()


def test_the_lines_of_a_terminal() -> None:
    lines = told(INT8)
    assert lines[0] == "in 8 bits: Conv 3 of 5, Gemm 1 of 1"
    assert "left in float: 2 Conv: depthwise: excluded by name" in lines
    assert "weights: 2 MB int8, 1 kB float32" in lines
    assert lines[-1] == "read from: a test"


def test_other_programs_read_it_too() -> None:
    row = msgspec.json.decode(as_json(given(INT8)))["rows"][0]
    assert row["numerics"]["operators"][0]["left"] == {"depthwise: excluded by name": 2}


def test_results_of_before_are_still_read() -> None:
    (old, *_) = sorted((ROOT / "reports" / "sample" / "digits" / "runs").glob("*.json"))
    read = Result.load(old)
    assert read.numerics is None or "numerics" in old.read_text()
    new = msgspec.structs.replace(read, numerics=INT8)
    assert msgspec.json.decode(msgspec.json.encode(new), type=Result).numerics == INT8
