"""How rescues are told: the page's section and chart, lines in a terminal, `accel list`; nobody's text is markup."""

from __future__ import annotations

import json

import msgspec
import pytest

from accel.cli.list import _variant
from accel.report import page, rescues, table
from accel.report.charts.rescue import RescueChart
from accel.report.jsonout import as_json
from tests.report import example
from tests.report.rescued import EVIL, conclusion


def test_the_section_names_steps_operators_and_what_is_rough() -> None:
    text = page.render(conclusion(), example.traces())
    for said in (
        "Rescued, or not",
        "Transformer mode brought it back.",
        "OpenVINO INT8-rescued",
        "/layer.3/MatMul, Softmax",
        "it ran out of memory",
        "0.50 [0.48–0.52] of FP32&#39;s time",
        "−56 points",
        "83 % [77–90]",
        "relative error 3.0e-07",
        "Times here are rough.",
    ):
        assert said in text, said
    assert 'id="rescue"' in text
    assert text.count('id="rescue"') == 1, "its chart stands in its section alone"


def test_a_study_without_rescues_has_no_word_of_them() -> None:
    text = page.render(example.conclusion(), example.traces())
    assert "Rescued, or not" not in text
    assert 'id="rescue"' not in text


def test_hostile_names_stay_text() -> None:
    text = page.render(conclusion(hostile=True), example.traces())
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)" in text


def test_the_chart_shows_the_way_and_marks_start_and_choice() -> None:
    spec = RescueChart().spec(conclusion(), {}, 740)
    assert spec is not None
    values = [v for rows in spec["datasets"].values() for v in rows if "state" in v]
    states = {v["step"]: (v["state"], v["x"], v["y"]) for v in values}
    assert states == {"as it was": ("start", 0.4, -56.4), "transformer mode": ("chosen", 0.5, -0.3)}
    assert "guard: −1 point" in json.dumps(spec, ensure_ascii=False)


def test_without_two_timed_steps_there_is_no_chart() -> None:
    assert RescueChart().spec(example.conclusion(), {}, 740) is None
    assert RescueChart().spec(conclusion(steps=()), {}, 740) is None


def test_without_labels_the_chart_is_in_decibels() -> None:
    by_distance = [
        msgspec.structs.replace(s, drop=None, distance_db=10.0 * (i + 1))
        for i, s in enumerate(conclusion().rescues[0].steps)
    ]
    spec = RescueChart().spec(conclusion(steps=tuple(by_distance)), {}, 336)
    assert spec is not None
    assert "guard: 20 dB" in json.dumps(spec)


def test_the_terminal_and_json_tell_it() -> None:
    given = conclusion()
    text = " ".join(table.text(given, 100, colour=False).split())
    assert "Rescue of OpenVINO INT8 (3 steps): Transformer mode brought it back." in text
    assert "On the evaluation part OpenVINO INT8-rescued passes: accuracy 0.980" in text
    plain = json.loads(as_json(given))
    assert [step["what"] for step in plain["rescues"][0]["steps"]] == ["as it was", "transformer mode", "entropy"]


def test_list_tells_both_the_failed_and_the_rescued() -> None:
    failed = "\n".join(_variant(conclusion(), "OpenVINO INT8"))
    assert "rescue: Transformer mode brought it back." in failed
    assert (
        "* transformer mode: 0.981, −0.3 points, 0.50 [0.48–0.52] of FP32's time, passes; in float: /layer.3" in failed
    )
    assert "- entropy: failed" in failed
    rescued = "\n".join(_variant(conclusion(), "OpenVINO INT8-rescued"))
    assert "rescued from: OpenVINO INT8 (Transformer mode brought it back.)" in rescued


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("passes", ""),
        ("fails", "    fails: only 42 %"),
        ("unresolved", "accuracy unresolved (2,100 samples needed)"),
    ],
)
def test_the_three_words_of_the_guard_stand_in_the_terminal(outcome: str, said: str) -> None:
    base = example.conclusion()
    row = msgspec.structs.replace(
        base.row("OpenVINO INT8"),
        quality=example.quality(0.98, outcome, needed=2100 if outcome == "unresolved" else None),
        status="refused" if outcome == "fails" else "ok",
        reason="only 42 %" if outcome == "fails" else "",
    )
    text = table.text(msgspec.structs.replace(base, rows=(base.rows[0], row)), 100, colour=False)
    assert "it passes the guard where nothing else is said" in " ".join(text.split())
    assert said in text
    listed = "\n".join(_variant(msgspec.structs.replace(base, rows=(base.rows[0], row)), row.name))
    assert f"{outcome}{', 2,100 samples needed' if outcome == 'unresolved' else ''} by the rule" in listed


def test_what_was_not_tried_has_its_reason_and_no_steps() -> None:
    given = conclusion(steps=(), chosen=None, self_check_error=None, said="Not tried: it isn't faster than `ov`.")
    (told,) = rescues.told(given)
    assert (told.steps, told.facts, told.became) == ((), (), "")
    assert "Not tried: it isn&#39;t faster than <code>ov</code>." in page.render(given, example.traces())
