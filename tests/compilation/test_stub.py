"""The stub takes the time it is told to take, on a clock that is made up."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from accel.compilation import stub as module
from accel.compilation._artefact import Artefact
from accel.compilation.stub import Stub, StubEngine
from accel.model.types import Tensor

ONE = {"x": np.zeros((1, 4), np.float32)}


class Time:
    """Stands for the module `time`; sleeping is exact, reading takes nothing."""

    now = 0

    def perf_counter_ns(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(module, "time", made)
    return made


def engine(**fields: Any) -> StubEngine:
    x, y = Tensor("x", "float32", ("batch", 4)), Tensor("y", "float32", ("batch", 2))
    return StubEngine(Stub(wait="sleep", **fields), Artefact(file="", inputs=(x,), outputs=(y,), sizes=None))


def spent(made: StubEngine, time: Time, calls: int) -> np.ndarray[Any, Any]:
    ends = [time.now]
    for _ in range(calls):
        made.run(ONE)
        ends.append(time.now)
    return np.diff(ends) * 1e-9


def test_a_batch_takes_its_fixed_part_and_each_item_its_own(time: Time) -> None:
    made = engine(item_s=0.002, fixed_s=0.001)
    outputs = made.run({"x": np.zeros((3, 4), np.float32)})
    assert time.now == 7_000_000
    assert outputs["y"].shape == (3, 2)
    assert not outputs["y"].any()


def test_scatter_is_lognormal_around_the_median(time: Time) -> None:
    found = spent(engine(item_s=0.002, scatter=0.3), time, 5000)
    assert stats.kstest(np.log(found / 0.002) / 0.3, "norm").pvalue > 0.001


def test_exponential_has_the_mean_asked_for_and_never_the_same_draws_in_one_experiment(time: Time) -> None:
    found = spent(engine(item_s=0.002, exponential=True), time, 30_000)
    assert found.mean() == pytest.approx(0.002, rel=0.02)
    assert stats.kstest(found / 0.002, "expon").pvalue > 0.001
    assert len(set(found.tolist())) > 29_000


def test_drift_grows_with_the_time_since_opening(time: Time) -> None:
    made = engine(item_s=1.0, drift_per_s=0.1)
    assert spent(made, time, 2).tolist() == pytest.approx([1.0, 1.1])


def test_spinning_ends_at_the_same_moment(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0, 1000)
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(ticks))
    x = Tensor("x", "float32", ("batch", 4))
    made = StubEngine(Stub(item_s=0.001), Artefact(file="", inputs=(x,), outputs=(x,), sizes=None))
    start = next(ticks)
    made.run(ONE)
    assert next(ticks) - start == pytest.approx(1_000_000, abs=5000)
