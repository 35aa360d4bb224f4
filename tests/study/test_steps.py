"""The way to the winner: who stands on it, what is measured again, and when the budget has no time for it."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from accel.analysis.conclusion import Answer, PathStep
from accel.errors import VariantError
from accel.plugins import Named
from accel.recipe import Variant
from accel.study import steps
from accel.study.budget import Budget
from accel.study.decisions import Decisions
from accel.study.live import Turn
from accel.study.profiles import PROFILES

INT8 = (Named("quantize_static"),)
BASE = Variant(name="base", backend=Named("eager"))
PLAIN = Variant(name="plain", backend=Named("openvino", {"threads": 2}))
FAST = Variant(name="fast", backend=Named("openvino", {"threads": 2}), compression=INT8)
TWICE = msgspec.structs.replace(FAST, name="fast+2", instances=2)


class Record(msgspec.Struct, kw_only=True):
    """What steps read of a study's record."""

    baseline: str
    variants: tuple[Variant, ...]
    path: tuple[PathStep, ...] = ()
    seed: int = 0
    signature: Any = msgspec.field(default_factory=lambda: SimpleNamespace(batch="any"))


class FakeFunnel:
    """Measured variants; every run takes its time on a clock of its own."""

    def __init__(self, *variants: Variant, winner: str, budget_s: float = 300.0, spent_s: float = 0.0) -> None:
        self.now = 0.0
        self.profile = PROFILES["quick"]
        self.budget = Budget(budget_s, spent_s=spent_s, now=lambda: self.now)
        self.record: Any = Record(baseline="base", variants=(BASE, *variants))
        self.decisions = Decisions(derived={"fast+2": "fast"})
        self.results: dict[str, Any] = {}
        self.item_s = {"base": 0.002}
        self.not_bought: list[str] = []
        self.opened: list[str] = []
        self.fails = ""
        self.sizes = (1, 2, 4)
        self.folder: Any = SimpleNamespace(write_record=lambda record: None, runs=Path())
        self.progress = SimpleNamespace(stage=lambda text: None)
        self.rest = lambda: None
        self.services = SimpleNamespace(evaluation=[0], reference_item_s=0.002)
        keeps = winner == "base"
        answer = Answer(
            target="batch", winner=winner, keeps_baseline=keeps, speedup=None, sentence="", evidence="blocks"
        )
        self.conclusion = SimpleNamespace(batch=answer, online=None)
        for variant in self.record.variants:
            self.done(f"screening-{variant.name}-latency", variant)

    def done(self, run_id: str, variant: Variant, **more: Any) -> None:
        fields = {"phase": "screening", "role": "candidate", "block": None, "target": "latency", "set_up": None}
        fields |= {"validity": "valid", "status": "failed", "trace": None, "batching": None, "variant": variant, **more}
        self.results[run_id] = SimpleNamespace(**fields)

    def read(self) -> Any:
        return self.conclusion

    def variant(self, name: str) -> Variant:
        return next(v for v in self.record.variants if v.name == name)

    def has_failed(self, name: str) -> bool:
        return False

    def live(self, name: str, tag: str) -> Any:
        self.opened.append(name)
        return SimpleNamespace(name=name, park=lambda: None, resume=lambda: None, close=lambda: None)

    def measure(self, live: Any, turn: Turn) -> None:
        if turn.run_id.endswith(self.fails or "nobody"):
            raise VariantError("it broke")
        self.now += turn.duration_s
        self.results[turn.run_id] = turn


def path(*strategies: tuple[str, str]) -> tuple[PathStep, ...]:
    return tuple(PathStep(strategy=s, variant=v) for s, v in strategies)  # type: ignore[arg-type]


def to(funnel: FakeFunnel, winner: Variant) -> tuple[PathStep, ...]:
    return steps.path_to(funnel, winner)  # type: ignore[arg-type]


WHOLE = path(("original", "base"), ("compilation", "plain"), ("compression", "fast"), ("batching", "fast"))


def test_the_fixed_order_is_compilation_compression_batching() -> None:
    assert to(FakeFunnel(PLAIN, FAST, winner="fast"), FAST) == WHOLE


def test_several_instances_belong_to_batching() -> None:
    found = to(FakeFunnel(PLAIN, FAST, TWICE, winner="fast+2"), TWICE)
    assert found == (*WHOLE[:3], *path(("batching", "fast+2")))


def test_an_uncompressed_winner_has_no_step_for_compression() -> None:
    found = to(FakeFunnel(PLAIN, winner="plain"), PLAIN)
    assert found == path(("original", "base"), ("compilation", "plain"), ("batching", "plain"))


def test_compression_of_the_original_has_no_step_for_compilation() -> None:
    small = Variant(name="small", backend=BASE.backend, compression=INT8)
    found = to(FakeFunnel(small, winner="small"), small)
    assert found == path(("original", "base"), ("compression", "small"), ("batching", "small"))


def test_a_model_of_one_batch_size_has_no_step_for_batching() -> None:
    funnel = FakeFunnel(PLAIN, FAST, winner="fast")
    funnel.record.signature.batch = 1
    assert to(funnel, FAST) == WHOLE[:3]


