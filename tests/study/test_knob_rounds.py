"""Who is tried with other settings, who goes on and why the others don't; speeds by hand, a clock of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from accel.errors import VariantError
from accel.plugins import Named
from accel.recipe import Variant
from accel.study import deriving, finalists, knob_gains, knob_rounds, tuning
from accel.study.budget import BudgetEnded
from accel.study.funnel import Funnel
from accel.study.knob_rounds import with_knobs
from accel.study.knobs import Turned
from accel.study.live import Turn
from tests.study.test_instances import FakeFunnel

SPEEDS = {"base": (0.010, 100.0, 80.0), "ov": (0.004, 400.0, 300.0), "ort": (0.005, 500.0, 250.0)}
"""Seconds one at a time, items/s in batch, bytes (not looked at here)."""


class Rounds:
    """Opens a child for every turn, which takes 2 s."""

    def __init__(self, open_child: Any, *, fresh: bool, rest: Any) -> None:
        self._open = open_child

    def __enter__(self) -> Rounds:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def turn(self, who: Any) -> Any:
        return self._open(who)


def knob(parent: Variant, suffix: str, *, own: bool = False, **fields: Any) -> Turned:
    backend = Named(parent.backend.name, fields)
    variant = msgspec.structs.replace(parent, name=f"{parent.name}-{suffix}", backend=backend)
    return Turned(
        variant=variant, parent=parent.name, suffix=suffix, fields=fields, helps=("batch",), shares=not own, own=own
    )


def turned(parent: Variant, *_: Any, **__: Any) -> list[Turned]:
    if parent.backend.name != "onnxruntime":
        return []
    return [knob(parent, "threads-1", threads=1), knob(parent, "spinning-off", spinning=False)]


class Tried(FakeFunnel):
    """Parents are measured beside their settings, which have their parents' outputs unless they are their own."""

    def __init__(self, folder: Path, speeds: dict[str, tuple[float, float, float]], *, target: str) -> None:
        super().__init__(folder, speeds, target=target)
        self.rest: Any = lambda: None
        self.left: dict[str, str] = {}
        self.moods: dict[str, float] = {}

    def leave(self, name: str, reason: str) -> None:
        self.left[name] = reason

    def measure(self, live: Any, turn: Turn, scored: Any) -> None:
        name = live.prepared.variant.name
        assert (scored is None) == (name not in self.decisions.derived), "who shares an artefact has its parent's score"
        if len(self.results) >= self.cut_after:
            raise BudgetEnded("measuring")
        if name in self.breaks:
            raise VariantError("it crashed with SIGSEGV while it ran")
        self.now += 1.0
        self.ran(turn.run_id, name, turn.phase)


def study(folder: Path, speeds: dict[str, tuple[float, float, float]], *, target: str = "batch") -> Any:
    return Tried(folder, SPEEDS | speeds, target=target)


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(index: int, missing: float) -> Any:
        def read(funnel: Any, run_id: str) -> float:
            if run_id not in funnel.results:
                return missing
            slower = funnel.moods.get(run_id, 1.0)
            value: float = funnel.speeds[funnel.results[run_id].variant.name][index]
            return value / slower if index == 1 else value * slower

        return read

    monkeypatch.setattr(knob_rounds, "turned", turned)
    monkeypatch.setattr(
        knob_rounds, "together", lambda parent, a, b: knob(parent, f"{a.suffix}-{b.suffix}", **(a.fields | b.fields))
    )
    monkeypatch.setattr(knob_rounds, "Rounds", Rounds)
    monkeypatch.setattr(knob_rounds, "fix_slo", lambda funnel: None)
    monkeypatch.setattr(knob_rounds, "expected_s", lambda funnel, turn, name: 1.0)
    monkeypatch.setattr(finalists, "two_runs_s", lambda funnel: 3.0)
    monkeypatch.setattr(knob_rounds, "look_s", lambda funnel: 8.0)

    for module in (knob_gains, tuning):
        monkeypatch.setattr(module, "throughput", of(1, 0.0))
    for module in (knob_rounds, knob_gains):
        monkeypatch.setattr(module, "latency_s", of(0, float("inf")))
        monkeypatch.setattr(module, "memory_bytes", of(2, float("inf")))


def faster(one: float, off: float, both: float = 1.0) -> dict[str, tuple[float, float, float]]:
    """Items/s of the three settings of `ort` as multiples of its own; latency the same."""
    values = {"ort-threads-1": one, "ort-spinning-off": off, "ort-threads-1-spinning-off": both}
    return {name: (0.005, 500.0 * times, 250.0) for name, times in values.items()}


