"""Who is rescued, for how long, what becomes of it, and what a resumed study makes again; on a clock of its own."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from accel.analysis import rescues
from accel.errors import VariantError
from accel.plugins import Named
from accel.recipe import Variant
from accel.rescue.record import Rescue, Step
from accel.result import Quality, SetUp
from accel.study import rescuing
from accel.study.budget import Budget, BudgetEnded
from accel.study.decisions import Decisions
from accel.study.profiles import PROFILES
from accel.study.rescuing import candidates, rescue

STATIC, DYNAMIC = Named("quantize_static"), Named("quantize_dynamic")
CHOSEN = (Named("quantize_static", {"model_type": "transformer"}),)
PASSES = Quality(outcome="passes", rule="accuracy may drop by at most 1 percentage point", drop=0.0)
FAILS = Quality(outcome="fails", rule="accuracy may drop by at most 1 percentage point", drop=0.55)
OPEN = Quality(outcome="unresolved", rule="accuracy may drop by at most 1 percentage point", drop=0.02)
NEAR = Quality(outcome="unresolved", rule="accuracy may drop by at most 1 percentage point", drop=0.005)


class Record(msgspec.Struct, frozen=True):
    """The part of a study's record that is used here."""

    baseline: str
    variants: Any
    source: Any
    synthetic: bool = False
    accuracy_drop: float = 0.01
    validation_count: int = 100


def found(variant: str, chosen: tuple[Named, ...] | None = CHOSEN, *, complete: bool = True) -> Rescue:
    step = Step(what="transformer mode", kind="switch", compression=CHOSEN, acceptable=True, relative_time=0.5)
    return Rescue(variant=variant, steps=(step,), chosen=chosen, said="Found.", seconds=1.0, complete=complete)


class FakeFunnel:
    """A baseline, its backend in float, and one variant a quality: the later, the faster. Looks take 5 s."""

    def __init__(self, folder: Path, *qualities: Quality, total_s: float = 300.0) -> None:
        self.now = 30.0
        self.profile = PROFILES["quick"]
        self.budget = Budget(total_s, now=lambda: self.now)
        self.budget._start = 0.0
        openvino = Named("openvino")
        int8 = [Variant(name=f"int8-{i}", backend=openvino, compression=(named(i),)) for i in range(len(qualities))]
        variants = (Variant(name="base", backend=Named("eager")), Variant(name="ov", backend=openvino), *int8)
        self.record: Any = Record(baseline="base", variants=variants, source=SimpleNamespace(random_weights=False))
        self.folder: Any = SimpleNamespace(root=folder, write_record=lambda record: None)
        self.decisions = Decisions()
        self.not_bought: list[str] = []
        self.results: dict[str, Any] = {}
        self.wait = {"base": 0.010, "ov": 0.005} | {v.name: 0.004 - 0.001 * i for i, v in enumerate(int8)}
        for variant, quality in zip(variants, (PASSES, PASSES, *qualities), strict=True):
            self.look_at(variant, quality)
        self.asked: list[tuple[str, float]] = []
        self.looked: list[str] = []
        self.finds: dict[str, Any] = {}
        self.takes_s = 20.0
        self.services = SimpleNamespace(rescue=self.search)
        self.progress = SimpleNamespace(stage=lambda text: None, time=lambda elapsed, total: None)

    def look_at(self, variant: Variant, quality: Quality) -> None:
        for target in ("latency", "batch"):
            self.results[f"screening-{variant.name}-{target}"] = SimpleNamespace(
                variant=variant, quality=quality, set_up=SetUp(compress_s=1.0), status="ok"
            )

    def search(self, variant: Variant, seconds: float) -> Rescue:
        self.asked.append((variant.name, seconds))
        outcome = self.finds.get(variant.name, found(variant.name))
        if isinstance(outcome, Exception):
            raise outcome
        self.now += min(seconds, self.takes_s)
        return outcome

    def decide(self, **settled: Any) -> None:
        self.decisions = msgspec.structs.replace(self.decisions, **settled)

    def variant(self, name: str) -> Variant:
        return next(v for v in self.record.variants if v.name == name)

    def again(self) -> FakeFunnel:
        """The study as an attempt that resumes it finds it."""
        fresh = FakeFunnel(self.folder.root)
        fresh.record, fresh.decisions, fresh.results = self.record, self.decisions, dict(self.results)
        fresh.now, fresh.wait, fresh.finds = self.now, self.wait, self.finds
        return fresh


