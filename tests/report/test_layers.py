"""The section of the page on where the time goes, its lines for a terminal, and its place in the JSON."""

from __future__ import annotations

import json

import msgspec

from accel.compilation._profile import BETWEEN, Call, Layers, layers
from accel.report import page
from accel.report.jsonout import as_json
from accel.report.layers import section, told
from tests.report import example


def of(variant: str, *calls: Call, items: int = 1) -> Layers:
    found = layers(calls, items=items, runs=10, source="a profiler")
    return msgspec.structs.replace(found, variant=variant)


WHOLE = example.conclusion()
BASE, OTHER = WHOLE.record.baseline, next(r.name for r in WHOLE.rows if not r.is_baseline)
FOUND = (
    of(OTHER, Call("Conv", "i8", 0.6), Call("Reorder", "", 0.4), items=8),
    of(BASE, Call("aten::conv2d", "", 0.9), Call(BETWEEN, "", 0.0999), Call("aten::relu", "", 0.0001)),
)
GIVEN = msgspec.structs.replace(WHOLE, layers=FOUND)


def test_the_original_stands_first_and_each_class_has_its_share() -> None:
    found = section(GIVEN)
    assert found is not None
    assert found.names == (BASE, OTHER)
    assert [(line.word, line.shares) for line in found.lines] == [
        ("convolutions", ("90 %", "60 %")),
        ("layout and type", ("", "40 %")),
        ("between operators", ("10 %", "")),
        ("one by one", ("< 0.1 %", "")),
    ]
    assert found.notes[1] == (
        f"{OTHER}: 10 runs of 8 items, 100 ms each with a profiler on; "
        "most in Conv in i8 (60 %, 0.1 a run), Reorder (40 %, 0.1 a run)"
    )


def test_a_study_without_profiles_has_no_section() -> None:
    assert section(WHOLE) is None
    assert "Where the time goes" not in page.render(WHOLE)


def test_the_page_says_that_a_profiler_was_on_and_escapes_what_a_runtime_says() -> None:
    hostile = "<img src=y onerror=alert(7)>"
    text = page.render(msgspec.structs.replace(WHOLE, layers=(of(BASE, Call(hostile, hostile, 1.0)),)))
    assert hostile not in text
    assert "with the runtime&#39;s own profiler on" in text or "with the runtime's own profiler on" in text


def test_the_terminal_and_the_json_tell_the_same() -> None:
    assert told(FOUND[0])[0] == "where its time goes: convolutions 60 %, layout and type 40 %"
    (first, _) = json.loads(as_json(GIVEN))["layers"]
    assert (first["variant"], first["times"][0]["seconds_share"]) == (OTHER, 0.6)