def test_better_settings_take_their_parents_place_and_the_rest_leaves_with_its_ratios(tmp_path: Path) -> None:
    funnel = study(tmp_path, faster(1.2, 0.9))
    assert with_knobs(funnel, ["ort", "ov"]) == ["ort-threads-1", "ov"]
    assert funnel.decisions.knobs == {"ort-threads-1": "ort", "ort-spinning-off": "ort"}
    assert funnel.left["ort-spinning-off"] == (
        "0.90× the items/s [0.90–0.90] of `ort` in 2 interleaved rounds (lowest–highest), "
        "so it didn't go on to the blocks"
    )
    assert funnel.left["ort"].startswith("its place in the blocks was taken by `ort-threads-1`: 1.20× the items/s")
    runs = {r for r in funnel.results if "threads-1" in r}
    assert {"screening-ort-threads-1-latency", "tuning-ort-threads-1-batch-16"} <= runs, "what blocks build on"


def test_nothing_better_changes_nothing(tmp_path: Path) -> None:
    funnel = study(tmp_path, faster(1.02, 0.99))
    assert with_knobs(funnel, ["ort", "ov"]) == ["ort", "ov"]
    assert sorted(funnel.left) == ["ort-spinning-off", "ort-threads-1"]


def test_the_best_of_one_instance_is_tried_where_several_are_ahead(tmp_path: Path) -> None:
    funnel = study(tmp_path, faster(1.2, 0.9) | {"twins": (0.005, 900.0, 500.0)})
    twins = msgspec.structs.replace(funnel.variant("ort"), name="twins", instances=2)
    funnel.record = msgspec.structs.replace(funnel.record, variants=(*funnel.record.variants, twins))
    for run_id in ("screening-twins-latency", "tuning-twins-batch-16"):
        funnel.ran(run_id, "twins", "tuning")
    assert with_knobs(funnel, ["ort", "twins"]) == ["ort-threads-1", "twins"]


def test_two_that_pay_off_are_tried_together(tmp_path: Path) -> None:
    funnel = study(tmp_path, faster(1.2, 1.1, both=1.4))
    assert with_knobs(funnel, ["ort"]) == ["ort-threads-1-spinning-off"]
    assert "ort-threads-1-spinning-off" in funnel.decisions.knobs
    assert "1.20×" in funnel.left["ort-threads-1"]
    assert "the blocks had no room for it" in funnel.left["ort-threads-1"]


def test_a_round_in_which_it_was_slower_is_one_too_many(tmp_path: Path) -> None:
    funnel = study(tmp_path, faster(1.2, 0.9))
    funnel.moods = {"tuning-ort-threads-1-round-1-batch": 1.3}
    assert with_knobs(funnel, ["ort"]) == ["ort"]
    assert "[0.92–1.20]" in funnel.left["ort-threads-1"]


def test_the_machines_mood_falls_out_within_a_round(tmp_path: Path) -> None:
    funnel = study(tmp_path, faster(1.2, 0.9))
    both = ("ort", "ort-threads-1")
    funnel.moods = {f"tuning-{name}-round-0-batch": 3.0 for name in both}
    assert with_knobs(funnel, ["ort"]) == ["ort-threads-1"], "a slow round is slow for everyone in it"


def test_better_here_and_worse_there_comes_in_addition(tmp_path: Path) -> None:
    speeds = faster(1.2, 0.9)
    speeds["ort-threads-1"] = (0.02, 600.0, 250.0)
    funnel = study(tmp_path, speeds, target="both")
    assert with_knobs(funnel, ["ort", "ov"]) == ["ort", "ov", "ort-threads-1"]


def test_what_falls_far_behind_takes_no_further_turn(tmp_path: Path) -> None:
    funnel = study(tmp_path, faster(1.0, 0.5))
    with_knobs(funnel, ["ort"])
    assert "tuning-ort-spinning-off-round-1-batch" not in funnel.results
    assert "tuning-ort-threads-1-round-1-batch" in funnel.results
    assert "in 1 interleaved round " in funnel.left["ort-spinning-off"]


def test_one_that_fails_is_out(tmp_path: Path) -> None:
    funnel = study(tmp_path, faster(1.2, 1.3))
    funnel.breaks = {"ort-spinning-off"}
    assert with_knobs(funnel, ["ort"]) == ["ort-threads-1"]
    assert "ort-spinning-off" not in funnel.left, "its row says why"


def test_what_the_budget_does_not_buy_is_said_and_leaves_no_row(tmp_path: Path) -> None:
    funnel = study(tmp_path, faster(1.2, 0.9))
    funnel.now = 0.66 * 300
    assert with_knobs(funnel, ["ort"]) == ["ort"]
    assert (funnel.opened, funnel.kept, funnel.decisions.knobs) == ([], [], {})
    assert [said.partition(":")[0] for said in funnel.not_bought] == [
        "a look at `ort-threads-1`",
        "a look at `ort-spinning-off`",
    ]


def test_enough_time_for_blocks_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    funnel = study(tmp_path, faster(1.2, 0.9))
    monkeypatch.setattr(finalists, "turn_s", lambda profile, seen, online: 20.0)
    assert with_knobs(funnel, ["ort"]) == ["ort"], "4 blocks of 3 turns and the confirmation take 289 s of 300"


