"""A policy and an engine that do everything the loop allows, at random: for tests that nothing gets lost."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.batching import Decision, Waiting
from accel.compilation import Arrays, Effective


class Erratic:
    """Takes, picks, drops, waits and asks again as the dice say; never for ever."""

    largest = 32

    def __init__(self, seed: int, *, drops: bool = True, picks: bool = True, waits: bool = True) -> None:
        self._dice, self._drops, self._picks, self._waits = random.Random(seed), drops, picks, waits

    def decide(self, waiting: Waiting, now_ns: int) -> Decision:
        dice = self._dice
        drop = dice.randrange(min(waiting.count, 3) + 1) if self._drops and dice.random() < 0.1 else 0
        left = waiting.count - drop
        if left == 0 or (self._waits and not waiting.draining and dice.random() < 0.05):
            return Decision(0, now_ns + dice.choice((500, 20_000)), drop)
        take = dice.randint(1, min(left, self.largest))
        if self._picks and dice.random() < 0.3:
            among = range(drop, min(waiting.count, drop + 64))
            picked = tuple(sorted(dice.sample(among, min(take, len(among)))))
            return Decision(len(picked), None, drop, picked)
        return Decision(take, None, drop)


class Numbered:
    """`count` samples, each holding nothing but its own number and as long as that number's last digit says."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._x = np.arange(count, dtype=np.float64).reshape(count, 1)
        self.lengths = {"x": np.arange(count) % 10 + 1}

    def row(self, i: int) -> Arrays:
        return {"x": self._x[i : i + 1]}

    def batch(self, ids: Sequence[int]) -> Arrays:
        return {"x": self._x[np.asarray(ids)]}


class Doubles:
    """Answers 2 x + 1, counts whom it saw, and fails now and then after that."""

    parallel_runs = True
    effective = Effective(precision="f64", threads=1, provider="test")
    sizes: tuple[int, ...] | None = None

    def __init__(self, count: int, seed: int, fails: float) -> None:
        self.seen = np.zeros(count, np.int64)
        self._dice, self._fails = random.Random(seed), fails

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        x = inputs["x"]
        self.seen[x[:, 0].astype(np.int64)] += 1
        if self._dice.random() < self._fails:
            raise RuntimeError("planted")
        return {"y": 2 * x + 1}

    def close(self) -> None:
        self.seen[:] = 0