def named(number: int) -> Named:
    return Named("quantize_static", {"count": 10 + number})


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(funnel: FakeFunnel, run_id: str) -> float:
        return funnel.wait[funnel.results[run_id].variant.name] if run_id in funnel.results else math.inf

    def look(funnel: FakeFunnel, variant: Variant) -> None:
        funnel.looked.append(variant.name)
        funnel.now += 5.0
        if funnel.now > funnel.budget.total_s:
            return
        funnel.wait[variant.name] = 0.0045
        funnel.look_at(variant, PASSES)

    monkeypatch.setattr(rescuing, "latency_s", wait)
    monkeypatch.setattr(rescuing, "throughput", lambda funnel, run_id: 1 / wait(funnel, run_id))
    monkeypatch.setattr(rescuing, "look_s", lambda funnel: 4.0)
    monkeypatch.setattr(rescuing, "look_at", look)


def names(variants: Any) -> list[str]:
    return [v.name for v in variants]


def test_who_fails_or_is_open_beyond_the_limit_is_rescued_the_fastest_first(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, FAILS, PASSES, OPEN, NEAR)
    assert names(candidates(funnel)) == ["int8-2", "int8-0"]  # type: ignore[arg-type]


def test_traps_probes_floats_and_what_has_no_accuracy_are_not(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, FAILS, FAILS)
    trap = msgspec.structs.replace(funnel.variant("int8-0"), trap="Fast and wrong.")
    probe = msgspec.structs.replace(funnel.variant("int8-1"), compression=(Named("prune_structured"), STATIC))
    funnel.record = msgspec.structs.replace(funnel.record, variants=(*funnel.record.variants[:2], trap, probe))
    assert candidates(funnel) == []  # type: ignore[arg-type]
    for nothing in ({"synthetic": True}, {"source": SimpleNamespace(random_weights=True)}):
        other = FakeFunnel(tmp_path, FAILS)
        other.record = msgspec.structs.replace(other.record, **nothing)
        assert candidates(other) == []  # type: ignore[arg-type]
    torn = FakeFunnel(tmp_path, msgspec.structs.replace(FAILS, rule="outputs must match"))
    assert candidates(torn) == []  # type: ignore[arg-type]


def test_what_is_found_becomes_a_variant_behind_its_parent_and_is_looked_at(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, FAILS, PASSES)
    rescue(funnel)  # type: ignore[arg-type]
    assert names(funnel.record.variants) == ["base", "ov", "int8-0", "int8-0-rescued", "int8-1"]
    made = funnel.variant("int8-0-rescued")
    assert (made.compression, made.backend) == (CHOSEN, Named("openvino"))
    assert funnel.decisions.rescued == {"int8-0-rescued": "int8-0"}
    assert funnel.looked == ["int8-0-rescued"]
    assert [r.variant for r in rescues.read(tmp_path)] == ["int8-0"]
    assert funnel.decisions.rescuing == (30.0, 55.0)
    assert funnel.budget.delayed_s == 25.0, "tuning ends that much later"


def test_all_rescues_together_stay_within_a_fifth_of_the_budget(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, *[FAILS] * 3)
    funnel.takes_s = math.inf
    for i in range(3):
        funnel.finds[f"int8-{i}"] = found(f"int8-{i}", None)
    rescue(funnel)  # type: ignore[arg-type]
    assert [name for name, _ in funnel.asked] == ["int8-2", "int8-1", "int8-0"]
    assert funnel.asked[0][1] == pytest.approx(60 / 3 - 5), "an equal part, less one preparation and a look"
    assert funnel.now - 30.0 <= 60.0
    assert funnel.not_bought == []


def test_after_a_long_screening_little_is_left_and_then_none_is_begun(tmp_path: Path) -> None:
    late = FakeFunnel(tmp_path, FAILS)
    late.now = 0.45 * 300
    rescue(late)  # type: ignore[arg-type]
    assert late.asked[0][1] == pytest.approx(0.1 * 300 - 5), "a tenth of the budget beyond screening's share"
    too_late = FakeFunnel(tmp_path / "other", FAILS)
    too_late.now = 0.55 * 300 - 14
    rescue(too_late)  # type: ignore[arg-type]
    assert too_late.asked == []
    assert too_late.not_bought == ["a rescue of `int8-0`, which lost accuracy"]
    assert names(too_late.record.variants) == ["base", "ov", "int8-0"]


def test_once_the_blocks_have_begun_nothing_is_rescued(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, FAILS)
    funnel.decide(blocks=(), rescuing=(30.0, 50.0))
    rescue(funnel)  # type: ignore[arg-type]
    assert (funnel.asked, funnel.budget.delayed_s) == ([], 20.0)


def test_what_is_no_faster_than_its_backend_in_float_is_left_with_a_reason(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, FAILS)
    funnel.wait["int8-0"] = 0.006
    rescue(funnel)  # type: ignore[arg-type]
    (kept,) = rescues.read(tmp_path)
    assert funnel.asked == []
    assert kept.said == "Not tried: it isn't faster than `ov`, so there is no speed to keep."
    few = FakeFunnel(tmp_path / "few", FAILS)
    few.record = msgspec.structs.replace(few.record, validation_count=0)
    rescue(few)  # type: ignore[arg-type]
    assert "too few samples" in rescues.read(tmp_path / "few")[0].said


