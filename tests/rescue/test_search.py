"""The search on a network with a planted outlier: the culprit, resuming, the time limit, no improvement."""

from __future__ import annotations

import msgspec
import pytest

from accel.errors import VariantError
from accel.plugins import Named
from accel.rescue import search
from accel.rescue.choice import best, kept
from accel.rescue.record import Rescue, Step
from accel.rescue.rough import Relative
from accel.rescue.steps import Steps
from accel.rescue.told import told
from tests.rescue.graphs import ALL, Judge, expected, outlier, samples, variant

pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def times(monkeypatch):
    """Rough times that don't depend on the machine: every form is faster than float32, and rewriting costs nothing."""
    monkeypatch.setattr("accel.rescue.workbench.relative_time", lambda *a, **k: Relative(value=0.5, low=0.5, high=0.5))
    monkeypatch.setattr("accel.rescue.ablate_onnx.OnnxAblation.saved_ms", lambda self: {})


class Clock:
    def __init__(self, step=0.0):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


def run(tmp_path, fields, *, limit=0.12, seconds=1e6, judge=None, **more):
    model, given = outlier(tmp_path), samples()
    judge = judge or Judge(expected(model, given), limit)
    found = search.rescue(
        variant(**fields), model, given, judge, seconds=seconds, folder=tmp_path / "steps", clock=Clock(1.0), **more
    )
    return found, judge


def test_a_switch_of_the_tool_is_enough_where_the_types_are_known(tmp_path):
    found, _ = run(tmp_path, {"operators": ALL})
    assert found.steps[0].kind == "start"
    assert found.steps[0].outcome == "fails"
    assert found.chosen is not None
    assert found.complete
    assert {step.kind for step in found.steps} >= {"start", "switch"}
    assert "within the guard again" in found.said


def test_the_type_of_the_planted_outlier_is_found(tmp_path, monkeypatch):
    """Without switches the types decide: Add holds the tensor that ruins the scale, and nothing else has to go."""
    monkeypatch.setattr(search, "switches", lambda *a, **k: ())
    found, _ = run(tmp_path, {"operators": ALL})
    assert found.chosen is not None
    assert found.chosen[0].fields["keep"] == ["Add"]
    assert found.self_check_error < 1e-5
    assert found.clean_error < 1e-5
    assert "keep = Add" in found.said


def test_nodes_that_share_the_outlier_are_found_together(tmp_path, monkeypatch):
    """Neither node alone helps; a ranking that adds single sensitivities would never look at them."""
    monkeypatch.setattr(search, "switches", lambda *a, **k: ())
    monkeypatch.setattr(search.Search, "_types", lambda self: None)
    monkeypatch.setattr(search.Search, "_blocks", lambda self: None)
    found, _ = run(tmp_path, {"operators": ALL})
    assert found.chosen is not None
    assert {"raise", "lower"} <= set(found.chosen[0].fields["exclude"])
    assert "second" not in found.chosen[0].fields["exclude"]


def test_what_is_chosen_passes_when_it_is_made_anew(tmp_path):
    from accel import plugins

    found, judge = run(tmp_path, {"operators": ALL})
    model, given = outlier(tmp_path), samples()
    made = plugins.make("compression", found.chosen[0]).apply(model, given.only(given.calibration), "onnxruntime")
    clean = expected(made, given)
    assert judge({"y": list(clean)}).outcome == "passes"


def test_steps_are_not_made_again(tmp_path):
    first, judge = run(tmp_path, {"operators": ALL})
    asked = judge.asked
    second, _ = run(tmp_path, {"operators": ALL}, judge=judge)
    assert judge.asked == asked
    assert second.steps == first.steps
    assert second.chosen == first.chosen


def test_an_interrupted_rescue_goes_on_and_ends_the_same(tmp_path):
    whole, judge = run(tmp_path, {"operators": ALL})
    lines = (tmp_path / "steps" / "steps.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "steps" / "steps.jsonl").write_bytes(lines[0] + lines[1][:20])
    asked = judge.asked
    again, _ = run(tmp_path, {"operators": ALL}, judge=judge)
    assert judge.asked == asked + len(lines) - 1
    assert [s.compression for s in again.steps] == [s.compression for s in whole.steps]


@pytest.mark.parametrize("seconds", [0.0, 4.0])
def test_the_time_limit_ends_it_and_says_so(tmp_path, seconds):
    found, judge = run(tmp_path, {"operators": ALL}, limit=0.0, seconds=seconds)
    assert not found.complete
    assert found.chosen is None
    assert "No improvement found" in found.said
    assert judge.asked == len(found.steps) <= 2


def test_no_improvement_is_a_result(tmp_path):
    """A judge that nothing pleases: everything is tried, nothing chosen, and the closest is named."""
    found, _ = run(tmp_path, {"operators": ALL}, limit=-1.0)
    assert found.complete
    assert found.chosen is None
    assert found.said.startswith("No improvement found for `quantize_static+onnxruntime`: none of the ")
    assert {"switch", "types", "nodes"} <= {step.kind for step in found.steps}


def test_a_rewired_graph_that_fails_its_self_check_ranks_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "switches", lambda *a, **k: ())
    monkeypatch.setattr("accel.rescue.ablate_onnx.OnnxAblation.self_check_error", 0.3)
    found, _ = run(tmp_path, {"operators": ALL})
    assert [step.kind for step in found.steps] == ["start"]
    assert found.chosen is None
    assert found.self_check_error == 0.3
    assert "doesn't answer like the float model (relative error 0.3)" in found.said


