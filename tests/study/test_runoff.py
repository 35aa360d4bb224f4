"""Who takes part in the run-off, what it costs, and that it mends an order of chance; runs on a clock of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from accel.plugins import Named
from accel.recipe import Variant
from accel.study import contenders, finalists, runoff, speeds
from accel.study.budget import Budget, BudgetEnded
from accel.study.contenders import run_id
from accel.study.decisions import Decisions
from accel.study.live import Turn
from accel.study.profiles import PROFILES
from accel.study.rounds import Who
from accel.study.runoff import run_off

TRUE = {"base": (0.020, 50.0), "a": (0.0050, 400.0), "b": (0.0047, 425.0), "c": (0.0049, 405.0), "far": (0.009, 300.0)}
"""Seconds one at a time and items/s in batch."""
LUCK = {"a": 0.90, "b": 1.0, "c": 1.04}
"""How many times as long as in truth they took when they were screened."""


class FakeFunnel:
    """Every run takes 1 s, every opening 2 s. In a round the machine may be slower for all (`moods`)."""

    def __init__(self, *, target: str = "both", total_s: float = 300.0, at_s: float = 100.0) -> None:
        self.now = 0.0
        self.profile = PROFILES["quick"]
        self.budget = Budget(total_s, now=lambda: self.now)
        self.now = at_s
        variants = tuple(Variant(name=name, backend=Named("eager")) for name in TRUE)
        self.record: Any = Record(baseline="base", target=target, variants=variants, left={})
        self.folder: Any = SimpleNamespace(write_record=lambda record: None)
        self.decisions = Decisions()
        self.results: dict[str, Any] = {}
        self.not_bought: list[str] = []
        self.opened: list[str] = []
        self.progress = SimpleNamespace(stage=lambda text: None)
        self.rest = lambda: None
        self.failed: set[str] = set()
        self.breaks: set[str] = set()
        self.moods: dict[int, float] = {}
        self.cut_after = 10_000
        for name in TRUE:
            for target_, batching in (("latency", Named("single")), ("batch", Named("fixed", {"size": 8}))):
                self.results[f"screening-{name}-{target_}"] = ran(name, batching, LUCK.get(name, 1.0))

    def decide(self, **settled: Any) -> None:
        self.decisions = msgspec.structs.replace(self.decisions, **settled)

    def variant(self, name: str) -> Variant:
        return next(v for v in self.record.variants if v.name == name)

    def has_failed(self, name: str) -> bool:
        return name in self.failed

    def leave(self, name: str, reason: str) -> None:
        self.record.left[name] = reason

    @contextmanager
    def live(self, name: str, tag: str) -> Iterator[None]:
        self.now += 2.0
        self.opened.append(name)
        yield None

    def take_turn(self, rounds: Any, who: Who, turns: Sequence[Turn]) -> None:
        name = who[0]
        todo = [turn for turn in turns if turn.run_id not in self.results]
        if not todo or name in self.failed:
            return
        with rounds.turn(who):
            for turn in todo:
                if name in self.breaks:
                    self.failed.add(name)
                    return
                if len(self.results) >= self.cut_after:
                    raise BudgetEnded("measuring")
                self.now += 1.0
                self.results[turn.run_id] = ran(name, turn.batching, self.moods.get(turn.trial - 45_000, 1.0))


class Record(msgspec.Struct, frozen=True):
    """The part of a study's record that is used here."""

    baseline: str
    target: str
    variants: Any
    left: dict[str, str]
    seed: int = 0


class Rounds:
    """One process an entrant."""

    def __init__(self, open_child: Any, *, fresh: bool, rest: Any) -> None:
        self._open, self._known = open_child, set[Who]()

    def __enter__(self) -> Rounds:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @contextmanager
    def turn(self, who: Who) -> Iterator[None]:
        if who not in self._known:
            self._known.add(who)
            with self._open(who):
                pass
        yield


