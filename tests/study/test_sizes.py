"""How far the batch sizes of a variant are tried: on speeds made up beforehand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from accel.errors import VariantError
from accel.study import tuning
from accel.study.live import Turn


class FakeFunnel:
    """What tuning uses of a study: `rate` gives the items a second of a size."""

    def __init__(self, rate: Callable[[int], float], *, sizes: tuple[int, ...] = tuning.SIZES, fails_at: int = 0):
        self.rate, self.sizes, self.fails_at = rate, sizes, fails_at
        self.results: dict[str, Any] = {}
        self.record = SimpleNamespace(baseline="net")
        self.profile = SimpleNamespace(tune_s=0.4)
        self.decisions = SimpleNamespace(too_large={})
        self.budget = SimpleNamespace(allows_tuning=lambda profile, seconds: True)
        self.not_bought: list[str] = []

    def decide(self, **settled: Any) -> None:
        self.decisions = SimpleNamespace(**settled)

    def measure(self, live: Any, turn: Turn) -> None:
        if turn.trial == self.fails_at:
            raise VariantError("ran out of memory")
        self.results[turn.run_id] = turn


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "throughput", lambda funnel, run_id: funnel.rate(int(run_id.split("-")[-1])))
    monkeypatch.setattr(tuning, "expected_s", lambda funnel, turn, name: 0.5)
    monkeypatch.setattr(tuning, "fitted", lambda funnel, turn, name: turn)


def tried(funnel: FakeFunnel) -> list[int]:
    live = SimpleNamespace(sizes=None, prepared=SimpleNamespace(variant=SimpleNamespace(name="net")))
    tuning._tune_sizes(funnel, live, "net")  # type: ignore[arg-type]
    return [t.trial for t in funnel.results.values()]


def test_sizes_go_on_while_the_last_doubling_gained_something() -> None:
    # 1 ms a call and 10 us an item: 64 gains 11 % over 32 ..., 512 gains 6 %, 1024 8 % of which is above 3 %.
    assert tried(FakeFunnel(lambda size: size / (1e-3 + 1e-5 * size)))[-1] == 1024


def test_beyond_32_they_end_with_the_first_that_gains_nothing() -> None:
    flat_from_16 = FakeFunnel(lambda size: 100.0 * min(size, 16))
    assert tried(flat_from_16) == [1, 2, 4, 8, 16, 32]
    flat_from_64 = FakeFunnel(lambda size: 100.0 * min(size, 64))
    assert tried(flat_from_64) == [1, 2, 4, 8, 16, 32, 64, 128]


def test_a_plateau_below_32_may_be_followed_by_a_gain() -> None:
    stepped = FakeFunnel(lambda size: 100.0 if size < 8 else 150.0)
    assert tried(stepped) == [1, 2, 4, 8, 16, 32]


def test_two_falls_in_a_row_end_them() -> None:
    assert tried(FakeFunnel(lambda size: 100.0 / size)) == [1, 2, 4]


def test_sizes_that_the_user_named_are_all_tried_unless_they_fall() -> None:
    flat = FakeFunnel(lambda size: 100.0, sizes=(1, 64, 128, 256))
    assert tried(flat) == [1, 64, 128, 256]


def test_memory_ends_them_and_is_remembered() -> None:
    funnel = FakeFunnel(lambda size: float(size), fails_at=64)
    assert tried(funnel) == [1, 2, 4, 8, 16, 32]
    assert funnel.decisions.too_large == {"net": (64, "ran out of memory")}