def test_a_form_that_cannot_be_made_is_a_failed_step(tmp_path):
    def judge(rows):
        raise ValueError("the metric broke\nand more")

    found, _ = run(tmp_path, {"operators": ALL}, judge=judge, seconds=1e4)
    assert {step.outcome for step in found.steps} == {"failed"}
    assert found.steps[0].reason == "ValueError: the metric broke"
    assert "could be made" in found.said


def test_each_step_is_told_of(tmp_path):
    told_of = []
    found, _ = run(tmp_path, {"operators": ALL}, on_step=told_of.append)
    assert tuple(told_of) == found.steps


def test_the_folder_holds_what_the_rescue_says(tmp_path):
    found, _ = run(tmp_path, {"operators": ALL})
    data = msgspec.json.decode(msgspec.json.encode(found), type=Rescue)
    assert data.chosen == found.chosen
    stored = Steps(tmp_path / "steps")
    assert stored.known(found.chosen).outcome == "passes"


def test_without_validation_samples_there_is_nothing_to_judge_by(tmp_path):
    given = msgspec.structs.replace(samples(), validation=samples().validation[:0])
    with pytest.raises(VariantError, match="no validation samples"):
        search.rescue(variant(), outlier(tmp_path), given, None, seconds=1, folder=tmp_path)


def test_a_variant_that_is_not_quantized_has_nothing_to_rescue(tmp_path):
    plain = msgspec.structs.replace(variant(), compression=())
    with pytest.raises(VariantError, match="isn't quantized"):
        search.rescue(plain, outlier(tmp_path), samples(), None, seconds=1, folder=tmp_path)


def step(kind="types", *, time=0.5, outcome="passes", score=1.0, acceptable=True, db=None, **more):
    return Step(
        what=str(more.pop("what", kind)),
        kind=kind,
        compression=(Named("quantize_static", more),),
        relative_time=time,
        outcome=outcome,
        score=score,
        distance_db=db,
        acceptable=acceptable,
    )


START = step("start", time=0.4, outcome="fails", score=0.5, acceptable=False)


def test_the_fastest_that_keeps_enough_is_chosen():
    slow, fast = step(time=0.6), step(time=0.5)
    assert best([START, slow, fast]) is fast
    assert kept(slow, START) == pytest.approx(0.4 / 0.6)


def test_times_that_cannot_be_told_apart_leave_it_to_the_answers():
    fast, good = step(time=0.5, outcome="unresolved", db=7.0), step(time=0.54, outcome="unresolved", db=9.0, score=0.9)
    assert best([START, fast, good]) is good
    assert best([START, fast, step(time=0.56, outcome="unresolved", db=9.0)]) is fast
    disturbed = msgspec.structs.replace(fast, relative_time=0.2, relative_time_low=0.1, relative_time_high=0.7)
    assert best([START, disturbed, good]) is good


def test_a_settled_form_comes_before_a_faster_unsettled_one_that_keeps_enough_too():
    unsettled, settled = step(time=0.45, outcome="unresolved"), step(time=0.5)
    assert best([START, unsettled, settled]) is settled
    too_slow = step(time=0.9)
    assert best([START, unsettled, too_slow]) is unsettled


def test_a_form_slower_than_float_is_no_improvement():
    slower = step(time=1.1)
    assert best([START, slower]) is None
    assert "faster than float32" in told("v", [START, slower], None, kept=None)


def test_a_start_that_the_validation_part_does_not_show_to_fail_must_be_beaten():
    start = step("start", time=0.4, outcome="passes", score=0.9)
    assert best([start, step(score=0.9)]) is None
    better = step(score=0.95)
    assert best([start, better]) is better


def test_the_sentence_names_what_changed():
    start = step("start", time=0.4, acceptable=False, operators=["Add", "MatMul"], method="distribution")
    chosen = step(time=0.5, operators=["MatMul"], exclude=["a", "b", "c", "d", "e"])
    said = told("v", [start, chosen], chosen, kept=0.83)
    assert "operators = MatMul" in said
    assert "exclude = a, b, c, d and 1 more" in said
    assert "method = minmax" in said
    assert "keeping all of" in told("v", [start, chosen], chosen, kept=1.2)
    assert "83 %" in said


def test_an_unsettled_form_is_followed_by_two_more_settings(tmp_path):
    """Every form is within the limit but unsettled: the first, and two more."""

    def judge(rows):
        from accel.result import Quality

        judge.asked += 1
        fails = judge.asked == 1
        return Quality(outcome="fails" if fails else "unresolved", rule="", value=0.5 if fails else 0.9)

    judge.asked = 0
    found, _ = run(tmp_path, {"operators": ALL}, judge=judge, within=lambda quality: True)
    assert [step.kind for step in found.steps].count("switch") == 3
    assert "unresolved" in found.said
