"""The phase `search`: everyone in turn, each at its own search's ask, resumed from what was made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from accel.analysis.online import Trial
from accel.plugins import Named
from accel.study import rates, searching
from accel.study.budget import Budget
from accel.study.decisions import Decisions, Entry
from accel.study.max_qps import FRESH, MOST
from accel.study.profiles import profile

SLO = 0.02
TRUTH = {"base": 100.0, "fast": 300.0, "wrong": 40.0}
PREDICTED = {"base": 100.0, "fast": 310.0, "wrong": 160.0}


class FakeFunnel:
    """Trials take their length and 4 s on a fake clock; servers are curves without noise."""

    def __init__(self, *, total_s: float = 1e5, name: str = "shared") -> None:
        self.now = 0.0
        self.profile = profile(name)
        self.budget = Budget(total_s, now=lambda: self.now)
        self.record = SimpleNamespace(slo_p=0.9, slo_s=SLO, seed=3, target="online", baseline="base")
        entries = [Entry(name=n, policy=Named("single"), rate=r) for n, r in PREDICTED.items()]
        self.decisions = Decisions(blocks=(*entries, Entry(name="batch-only")))
        self.results: dict[str, Any] = {}
        self.turns: list[Any] = []
        self.not_bought: list[str] = []
        self.progress = SimpleNamespace(stage=lambda text: None)
        self.rest = lambda: None
        self.stop_after = MOST * 10

    def has_failed(self, name: str) -> bool:
        return False

    def take_turn(self, rounds: Any, who: Any, turns: list[Any]) -> None:
        for turn in turns:
            if turn.run_id in self.results:
                continue
            if len(self.turns) == self.stop_after:
                raise KeyboardInterrupt
            self.turns.append(turn)
            self.now += turn.duration_s + 4
            rate = turn.scenario.fields["rate"]
            trial = Trial(rate=rate, quantile_s=SLO * (rate / TRUTH[who[0]]) ** 3, n=2000)
            self.results[turn.run_id] = SimpleNamespace(phase="search", block=turn.block, name=who[0], trial=trial)


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def trials(funnel: Any, name: str) -> list[Trial]:
        mine = [r for r in funnel.results.values() if r.name == name]
        return [r.trial for r in sorted(mine, key=lambda r: r.block)]

    monkeypatch.setattr(rates, "trials", trials)


def searched(funnel: FakeFunnel) -> FakeFunnel:
    searching.search(funnel)  # type: ignore[arg-type]
    return funnel


def test_everyone_gets_its_trials_and_six_are_left_to_the_confirmation() -> None:
    funnel = searched(FakeFunnel())
    for name, truth in TRUTH.items():
        mine = [r.trial for r in funnel.results.values() if r.name == name]
        assert len(mine) <= MOST - FRESH
        found = rates.search_of(funnel, name, PREDICTED[name]).conclusion()  # type: ignore[arg-type]
        assert found is not None
        assert found.crossing == pytest.approx(truth, rel=0.01)
    assert not funnel.not_bought


def test_a_round_is_one_trial_of_everyone_in_a_random_order_on_one_schedule() -> None:
    funnel = searched(FakeFunnel())
    by_round: dict[int, list[Any]] = {}
    for turn in funnel.turns:
        by_round.setdefault(turn.block, []).append(turn)
    orders = {tuple(t.run_id.split("-")[2] for t in turns) for turns in by_round.values() if len(turns) == 3}
    assert len(orders) > 2
    for number, turns in by_round.items():
        assert [t.position for t in turns] == list(range(len(turns)))
        assert {t.trial for t in turns} == {30_000 + number}
        assert {t.phase for t in turns} == {"search"}
    assert {t.role for t in funnel.turns if "-base-" in t.run_id} == {"baseline"}


@pytest.mark.parametrize("after", [0, 1, 4, 7, 20])
def test_a_killed_search_goes_on_as_if_it_had_not_been(after: int) -> None:
    whole = searched(FakeFunnel())
    killed = FakeFunnel()
    killed.stop_after = after
    with pytest.raises(KeyboardInterrupt):
        searched(killed)
    killed.stop_after = 1000
    searched(killed)
    assert {i: r.trial.rate for i, r in killed.results.items()} == {i: r.trial.rate for i, r in whole.results.items()}
    assert len(killed.turns) == len(whole.turns)
    searched(killed)
    assert len(killed.turns) == len(whole.turns), "a finished search makes no further trial"


def test_it_ends_where_confirmation_begins_and_says_what_is_missing() -> None:
    funnel = searched(FakeFunnel(total_s=400.0))
    assert 0 < funnel.now <= 400 * (1 - funnel.profile.confirming_share)
    assert any("more trials of the highest rate" in text for text in funnel.not_bought)


def test_trials_get_shorter_rather_than_fewer() -> None:
    long, short = searched(FakeFunnel()), searched(FakeFunnel(total_s=1500.0))
    assert {t.duration_s for t in long.turns if t.scenario.fields["rate"] > 70} == {60.0}
    assert all(t.duration_s < 40 for t in short.turns if t.block < 5)
    assert len(short.turns) > 0.9 * len(long.turns)


def test_once_the_winners_are_confirmed_nothing_is_searched_any_more() -> None:
    funnel = FakeFunnel()
    funnel.decisions = Decisions(blocks=funnel.decisions.blocks, confirming=())
    assert not searched(funnel).turns


def test_quick_searches_in_its_blocks() -> None:
    assert not searched(FakeFunnel(name="quick")).turns
