"""Who is looked at at all: what is there for the comparison, and what slow compilers may take together."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from accel.plugins import Named
from accel.recipe import Variant
from accel.result import SetUp
from accel.study import screening
from accel.study.budget import NOT_BOUGHT, Budget, BudgetEnded
from accel.study.profiles import profile

NAMES = ("eager", "onnxruntime", "inductor", "aot_inductor")


@pytest.fixture(autouse=True)
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "look_s", lambda funnel: 5.0)


def study(
    total_s: float,
    *,
    elapsed_s: float = 0.0,
    made: tuple[str, ...] = (),
    names: tuple[str, ...] = NAMES,
    **set_ups: SetUp,
) -> Any:
    """A study in the middle of its first looks; set_ups: of who was looked at; made: whose artefact is there."""
    results = {
        f"screening-{name}-latency": SimpleNamespace(set_up=set_up, role="candidate")
        for name, set_up in set_ups.items()
    }
    return SimpleNamespace(
        record=SimpleNamespace(baseline="eager", variants=[Variant(name=name, backend=Named(name)) for name in names]),
        services=SimpleNamespace(is_made=lambda variant: variant.name in made),
        results=results,
        decisions=SimpleNamespace(blocks=None),
        profile=profile("quick"),
        budget=Budget(total_s, spent_s=elapsed_s, now=lambda: 0.0),
    )


def why_not(funnel: Any, name: str) -> str:
    return screening._why_not(funnel, next(v for v in funnel.record.variants if v.name == name))


def test_the_first_slow_compilation_is_tried() -> None:
    assert why_not(study(300.0, onnxruntime=SetUp(export_s=500.0)), "inductor") == ""


def test_a_second_slow_compilation_has_to_fit_beside_the_first() -> None:
    made = SetUp(load_s=1.0, compile_s=40.0)
    assert why_not(study(600.0, inductor=made), "aot_inductor") == ""
    told = why_not(study(300.0, inductor=made), "aot_inductor")
    assert "1 min" in told
    assert "41 s are gone" in told
    assert "--budget" in told
    assert why_not(study(300.0, inductor=made), "onnxruntime") == "", "who compiles nothing is tried all the same"


def test_a_short_study_tries_no_slow_compilation() -> None:
    told = why_not(study(97.0), "inductor")
    assert "a slow compilation doesn't fit into the 19.4 s of --budget" in told
    assert "one takes 30 s or more" in told


def test_a_short_study_tries_what_is_made_already() -> None:
    assert why_not(study(97.0, made=("inductor",)), "inductor") == ""
    assert why_not(study(97.0, made=("inductor",)), "aot_inductor") != ""


def test_a_short_study_tries_what_alone_was_asked_for() -> None:
    assert why_not(study(97.0, names=("eager", "inductor")), "inductor") == ""


def test_what_came_from_the_cache_took_nothing() -> None:
    assert why_not(study(300.0, inductor=SetUp(compile_s=40.0, cached=True)), "aot_inductor") == ""


def test_compiling_again_while_it_is_opened_counts() -> None:
    """Measured with torch's INT8 on MiniLM: 107 s to compile, 62 s to open, and it came from nowhere."""
    opened = SetUp(compile_s=10.0, import_s=1.0, open_s=48.0, first_run_s=2.0)
    told = why_not(study(300.0, inductor=opened), "aot_inductor")
    assert "(1 min 1 s are gone)" in told
    cached = msgspec.structs.replace(opened, cached=True)
    assert "(51 s are gone)" in why_not(study(300.0, inductor=cached), "aot_inductor")


def test_one_that_was_cut_took_their_whole_share() -> None:
    funnel = study(600.0)
    reason = f"{NOT_BOUGHT}the budget ended while compiling"
    funnel.results["screening-inductor"] = SimpleNamespace(status="skipped", reason=reason, role="candidate")
    assert "(2 min 0 s are gone)" in why_not(funnel, "aot_inductor")


def test_a_slow_compilation_is_cut_where_their_share_ends() -> None:
    def longest_s(funnel: Any, name: str) -> float:
        return screening._longest_s(funnel, next(v for v in funnel.record.variants if v.name == name))

    made = SetUp(compile_s=50.0)
    assert longest_s(study(480.0), "inductor") == pytest.approx(96.0)
    assert longest_s(study(480.0, inductor=made), "aot_inductor") == pytest.approx(46.0)
    assert longest_s(study(90.0, made=("inductor",)), "inductor") == screening.COMPILES_S
    assert longest_s(study(480.0), "onnxruntime") == math.inf
    assert longest_s(study(480.0, names=("eager", "inductor")), "inductor") == math.inf


@pytest.mark.parametrize(
    ("elapsed_s", "said"),
    [
        (200.0, "the part of the budget that slow compilations may take ended while compiling"),
        (520.0, "the budget ended while compiling"),
    ],
)
def test_it_is_said_which_time_ended(monkeypatch: pytest.MonkeyPatch, elapsed_s: float, said: str) -> None:
    """At 200 s of 480 the budget has time left, so that what was cut was cut for its share; at 520 s it has none."""
    clock = [0.0]

    def cut(funnel: Any, variant: Variant, role: str) -> None:
        clock[0] = elapsed_s
        raise BudgetEnded("compiling")

    monkeypatch.setattr(screening, "_screen_one", cut)
    funnel, reasons = study(480.0), []
    funnel.not_bought, funnel.budget = [], Budget(480.0, now=lambda: clock[0])
    funnel.commit_failure = lambda variant, error, status: reasons.append(error.reason)
    screening.look_at(funnel, next(v for v in funnel.record.variants if v.name == "inductor"))
    assert funnel.not_bought == [f"`inductor`: {said}"]
    assert reasons == [f"{NOT_BOUGHT}{said}"]


def test_the_comparison_comes_first() -> None:
    looked = SetUp(export_s=1.0)
    assert "comparison" in why_not(study(300.0, elapsed_s=136.0, onnxruntime=looked), "inductor")


def test_seconds_of_making_are_those_before_the_measure_child() -> None:
    assert SetUp(load_s=1.0, export_s=2.0, compress_s=3.0, compile_s=4.0, open_s=100.0, import_s=9.0).made_s == 10.0
    assert SetUp().made_s == 0.0