def ran(name: str, batching: Named, slower: float) -> Any:
    set_up = SimpleNamespace(start_s=2.0)
    return SimpleNamespace(
        variant=SimpleNamespace(name=name), batching=batching, slower=slower, wall_s=1.0, set_up=set_up
    )


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(funnel: Any, run_id: str) -> float:
        result = funnel.results.get(run_id)
        return math.inf if result is None else TRUE[result.variant.name][0] * result.slower

    def throughput(funnel: Any, run_id: str) -> float:
        result = funnel.results.get(run_id)
        if result is None:
            return 0.0
        return 1 / wait(funnel, run_id) if run_id.endswith("latency") else TRUE[result.variant.name][1] / result.slower

    def screened(funnel: Any) -> tuple[dict[str, float], dict[str, float]]:
        names = [name for name in TRUE if name not in funnel.failed]
        return (
            {name: speeds.rate(funnel, f"screening-{name}") for name in names},
            {name: wait(funnel, f"screening-{name}-latency") for name in names},
        )

    for module in (contenders, finalists):
        monkeypatch.setattr(module, "screened_speeds", screened)
    for module in (speeds, runoff):
        monkeypatch.setattr(module, "throughput", throughput)
    monkeypatch.setattr(contenders, "latency_s", wait)
    monkeypatch.setattr(finalists, "most_finalists", lambda funnel: 1)
    monkeypatch.setattr(runoff, "most_finalists", lambda funnel: finalists.most_finalists(funnel))
    monkeypatch.setattr(finalists, "two_runs_s", lambda funnel: 3.0)
    monkeypatch.setattr(runoff, "Rounds", Rounds)
    monkeypatch.setattr(runoff, "fitted", lambda funnel, turn, name: turn)
    monkeypatch.setattr(runoff, "expected_s", lambda funnel, turn, name: 1.0)


def held(funnel: FakeFunnel) -> Any:
    run_off(funnel)  # type: ignore[arg-type]
    return funnel


def test_by_screening_alone_the_luckiest_would_go_on_and_after_the_run_off_the_fastest_does() -> None:
    funnel: Any = FakeFunnel()
    assert finalists.finalists(funnel) == ["a"]
    held(funnel)
    assert funnel.decisions.runoff == ("a", "b", "c"), "`far` is a third slower"
    assert finalists.finalists(funnel) == ["b"]
    assert funnel.opened.count("b") == 1, "a process is parked between its turns"
    assert funnel.budget.delayed_s == 24.0, "three rounds of three with two runs each, and three openings"


