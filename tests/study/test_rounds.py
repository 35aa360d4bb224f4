"""Turns, orders and rests: who runs when, in which process, and which blocks are made again; no process is started."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from accel.errors import VariantError
from accel.study import blocks
from accel.study.budget import Budget, BudgetEnded
from accel.study.decisions import Decisions, Entry
from accel.study.live import Turn
from accel.study.profiles import PROFILES, Profile
from accel.study.resting import Rest
from accel.study.rounds import Rounds, Who, shuffled


class FakeLive:
    """Writes down what is done to it."""

    def __init__(self, who: Who, log: list[str]) -> None:
        self.name, self.log = f"{who[0]}/{who[1]}", log
        self.log.append(f"open {self.name}")

    def __enter__(self) -> FakeLive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.log.append(f"close {self.name}")

    def park(self) -> None:
        self.log.append(f"park {self.name}")

    def resume(self) -> None:
        self.log.append(f"resume {self.name}")


A: Who = ("a", "baseline")
AGAIN: Who = ("a", "repeat")


def rounds(log: list[str], *, fresh: bool) -> Rounds:
    return Rounds(lambda who: FakeLive(who, log), fresh=fresh, rest=lambda: log.append("rest"))  # type: ignore[arg-type,return-value]


def test_processes_are_parked_between_their_turns_and_ended_with_the_race() -> None:
    log: list[str] = []
    with rounds(log, fresh=False) as all_:
        for who in (A, AGAIN, A):
            with all_.turn(who):
                log.append("work")
    assert log == [
        *("open a/baseline", "work", "park a/baseline"),
        *("open a/repeat", "work", "park a/repeat"),
        *("resume a/baseline", "work", "park a/baseline"),
        *("close a/baseline", "close a/repeat"),
    ]


def test_fresh_processes_rest_first_and_end_with_their_turn() -> None:
    log: list[str] = []
    with rounds(log, fresh=True) as all_:
        for who in (A, A):
            with all_.turn(who):
                log.append("work")
    assert log == ["rest", "open a/baseline", "work", "close a/baseline"] * 2


def test_one_that_fails_is_ended_and_the_others_stay() -> None:
    log: list[str] = []

    def fail(all_: Rounds) -> None:
        with all_.turn(A):
            raise VariantError("crashed")

    with rounds(log, fresh=False) as all_:
        with all_.turn(AGAIN):
            log.clear()
        log.clear()
        with pytest.raises(VariantError):
            fail(all_)
        assert log == ["open a/baseline", "close a/baseline"]
    assert log[-1] == "close a/repeat"


def test_every_block_has_its_own_order_and_the_same_one_every_time() -> None:
    names = list("abcdef")
    orders = [tuple(shuffled(names, seed=1, block=b)) for b in range(40)]
    assert orders == [tuple(shuffled(names, seed=1, block=b)) for b in range(40)]
    assert all(sorted(order) == names for order in orders)
    assert len(set(orders)) > 35
    assert {order[0] for order in orders} == set(names), "each has been the first"


# --- the rest before a turn ------------------------------------------------------------------------------------


def rest(cool_down_s: float, temperatures: Sequence[float | None]) -> tuple[Rest, list[float]]:
    waited: list[float] = []
    said = iter(temperatures)
    profile = msgspec.structs.replace(PROFILES["shared"], cool_down_s=cool_down_s)
    return Rest(profile, temperature_c=lambda: next(said, temperatures[-1]), wait=waited.append), waited


def test_a_processor_rests_for_the_profiles_moment() -> None:
    resting, waited = rest(1.0, [None])
    assert resting() == 1.0
    assert waited == [1.0]
    none, waited = rest(0.0, [None])
    assert none() == 0.0
    assert waited == []


def test_a_gpu_rests_until_it_is_as_cool_as_at_the_start() -> None:
    resting, waited = rest(1.0, [40.0, 47.0, 45.0, 43.0])
    assert resting() == 1.0, "the first reading is the yardstick"
    assert resting() == 3.0, "47 and 45 are too hot, 43 is within 3 degrees"
    assert waited == [1.0, 1.0, 1.0, 1.0]


def test_a_gpu_that_stays_hot_is_not_waited_for_more_than_a_minute() -> None:
    resting, _ = rest(1.0, [40.0, 90.0])
    resting()
    assert resting() == 60.0


# --- a study's blocks ------------------------------------------------------------------------------------------


class FakeFunnel:
    """What blocks use of a study. `disturbed` says of a block whether its runs are flagged; each takes `turn_s`."""

    def __init__(
        self, profile: Profile, *, disturbed: Callable[[int], bool] = lambda block: False, budget_s: float = 600.0
    ) -> None:
        self.now = 0.0
        self.profile, self.disturbed, self.turn_s = profile, disturbed, 0.5
        self.budget = Budget(budget_s, now=lambda: self.now)
        self.record = SimpleNamespace(baseline="base", target="batch", slo_s=1.0, slo_p=0.9, seed=3)
        self.decisions = Decisions(blocks=(Entry(name="base"), Entry(name="fast")))
        self.results: dict[str, Any] = {}
        self.not_bought: list[str] = []
        self.progress = SimpleNamespace(stage=lambda text: None)
        self.rest = lambda: None
        self.cut_after = 10_000

    def live(self, name: str, tag: str) -> FakeLive:
        return FakeLive((name, "candidate"), [])

    def decide(self, **settled: Any) -> None:
        self.decisions = msgspec.structs.replace(self.decisions, **settled)

    def take_turn(self, all_: Rounds, who: Who, turns: Sequence[Turn]) -> None:
        for turn in turns:
            if turn.run_id in self.results:
                continue
            if len(self.results) >= self.cut_after:
                raise BudgetEnded("measuring")
            self.now += self.turn_s
            validity = "unstable" if self.disturbed(turn.block or 0) else "valid"
            self.results[turn.run_id] = SimpleNamespace(
                phase="blocks", block=turn.block, validity=validity, target=turn.target, role=turn.role
            )

    def blocks(self) -> list[int]:
        return sorted({r.block for r in self.results.values()})


@pytest.fixture(autouse=True)
def without_screening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with contextlib.ExitStack():
        monkeypatch.setattr(blocks, "best_size", lambda funnel, name: 8)
        monkeypatch.setattr(blocks, "two_runs_s", lambda funnel: 1.0)
        yield


def compared(funnel: FakeFunnel) -> FakeFunnel:
    blocks.compare(funnel, [])  # type: ignore[arg-type]
    return funnel


QUICK = PROFILES["quick"]
SHARED = msgspec.structs.replace(PROFILES["shared"], fresh=False, search_share=0.0)


def test_quick_makes_its_six_blocks_with_the_baseline_twice() -> None:
    made = compared(FakeFunnel(QUICK))
    assert made.blocks() == [0, 1, 2, 3, 4, 5]
    assert [r.role for r in made.results.values() if r.block == 0].count("repeat") == 2, "latency and batch"
    assert len(made.results) == 6 * 3 * 2
    assert made.not_bought == []


def test_disturbed_blocks_are_made_again_under_their_own_numbers_and_stay() -> None:
    made = compared(FakeFunnel(QUICK, disturbed=lambda block: block in (1, 4)))
    assert made.blocks() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert made.decisions.repeats == (6, 7)
    again = compared(made)
    assert len(again.results) == 8 * 3 * 2, "a resumed study makes nothing twice"


def test_each_is_made_again_twice_at_most() -> None:
    made = compared(FakeFunnel(QUICK, disturbed=lambda block: block == 2 or block >= 6))
    assert made.blocks() == list(range(8))
    every = compared(FakeFunnel(QUICK, disturbed=lambda block: True))
    assert every.blocks() == list(range(6 + 12))


def test_one_whose_repeat_is_disturbed_too_gets_another() -> None:
    made = compared(FakeFunnel(QUICK, disturbed=lambda block: block in (2, 6)))
    assert made.decisions.repeats == (6, 7)


def test_blocks_go_on_until_the_intervals_are_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "narrow_enough", lambda funnel, block: block >= 14)
    assert compared(FakeFunnel(SHARED)).blocks() == list(range(14))
    monkeypatch.setattr(blocks, "narrow_enough", lambda funnel, block: False)
    assert compared(FakeFunnel(SHARED)).blocks() == list(range(30))


def test_what_the_budget_leaves_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    few = compared(FakeFunnel(QUICK, budget_s=14.0))
    assert few.not_bought == ["3 of 6 blocks: the intervals are wider for it"]
    monkeypatch.setattr(blocks, "narrow_enough", lambda funnel, block: False)
    wide = compared(FakeFunnel(SHARED, budget_s=50.0))
    assert wide.not_bought[0].startswith(f"more than {len(wide.blocks())} blocks")
    none = compared(FakeFunnel(QUICK, disturbed=lambda block: block < 3, budget_s=24.0))
    assert none.not_bought == ["3 disturbed blocks made again"]


def test_a_block_that_is_cut_ends_them_and_is_named() -> None:
    funnel = FakeFunnel(QUICK)
    funnel.cut_after = 7
    assert compared(funnel).not_bought == ["the rest of a block: the budget ended while measuring"]


def test_nothing_is_added_once_the_winners_are_being_confirmed() -> None:
    funnel = compared(FakeFunnel(QUICK, disturbed=lambda block: block == 1, budget_s=24.0))
    before = funnel.blocks()
    funnel.decide(confirming=(Entry(name="base"),))
    funnel.now = 0.0
    funnel.disturbed = lambda block: True
    assert compared(funnel).blocks() == before