def test_a_resumed_study_decides_the_same_from_what_lies_on_disk(tmp_path: Path) -> None:
    speeds = faster(1.2, 1.1, both=1.4)
    first = study(tmp_path, speeds)
    first.cut_after = len(first.results) + 5
    with_knobs(first, ["ort"])
    again = study(tmp_path, speeds)
    again.record, again.decisions, again.results = first.record, first.decisions, dict(first.results)
    # Less time than at first, but who is tried was settled.
    again.now = 0.2 * 300
    assert with_knobs(again, ["ort"]) == ["ort-threads-1-spinning-off"]
    made = len(again.results)
    third = study(tmp_path, speeds)
    third.record, third.decisions, third.results = again.record, again.decisions, again.results
    third.now = 0.9 * 300
    assert with_knobs(third, ["ort"]) == ["ort-threads-1-spinning-off"]
    assert (third.opened, len(third.results)) == ([], made)
    assert third.left == again.left


def test_outputs_of_its_own_are_scored_before_the_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look_at(funnel: Any, variant: Variant) -> None:
        looked.append(variant.name)
        for target in ("latency", "batch"):
            funnel.ran(f"screening-{variant.name}-{target}", variant.name, "screening")
            quality = SimpleNamespace(outcome="fails" if variant.name == "ort-wide" else "passes")
            funnel.results[f"screening-{variant.name}-{target}"].quality = quality

    monkeypatch.setattr(
        knob_rounds, "turned", lambda p, *_, **__: [knob(p, "wide", own=True, threads=3)] if p.name == "ort" else []
    )
    monkeypatch.setattr(knob_rounds, "look_at", look_at)
    funnel = study(tmp_path, {"ort-wide": (0.005, 900.0, 250.0)})
    funnel.results["screening-ort-latency"].set_up = SimpleNamespace(compile_s=1.0)
    assert with_knobs(funnel, ["ort"]) == ["ort"], "fast, but the guard says no"
    assert not any("round" in run for run in funnel.results if "wide" in run), "what may not win isn't timed further"
    assert funnel.left == {}, "its row says why"
    assert (looked, funnel.decisions.derived) == (["ort-wide"], {}), "it has an artefact of its own"
    assert deriving.is_new(funnel, Variant(name="new", backend=Named("onnxruntime", {"threads": 4})))


def test_an_attempt_killed_between_noting_and_trying_goes_on(tmp_path: Path) -> None:
    speeds = faster(1.2, 1.1, both=1.4)
    again = study(tmp_path, speeds)
    again.decide(knobs={"ort-threads-1": "ort", "ort-spinning-off": "ort"})
    assert with_knobs(again, ["ort"]) == ["ort-threads-1-spinning-off"]
    assert set(again.decisions.derived) == set(again.decisions.knobs)


def test_settings_that_take_as_long_to_make_as_their_parent_are_tried_only_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        knob_rounds, "turned", lambda p, *_, **__: [knob(p, "wide", own=True, threads=3)] if p.name == "ort" else []
    )
    monkeypatch.setattr(knob_rounds, "look_at", lambda funnel, variant: funnel.failed.add(variant.name))
    for compile_s, entered in ((5.0, {"ort-wide": "ort"}), (150.0, {})):
        funnel = study(tmp_path, {"ort-wide": (0.005, 900.0, 250.0)})
        funnel.results["screening-ort-latency"].set_up = SimpleNamespace(compile_s=compile_s)
        with_knobs(funnel, ["ort"])
        assert funnel.decisions.knobs == entered


def test_finalists_stay_when_an_attempt_resumes_with_less_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 3
    order = ["ort", "ov", "base-2", "base-3"]
    monkeypatch.setattr(finalists, "most_finalists", lambda funnel: most)
    monkeypatch.setattr(finalists, "finalists", lambda funnel: order[:most])
    funnel = study(tmp_path, {})
    assert finalists.settled(funnel) == order[:3]
    most = 1
    assert finalists.settled(funnel) == order[:3], "they were tuned already"
    most = 4
    assert finalists.settled(funnel) == order, "with a longer budget there is room for one more"
    funnel.failed.add("ov")
    assert finalists.settled(funnel) == ["ort", "base-2", "base-3"], "nobody takes the place of one that fails"


def test_who_races_after_all_has_no_reason_to_have_left() -> None:
    class Left(msgspec.Struct, frozen=True):
        left: dict[str, str] | None

    written: list[Left] = []
    funnel: Any = SimpleNamespace(record=Left({"a": "too slow", "b": "slower"}), folder=None)
    funnel.folder = SimpleNamespace(write_record=written.append)
    Funnel._come_back(funnel, ["a", "c"])
    assert funnel.record.left == {"b": "slower"}
    Funnel._come_back(funnel, ["a", "c"])
    assert written == [Left({"b": "slower"})]
