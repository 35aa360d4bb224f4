"""Which closer looks are made of whom, and when the budget has none left for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from accel.analysis.conclusion import Answer
from accel.study import probing
from accel.study.budget import Budget, BudgetEnded
from accel.study.live import Turn
from accel.study.profiles import PROFILES


class FakeFunnel:
    """What a closer look uses of a study; every run takes its time on a clock of its own."""

    def __init__(
        self, profile: str = "quick", *, budget_s: float = 300.0, spent_s: float = 0.0, **winners: str
    ) -> None:
        self.now = 0.0
        self.profile = PROFILES[profile]
        self.budget = Budget(budget_s, spent_s=spent_s, now=lambda: self.now)
        self.record = SimpleNamespace(baseline="base", denormals=None)
        self.results: dict[str, Turn] = {}
        self.item_s = {"base": 0.002}
        self.folder: Any = None
        self.not_bought: list[str] = []
        self.progress = SimpleNamespace(stage=lambda text: None)
        answers = {t: self.answer(t, w) for t, w in winners.items()}
        self.conclusion = SimpleNamespace(batch=answers.get("batch"), online=answers.get("online"), memory=None)

    def answer(self, target: Any, winner: str) -> Answer:
        keeps = winner == "base"
        return Answer(target=target, winner=winner, keeps_baseline=keeps, speedup=None, sentence="", evidence="blocks")

    def read(self) -> Any:
        return self.conclusion

    def has_failed(self, name: str) -> bool:
        return False

    @contextmanager
    def survives_look(self, name: str) -> Iterator[None]:
        yield

    @contextmanager
    def live(self, name: str, tag: str, denormals: str = "zero") -> Iterator[Any]:
        # "deaf" stands for who was told to make them zero whatever is asked.
        kept = denormals if name != "deaf" else "zero"
        yield SimpleNamespace(effective=SimpleNamespace(detail={"denormals": kept}))

    def measure(self, live: Any, turn: Turn) -> None:
        if turn.duration_s > self.budget.cut_s():
            raise BudgetEnded("waiting")
        self.now += turn.duration_s
        self.results[turn.run_id] = turn


def looked(funnel: FakeFunnel) -> dict[str, Turn]:
    probing.probe(funnel)  # type: ignore[arg-type]
    return funnel.results


def test_the_online_winner_and_the_original_are_called_with_pauses() -> None:
    made = looked(FakeFunnel(online="fast"))
    gaps = {r.run_id: r.scenario.fields["gap_s"] for r in made.values() if "gap_s" in r.scenario.fields}
    assert gaps == {
        f"look-{name}-gap-{text}": gap for name in ("fast", "base") for text, gap in (("10ms", 0.01), ("100ms", 0.1))
    }
    assert all(r.target is None and r.phase == "measure" for r in made.values()), "no comparison uses them"


def test_a_proving_profile_waits_a_second_between_calls_too() -> None:
    made = looked(FakeFunnel("shared", budget_s=5400.0, online="fast"))
    assert "look-fast-gap-1000ms" in made
    assert made["look-fast-gap-1000ms"].scenario.fields["limit"] == 20, "a median needs twenty calls (rule 22)"


def test_repeated_inputs_take_turns_with_distinct_ones() -> None:
    made = list(looked(FakeFunnel(batch="fast")).values())
    assert [(r.inputs, r.trial) for r in made] == [(kind, 40_000 + i) for i in range(3) for kind in ("unique", "same")]
    assert not [r for r in made if "gap_s" in r.scenario.fields], "pauses matter online"


def test_where_the_original_stays_nothing_is_looked_at() -> None:
    assert looked(FakeFunnel(online="base", batch="base")) == {}


def test_a_look_is_made_once() -> None:
    funnel = FakeFunnel(online="fast", batch="fast")
    before = dict(looked(funnel))
    took = funnel.now
    assert looked(funnel) == before
    assert funnel.now == took


@pytest.mark.parametrize(("budget_s", "spent_s"), [(60.0, 0.0), (300.0, 290.0)])
def test_a_look_that_the_budget_does_not_carry_is_said(budget_s: float, spent_s: float) -> None:
    funnel = FakeFunnel(budget_s=budget_s, spent_s=spent_s, online="fast")
    assert looked(funnel) == {}
    assert funnel.not_bought == [
        f"a look at `{name}` called with pauses and with repeated inputs" for name in ("fast", "base")
    ]


def test_what_keeping_denormals_costs_is_looked_at_only_where_inputs_hold_some() -> None:
    assert "look-fast-kept" not in looked(FakeFunnel(batch="fast"))
    for name, there in (("fast", True), ("deaf", False)):
        funnel = FakeFunnel(batch=name)
        funnel.record.denormals = {"x": 0.5}
        assert (f"look-{name}-kept" in looked(funnel)) is there
    assert looked(funnel)["look-deaf-loop-0"].inputs == "unique"


def test_turns_say_what_they_are_to_be_decoded_by_old_and_new() -> None:
    turn = probing._turn(FakeFunnel(), "base", "same-0", 0, 0.5, same=True)  # type: ignore[arg-type]
    assert (turn.role, turn.inputs, turn.scenario.fields) == ("baseline", "same", {})
    assert msgspec.structs.asdict(turn)["run_id"] == "look-base-same-0"
