"""How far the batch sizes of a variant are tried: on speeds made up beforehand."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.errors import VariantError
from accel.plugins import Named
from accel.study import tuning
from accel.study.budget import Budget
from accel.study.live import Turn
from accel.study.profiles import PROFILES


class FakeFunnel:
    """What tuning uses of a study: `rate` gives the items a second of a size."""

    def __init__(
        self,
        rate: Callable[[int], float],
        *,
        sizes: tuple[int, ...] = tuning.SIZES,
        fails_at: int = 0,
        profile: str = "shared",
    ):
        self.rate, self.sizes, self.fails_at = rate, sizes, fails_at
        self.results: dict[str, Any] = {}
        self.record = SimpleNamespace(baseline="net")
        self.profile = SimpleNamespace(name=profile, tune_s=0.4)
        self.decisions = SimpleNamespace(too_large={})
        self.budget = SimpleNamespace(elapsed_s=lambda: 0.5 * len(self.results))
        self.not_bought: list[str] = []

    def decide(self, **settled: Any) -> None:
        self.decisions = SimpleNamespace(**settled)

    def measure(self, live: Any, turn: Turn) -> None:
        if turn.trial == self.fails_at:
            raise VariantError("ran out of memory")
        self.results[turn.run_id] = turn


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def throughput(funnel: FakeFunnel, run_id: str) -> float:
        return funnel.rate(funnel.results[run_id].trial) if run_id in funnel.results else 0.0

    monkeypatch.setattr(tuning, "throughput", throughput)
    monkeypatch.setattr(tuning, "expected_s", lambda funnel, turn, name: 0.5)
    monkeypatch.setattr(tuning, "fitted", lambda funnel, turn, name: turn)


def tried(funnel: FakeFunnel, until_s: float = math.inf) -> list[int]:
    live = SimpleNamespace(sizes=None, prepared=SimpleNamespace(variant=SimpleNamespace(name="net")))
    tuning._tune_sizes(funnel, live, "net", until_s)  # type: ignore[arg-type]
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


def test_a_quick_study_takes_every_second_size_and_then_those_beside_the_best() -> None:
    peak_at_32 = FakeFunnel(lambda size: 100.0 * size if size <= 32 else 3200.0 * 32 / size, profile="quick")
    assert tried(peak_at_32) == [1, 4, 16, 64, 8, 32]
    assert tuning.best_size(peak_at_32, "net") == 32  # type: ignore[arg-type]


def test_a_quick_study_finds_an_optimum_at_the_end() -> None:
    rising = FakeFunnel(lambda size: float(size), profile="quick")
    assert tried(rising) == [1, 4, 16, 64, 256, 1024, 512]
    assert tuning.best_size(rising, "net") == 1024  # type: ignore[arg-type]


def alone(funnel: FakeFunnel, *, rate: float) -> FakeFunnel:
    """The same after both of screening's runs; one at a time it did `rate` items a second."""
    screened(funnel).results["screening-net-latency"] = SimpleNamespace(trial=0)
    of_size = funnel.rate
    funnel.rate = lambda size: of_size(size) if size else rate
    return funnel


def test_where_one_at_a_time_does_more_a_quick_study_begins_there() -> None:
    """Lengths vary and batches are padded: the rate falls with the size."""
    padded = alone(FakeFunnel(lambda size: 300.0 / size**0.5, profile="quick"), rate=290.0)
    assert tried(padded, until_s=2.2)[2:] == [1, 2]
    assert tuning.best_size(padded, "net") == 1  # type: ignore[arg-type]
    rising = alone(FakeFunnel(lambda size: float(size), profile="quick"), rate=1.0)
    assert tried(rising, until_s=2.2)[2:] == [16, 64]


def test_a_quick_study_goes_no_further_than_memory_does() -> None:
    funnel = FakeFunnel(lambda size: float(size), fails_at=64, profile="quick")
    assert tried(funnel) == [1, 4, 16, 8, 32]
    assert tuning.best_size(funnel, "net") == 32  # type: ignore[arg-type]


def test_the_time_of_one_ends_before_the_time_of_all() -> None:
    funnel = FakeFunnel(lambda size: float(size), profile="quick")
    assert tried(funnel, until_s=1.7) == [1, 4, 16]
    assert funnel.not_bought == ["more batch sizes of `net` (64, 8)"]