def test_no_improvement_is_a_result_and_makes_no_variant(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, FAILS)
    funnel.finds["int8-0"] = found("int8-0", None)
    rescue(funnel)  # type: ignore[arg-type]
    assert names(funnel.record.variants) == ["base", "ov", "int8-0"]
    assert rescues.read(tmp_path)[0].chosen is None
    assert funnel.not_bought == []
    again = funnel.again()
    rescue(again)  # type: ignore[arg-type]
    assert again.asked == [], "a search that came to its end isn't made again"


def test_what_was_in_the_study_anyway_is_not_made_twice(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, FAILS)
    same = Variant(name="mine", backend=Named("openvino"), compression=CHOSEN)
    funnel.record = msgspec.structs.replace(funnel.record, variants=(*funnel.record.variants, same))
    funnel.wait["mine"] = 0.004
    funnel.look_at(same, PASSES)
    rescue(funnel)  # type: ignore[arg-type]
    assert (funnel.decisions.rescued, funnel.looked) == ({}, [])
    assert names(funnel.record.variants) == ["base", "ov", "int8-0", "mine"]


@pytest.mark.parametrize("error", [BudgetEnded("rescue: nodes"), VariantError("the reference doesn't answer")])
def test_a_search_that_is_cut_or_breaks_is_said_and_the_others_go_on(tmp_path: Path, error: Exception) -> None:
    funnel = FakeFunnel(tmp_path, FAILS, FAILS)
    funnel.finds["int8-1"] = error
    rescue(funnel)  # type: ignore[arg-type]
    assert [name for name, _ in funnel.asked] == ["int8-1", "int8-0"]
    assert [said.partition(":")[0] for said in funnel.not_bought] == ["a rescue of `int8-1`"]
    assert names(funnel.record.variants) == ["base", "ov", "int8-0", "int8-0-rescued", "int8-1"]


def test_an_unfinished_search_goes_on_in_the_time_that_is_left_of_its_share(tmp_path: Path) -> None:
    first = FakeFunnel(tmp_path, FAILS)
    first.finds["int8-0"] = found("int8-0", None, complete=False)
    rescue(first)  # type: ignore[arg-type]
    assert first.not_bought == ["the rest of a rescue of `int8-0`"]
    again = first.again()
    again.finds = {}
    rescue(again)  # type: ignore[arg-type]
    assert again.asked == [("int8-0", pytest.approx(60 - 20 - 5))], "its fifth counts from when it first began"
    assert again.looked == ["int8-0-rescued"]
    third = again.again()
    rescue(third)  # type: ignore[arg-type]
    assert (third.asked, third.looked) == ([], [])
    assert third.budget.delayed_s == again.budget.delayed_s


def test_a_study_killed_before_the_look_looks_when_it_resumes(tmp_path: Path) -> None:
    first = FakeFunnel(tmp_path, FAILS)
    rescue(first)  # type: ignore[arg-type]
    for run_id in [r for r in first.results if "rescued" in r]:
        del first.results[run_id]
    again = first.again()
    rescue(again)  # type: ignore[arg-type]
    assert (again.asked, again.looked) == ([], ["int8-0-rescued"])
    lost = first.again()
    lost.record = msgspec.structs.replace(
        lost.record, variants=tuple(v for v in lost.record.variants if v.name != "int8-0-rescued")
    )
    rescue(lost)  # type: ignore[arg-type]
    assert names(lost.record.variants) == ["base", "ov", "int8-0", "int8-0-rescued"], "killed between two files"
    assert lost.decisions.rescued == {"int8-0-rescued": "int8-0"}


def test_a_form_that_there_was_no_time_to_look_at_is_said(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, FAILS)
    rescue(funnel)  # type: ignore[arg-type]
    for run_id in [r for r in funnel.results if "rescued" in r]:
        del funnel.results[run_id]
    funnel.decide(blocks=())
    again = funnel.again()
    rescue(again)  # type: ignore[arg-type]
    assert again.not_bought == ["`int8-0-rescued` was not tried: the budget was needed for the comparison"]


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, FAILS)
    taken = Variant(name="int8-0-rescued", backend=Named("openvino"), compression=(DYNAMIC,))
    funnel.record = msgspec.structs.replace(funnel.record, variants=(*funnel.record.variants, taken))
    rescue(funnel)  # type: ignore[arg-type]
    assert funnel.decisions.rescued == {"int8-0-rescued-2": "int8-0"}