def test_what_is_missing_on_the_way_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for the compressed one alone, the study makes the same backend's uncompressed one."""
    looked = []

    def look(funnel: Any, variant: Variant) -> None:
        looked.append(variant)
        funnel.done(f"screening-{variant.name}-latency", variant)

    monkeypatch.setattr(steps, "look_at", look)
    monkeypatch.setattr(steps, "look_s", lambda funnel: 5.0)
    funnel = FakeFunnel(FAST, winner="fast")
    found = to(funnel, FAST)
    (made,) = looked
    assert (made.backend, made.compression) == (FAST.backend, ())
    assert [(s.strategy, s.variant) for s in found[1:3]] == [("compilation", made.name), ("compression", "fast")]
    assert made in funnel.record.variants


def test_without_time_for_it_the_two_strategies_stay_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a step under the wrong name."""
    monkeypatch.setattr(steps, "look_s", lambda funnel: 100.0)
    found = to(FakeFunnel(FAST, winner="fast"), FAST)
    assert found[1] == PathStep(strategy="compilation and compression", variant="fast")
    other = Variant(name="other", backend=Named("openvino", {"threads": 1}))
    found = to(FakeFunnel(other, FAST, winner="fast"), FAST)
    assert found[1] == PathStep(strategy="compilation", variant="other"), "the same backend, set otherwise, is near"


def measured(funnel: FakeFunnel) -> list[Turn]:
    steps.measure_steps(funnel)  # type: ignore[arg-type]
    return [r for r in funnel.results.values() if isinstance(r, Turn)]


def test_every_round_holds_every_step_and_no_comparison_uses_them() -> None:
    funnel = FakeFunnel(PLAIN, FAST, winner="fast")
    made = measured(funnel)
    assert funnel.record.path == WHOLE
    rounds = {n: [t for t in made if t.block == n] for n in range(4)}
    assert sum(map(len, rounds.values())) == len(made) == 16
    for turns in rounds.values():
        assert sorted((t.scenario.name, t.run_id.rpartition("-")[2]) for t in turns) == [
            ("offline", "fast"),
            ("single_stream", "base"),
            ("single_stream", "fast"),
            ("single_stream", "plain"),
        ]
    assert all((t.phase, t.target) == ("steps", None) for t in made)
    assert sorted(funnel.opened) == ["base", "fast", "plain"], "one child each, stopped between its turns"
    orders = {tuple(t.run_id.rpartition("-")[2] for t in turns) for turns in rounds.values()}
    assert len(orders) > 1, "each round in an order of its own"


def test_a_study_that_resumes_makes_no_round_twice() -> None:
    funnel = FakeFunnel(PLAIN, FAST, winner="fast")
    first = measured(funnel)
    took = funnel.now
    assert measured(funnel) == first
    assert funnel.now == took


def test_a_study_that_resumes_with_another_winner_goes_its_way() -> None:
    funnel = FakeFunnel(PLAIN, FAST, winner="fast")
    measured(funnel)
    funnel.conclusion.batch = msgspec.structs.replace(funnel.conclusion.batch, winner="plain")
    measured(funnel)
    assert [step.variant for step in funnel.record.path] == ["base", "plain", "plain"]


def test_what_the_blocks_hold_is_not_measured_again() -> None:
    funnel = FakeFunnel(PLAIN, FAST, winner="fast")
    for block in range(3):
        for name, target in (("base", "latency"), ("plain", "latency"), ("fast", "latency"), ("fast", "batch")):
            role = "baseline" if name == "base" else "candidate"
            more = {"phase": "blocks", "block": block, "target": target, "role": role}
            funnel.done(f"blocks-{block}-{name}-{target}", funnel.variant(name), **more)
    assert measured(funnel) == []
    assert funnel.record.path == WHOLE
    del funnel.results["blocks-1-plain-latency"]
    assert measured(funnel) != []


def test_where_the_original_stays_nothing_is_measured() -> None:
    funnel = FakeFunnel(PLAIN, FAST, winner="base")
    assert measured(funnel) == []
    assert funnel.not_bought == []


@pytest.mark.parametrize(("budget_s", "spent_s"), [(60.0, 0.0), (300.0, 295.0)])
def test_too_little_time_is_said(budget_s: float, spent_s: float) -> None:
    funnel = FakeFunnel(PLAIN, FAST, winner="fast", budget_s=budget_s, spent_s=spent_s)
    assert measured(funnel) == []
    assert funnel.not_bought == ["the steps to the winner one by one: where its speed-up came from"]


def test_a_winner_that_fails_here_is_none_the_worse() -> None:
    funnel = FakeFunnel(PLAIN, FAST, winner="fast")
    funnel.fails = "compilation-plain"
    measured(funnel)
    assert funnel.not_bought == ["the steps to the winner: `plain`: it broke"]
    assert all(getattr(r, "status", "ok") != "failed" or r.phase == "screening" for r in funnel.results.values())
    assert math.isfinite(funnel.now)