def test_a_slow_original_leaves_the_others_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 24 s of tuning the original takes what its runs of 5 s find room for in a half."""
    now, takes = [0.0], {"base": 5.0, "net": 0.5}
    monkeypatch.setattr(tuning, "expected_s", lambda funnel, turn, name: takes[name])

    class Timed(FakeFunnel):
        progress = SimpleNamespace(stage=lambda text: None)

        def survives(self, name: str) -> Any:
            return contextlib.nullcontext()

        def live(self, name: str, tag: str) -> Any:
            prepared = SimpleNamespace(variant=SimpleNamespace(name=name))
            return contextlib.nullcontext(SimpleNamespace(sizes=None, prepared=prepared))

        def measure(self, live: Any, turn: Turn) -> None:
            now[0] += takes[live.prepared.variant.name]
            super().measure(live, turn)

    funnel = Timed(lambda size: float(size))
    funnel.record, funnel.profile = SimpleNamespace(baseline="base"), PROFILES["quick"]  # type: ignore[assignment]
    funnel.budget = Budget(200.0, spent_s=90.0, now=lambda: now[0])  # type: ignore[assignment]
    tuning.tune(funnel, ["net"])  # type: ignore[arg-type]
    of = {name: [t.trial for t in funnel.results.values() if f"-{name}-" in t.run_id] for name in takes}
    assert of == {"base": [1, 4], "net": [1, 4, 16, 64, 256, 1024, 512]}
    assert funnel.not_bought == ["more batch sizes of `base` (16, 2)"]


def screened(funnel: FakeFunnel, size: int = 8) -> FakeFunnel:
    """The same after a first look in batches of `size`."""
    run_id = "screening-net-batch"
    funnel.results[run_id] = SimpleNamespace(batching=Named("fixed", {"size": size}), trial=size, run_id=run_id)
    return funnel


@pytest.mark.parametrize(
    ("rate", "sizes"),
    [
        (lambda size: float(size), [16, 64, 256, 1024, 512, 1, 4]),
        (lambda size: 100.0 * min(size, 32), [16, 64, 256, 32, 1, 4]),
        (lambda size: 100.0 * min(size, 8), [16, 64, 4, 1]),
        (lambda size: 100.0 / size, [16, 4, 2, 1, 64]),
    ],
)
def test_a_quick_study_goes_up_from_screening_until_it_falls(rate: Callable[[int], float], sizes: list[int]) -> None:
    assert tried(screened(FakeFunnel(rate, profile="quick")))[1:] == sizes


def test_what_looked_like_a_fall_is_tried_once_more_after_the_small_ones() -> None:
    dip = screened(FakeFunnel(lambda size: 50.0 if size == 16 else 10.0 * size, profile="quick"))
    assert tried(dip)[1:3] == [16, 4]
    assert tuning.best_size(dip, "net") == 1024  # type: ignore[arg-type]


def test_a_size_that_does_not_fit_leaves_the_time_to_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "expected_s", lambda funnel, turn, name: 0.1 * turn.trial)
    funnel = screened(FakeFunnel(lambda size: 400.0 / size, profile="quick"))
    assert tried(funnel, until_s=1.9)[1:] == [4, 2, 1]
    assert funnel.not_bought == ["more batch sizes of `net` (16)"]


def test_what_fails_above_screenings_size_is_not_given_up() -> None:
    funnel = screened(FakeFunnel(lambda size: float(size), fails_at=16, profile="quick"))
    assert tried(funnel)[1:] == [4, 1]
    assert funnel.decisions.too_large == {"net": (16, "ran out of memory")}


def test_a_rate_that_screening_saw_counts() -> None:
    funnel = FakeFunnel(lambda size: {8: 500.0}.get(size, 100.0), profile="quick")
    funnel.results["tuning-net-batch-1"] = SimpleNamespace(trial=1)
    funnel.results["screening-net-batch"] = SimpleNamespace(batching=Named("fixed", {"size": 8}), trial=8)
    assert tuning.best_size(funnel, "net") == 8  # type: ignore[arg-type]


@given(
    best=st.integers(0, 10),
    climb=st.floats(1.1, 3.0),
    fall=st.floats(0.4, 0.95),
)
def test_with_one_peak_a_quick_study_ends_at_it_or_beside_it(best: int, climb: float, fall: float) -> None:
    """One step beside the peak at most, and there only where the step itself is small."""

    def rate(size: int) -> float:
        at = tuning.SIZES.index(size)
        return 100.0 * climb ** min(at, best) * fall ** max(0, at - best)

    funnel = FakeFunnel(rate, profile="quick")
    tried(funnel)
    found = tuning.best_size(funnel, "net")  # type: ignore[arg-type]
    assert rate(found) >= 0.9 * rate(tuning.SIZES[best])