def test_who_does_more_one_at_a_time_than_in_batches_meets_the_others_with_what_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Padding halves what `b` does in batches of 8; one at a time it does 450 a second."""
    monkeypatch.setitem(TRUE, "b", (1 / 450, 200.0))
    funnel: Any = held(FakeFunnel(target="batch"))
    assert funnel.decisions.runoff == ("b", "a")
    assert run_id("b", 0, "latency") in funnel.results
    assert run_id("a", 0, "latency") not in funnel.results, "nobody asked for it"
    assert finalists.finalists(funnel) == ["b"]
    # At the level of screening (450 and 400 / 0.9), told apart as in the rounds (450 against 400).
    assert contenders.speeds(funnel)[0]["b"] == pytest.approx((450 * 400 / 0.9 * 450 / 400) ** 0.5)


def test_the_machines_mood_falls_out_within_a_round() -> None:
    funnel: Any = FakeFunnel()
    funnel.moods = {0: 1.0, 1: 1.7, 2: 0.8}
    assert finalists.finalists(held(funnel)) == ["b"]
    rate, wait = contenders.speeds(funnel)
    assert rate["far"] == 300.0, "who took no part keeps what screening said"
    assert rate["b"] > rate["far"]
    assert wait["b"] < wait["far"]


def test_the_reason_to_leave_holds_what_screening_and_the_run_off_said() -> None:
    funnel: Any = held(FakeFunnel())
    finalists.dismiss(funnel, ["b"])
    assert funnel.record.left["a"] == (
        "screened, not among the 1 that the budget could race: 4.5 ms one at a time against 20 ms of `base`, "
        "444 items/s against 50; 0.94× the items/s [0.94–0.94] and 0.94× the speed of one request at a time "
        "[0.94–0.94] of `b` in 3 interleaved rounds (lowest–highest)"
    )
    assert "interleaved" not in funnel.record.left["far"]


def test_who_was_cut_while_it_was_screened_takes_no_part() -> None:
    funnel: Any = FakeFunnel()
    del funnel.results["screening-b-batch"]
    assert held(funnel).decisions.runoff == ("a", "c")


def test_where_all_who_are_near_can_race_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finalists, "most_finalists", lambda funnel: 3)
    funnel: Any = held(FakeFunnel())
    assert (funnel.decisions.runoff, funnel.opened, funnel.not_bought) == ((), [], [])


def test_memory_alone_is_no_matter_of_speed() -> None:
    assert held(FakeFunnel(target="memory")).opened == []


@pytest.mark.parametrize(("target", "runs"), [("batch", 9), ("online", 9), ("both", 18)])
def test_only_what_is_asked_for_is_run(target: str, runs: int) -> None:
    funnel: Any = held(FakeFunnel(target=target))
    assert sum("runoff" in name for name in funnel.results) == runs
    batches = [r.batching for i, r in funnel.results.items() if "runoff" in i and i.endswith("batch")]
    assert all(batching == Named("fixed", {"size": 8}) for batching in batches)


def test_it_takes_a_tenth_of_the_budget_at_most_with_fewer_or_none() -> None:
    # An entrant takes 2 s to open and six runs of 1 s.
    two: Any = held(FakeFunnel(total_s=170.0, at_s=30.0))
    assert two.decisions.runoff == ("a", "b")
    none: Any = held(FakeFunnel(total_s=150.0, at_s=30.0))
    assert none.decisions.runoff == ()
    assert none.not_bought == ["a run-off of `a` and `b`, which screening can't tell apart"]
    late: Any = held(FakeFunnel(at_s=290.0))
    assert late.decisions.runoff == ()


def test_one_that_breaks_is_out_and_the_others_go_on() -> None:
    funnel: Any = FakeFunnel()
    funnel.breaks = {"b"}
    assert finalists.finalists(held(funnel)) == ["c"], "in truth it is faster than `a`"


@pytest.mark.parametrize("runs", range(0, 18, 5))
def test_a_killed_one_goes_on_and_decides_the_same(runs: int) -> None:
    funnel: Any = FakeFunnel()
    funnel.cut_after = len(funnel.results) + runs
    held(funnel)
    assert funnel.not_bought == ["the rest of the run-off: the run-off's share of the budget ended while measuring"]
    funnel.cut_after = 10_000
    held(funnel)
    assert {run_id(n, r, t) for n in "abc" for r in range(3) for t in ("batch", "latency")} <= set(funnel.results)
    assert finalists.finalists(funnel) == ["b"]


def test_a_resumed_study_does_not_go_on_with_it_once_the_finalists_are_settled() -> None:
    funnel: Any = FakeFunnel()
    funnel.cut_after = len(funnel.results) + 7
    held(funnel)
    before = set(funnel.results)
    funnel.decide(finalists=("b",))
    funnel.cut_after = 10_000
    funnel.budget.delayed_s = 0.0
    assert set(held(funnel).results) == before
    assert funnel.budget.delayed_s > 7.0, "tuning still ends later by what it took"


def test_a_damaged_screening_run_leaves_its_variant_out_when_the_study_resumes() -> None:
    funnel: Any = FakeFunnel()
    funnel.decide(runoff=("a", "b", "c"))
    del funnel.results["screening-b-batch"]
    held(funnel)
    assert not any("-b-runoff" in name for name in funnel.results)


def test_blocks_that_fitted_before_fit_afterwards() -> None:
    """Three blocks of 3 x 6.8 s and 48 s kept for the confirmations; an entrant takes 2 s and six runs of 1 s."""
    funnel: Any = held(FakeFunnel(at_s=118.0))
    assert funnel.decisions.runoff == ("a", "b", "c")
    assert held(FakeFunnel(at_s=170.0)).decisions.runoff == ("a", "b"), "16 s of the 20 s that are left"
    tight: Any = held(FakeFunnel(at_s=178.0))
    assert tight.decisions.runoff == ()
    assert tight.not_bought == ["a run-off of `a` and `b`, which screening can't tell apart"]


def test_nobody_runs_once_the_finalists_are_settled() -> None:
    funnel: Any = FakeFunnel()
    funnel.decide(finalists=("a",))
    assert (held(funnel).opened, funnel.decisions.runoff) == ([], ())
