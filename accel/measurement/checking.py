"""Were the answers right while the clock ran? A seeded part of the timed outputs, held against the reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from accel.compilation import Arrays
from accel.measurement.outputs import Row, load_ids, load_outputs, not_finite, relative_error
from accel.result import Check
from accel.scenarios import Int64, Plan, generator

AT_MOST = 64
_SHARE = 0.01
_GROWTH = 1.09
"""64 stretches that begin with 100 requests and grow by this factor reach 270,000 requests: a run's whole plan."""


def chosen(plan: Plan, *, seed: int, trial: int) -> frozenset[int]:
    """Which requests' outputs to keep: the first counted one, and one at random from each following stretch.

    Stretches of 100 requests (1 %) where 64 of them cover the plan; else they grow, since nobody knows beforehand how
    many requests a closed run will get to.
    """
    first, end = plan.warmup, len(plan.sample_ids) - plan.tail
    rng = generator(seed, 5, trial)
    picked, start, length = {first}, first + 1, 1 / _SHARE
    growth = 1.0 if (end - first) * _SHARE < AT_MOST else _GROWTH
    while len(picked) < AT_MOST and start < end:
        until = min(start + int(length), end)
        pick = int(rng.integers(start, start + int(length)))
        if pick < until:
            picked.add(pick)
        start, length = until, length * growth
    return frozenset(picked)


class Reference:
    """Reference rows by sample id, read from what `save_outputs` wrote."""

    def __init__(self, path: Path) -> None:
        self.ids: Int64 = load_ids(path)
        self._outputs = load_outputs(path)
        self._at = {int(sample): i for i, sample in enumerate(self.ids)}

    def row(self, sample: int) -> Row | None:
        """The outputs for one sample, None if it has none."""
        at = self._at.get(sample)
        return None if at is None else {name: rows[at] for name, rows in self._outputs.items()}


def check(
    captured: Mapping[int, tuple[Arrays, int]], samples: Int64, reference: Reference | None, limit: float
) -> tuple[Check | None, int]:
    """Compare kept outputs with the reference; gives the check (None without a reference) and how many aren't finite.

    captured: request -> (its batch's outputs, its row there). samples: (n,) sample id of each request.
    A mismatch is an error beyond `limit`, which an answer to another sample exceeds too.
    """
    errors: list[float] = []
    broken = 0
    for request, (outputs, at) in sorted(captured.items()):
        row = {name: np.asarray(value)[at] for name, value in outputs.items()}
        broken += not_finite(row)
        expected = reference.row(int(samples[request])) if reference is not None else None
        if expected is not None:
            errors.append(relative_error(row, expected))
    if reference is None:
        return None, broken
    mismatched = sum(not e <= limit for e in errors)
    largest = max(errors, default=0.0)
    # JSON has no infinity; the largest float says as much.
    return Check(checked=len(errors), mismatched=mismatched, limit=limit, largest=min(largest, 1.7e308)), broken
