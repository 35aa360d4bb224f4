"""Which pairs are made to confirm the winners, and which again; no process is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from accel.study import confirming
from accel.study.budget import Budget, BudgetEnded
from accel.study.confirming import confirm
from accel.study.decisions import Decisions, Entry
from accel.study.live import Turn
from accel.study.profiles import PROFILES
from accel.study.rounds import Who


class FakeFunnel:
    """The winner is settled; a turn takes 1 s. `disturbed` says of a pair whether its runs are flagged."""

    def __init__(self, disturbed: Callable[[int], bool] = lambda pair: False, *, budget_s: float = 600.0) -> None:
        self.now = 0.0
        self.profile, self.disturbed = PROFILES["quick"], disturbed
        self.budget = Budget(budget_s, now=lambda: self.now)
        self.record = SimpleNamespace(baseline="base", target="batch", slo_s=1.0, slo_p=0.9, seed=3)
        self.decisions = Decisions(confirming=(Entry(name="base"), Entry(name="fast")))
        self.results: dict[str, Any] = {}
        self.not_bought: list[str] = []
        self.progress = SimpleNamespace(stage=lambda text: None)
        self.rest = lambda: None
        self.cut_after = 10_000
        self.broken = ""

    @contextmanager
    def live(self, name: str, tag: str) -> Any:
        yield None

    def has_failed(self, name: str) -> bool:
        return name == self.broken

    def take_turn(self, rounds: Any, who: Who, turns: Sequence[Turn]) -> None:
        for turn in turns:
            if turn.run_id in self.results:
                continue
            if len(self.results) >= self.cut_after:
                raise BudgetEnded("measuring")
            self.now += 1.0
            validity = "unstable" if self.disturbed(turn.block or 0) else "valid"
            self.results[turn.run_id] = SimpleNamespace(
                phase=turn.phase, block=turn.block, validity=validity, target=turn.target, name=who[0]
            )

    def pairs(self) -> list[int]:
        return sorted({r.block for r in self.results.values()})


@pytest.fixture(autouse=True)
def without_screening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirming, "best_size", lambda funnel, name: 8)
    monkeypatch.setattr(confirming, "two_runs_s", lambda funnel: 1.0)


def settled(monkeypatch: pytest.MonkeyPatch, doubted: str | None, *answers: tuple[str, str]) -> list[str]:
    """Who is confirmed where the study so far answers like this: (target, winner)."""
    made: Any = FakeFunnel()
    made.decisions = Decisions()
    given = tuple(SimpleNamespace(target=t, winner=w, keeps_baseline=w == "base") for t, w in answers)
    row = SimpleNamespace(online=None)
    made.read = lambda: SimpleNamespace(answers=given, rows=(), record=made.record, row=lambda name: row)
    made.decide = lambda confirming: setattr(made, "decisions", Decisions(confirming=confirming))
    found = None if doubted is None else SimpleNamespace(name=doubted)
    monkeypatch.setattr(confirming, "in_doubt", lambda goal, rows, record: found if goal == "batch" else None)
    confirmed(made)
    return [entry.name for entry in made.decisions.confirming or ()]


def test_who_is_confirmed_are_the_winners_and_who_only_lacks_undisturbed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, online = ("batch", "base"), ("online", "fast")
    assert settled(monkeypatch, None, kept, ("online", "base")) == []
    assert settled(monkeypatch, None, kept, online) == ["base", "fast"]
    assert settled(monkeypatch, "doubted", kept, online) == ["base", "doubted", "fast"]
    assert settled(monkeypatch, "doubted", ("batch", "fast"), online) == ["base", "fast"], "there is a winner"
    assert settled(monkeypatch, "doubted", ("memory", "base")) == []


def confirmed(funnel: FakeFunnel) -> FakeFunnel:
    confirm(funnel)  # type: ignore[arg-type]
    return funnel


def test_as_many_pairs_as_the_profile_says() -> None:
    made = confirmed(FakeFunnel())
    assert made.pairs() == [0, 1, 2, 3]
    assert [r.name for r in made.results.values()].count("fast") == 4
    assert made.not_bought == []


def test_disturbed_pairs_are_made_again_under_their_own_numbers_and_stay() -> None:
    made = confirmed(FakeFunnel(lambda pair: pair in (0, 2)))
    assert made.pairs() == [0, 1, 2, 3, 4, 5]
    again = len(confirmed(made).results)
    assert again == 6 * 2, "a resumed study makes nothing twice"


def test_one_whose_repeat_is_disturbed_too_gets_one_more() -> None:
    assert confirmed(FakeFunnel(lambda pair: pair in (1, 4))).pairs() == [0, 1, 2, 3, 4, 5]
    assert confirmed(FakeFunnel(lambda pair: pair in (1, 4, 5))).pairs() == [0, 1, 2, 3, 4, 5], "two at most"
    assert len(confirmed(FakeFunnel(lambda pair: True)).pairs()) == 4 + 4, "and as many as were planned"


@pytest.mark.parametrize("runs", [1, 5, 9, 11])
def test_a_killed_confirmation_goes_on_as_if_it_had_not_been(runs: int) -> None:
    whole = confirmed(FakeFunnel(lambda pair: pair in (0, 2)))
    killed = FakeFunnel(lambda pair: pair in (0, 2))
    killed.cut_after = runs
    assert confirmed(killed).not_bought == ["the rest of a confirmation: the budget ended while measuring"]
    killed.cut_after = 10_000
    assert list(confirmed(killed).results) == list(whole.results)


def test_a_baseline_whose_rival_is_gone_is_not_measured_again() -> None:
    funnel = FakeFunnel(lambda pair: True)
    funnel.broken = "fast"
    assert confirmed(funnel).pairs() == [0, 1, 2, 3]


def test_what_the_budget_leaves_out_is_said() -> None:
    # A pair is expected to take 12 s before there was one, 2 s afterwards.
    none = confirmed(FakeFunnel(budget_s=5.0))
    assert none.not_bought == ["4 of 4 fresh confirmations: the winner's own interval is wider"]
    late = confirmed(FakeFunnel(lambda pair: pair < 3, budget_s=12.5))
    assert late.pairs() == [0, 1, 2, 3, 4, 5]
    assert late.not_bought == ["1 disturbed confirmations made again"]
