"""A wrong answer in the timed run is found, wherever it is and whatever makes it wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accel.measurement.checking import Reference, check, chosen
from accel.measurement.outputs import save_outputs
from accel.scenarios import Plan


def plan(n: int, warmup: int = 0, tail: int = 0) -> Plan:
    return Plan(due_ns=None, sample_ids=np.zeros(n, np.int64), warmup=warmup, tail=tail)


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (50, 1), (3000, 30), (100_000, 53), (200_000, 61)])
def test_one_per_cent_at_least_one_at_most_64(n: int, expected: int) -> None:
    picked = chosen(plan(n), seed=1, trial=0)
    assert abs(len(picked) - expected) <= 1
    assert len(picked) <= 64
    assert all(0 <= i < n for i in picked)


def test_only_counted_requests_are_picked_seeded_and_through_the_whole_plan() -> None:
    picked = chosen(plan(200_000, warmup=100, tail=1000), seed=1, trial=0)
    assert min(picked) == 100
    assert 100_000 < max(picked) < 199_000
    assert picked == chosen(plan(200_000, warmup=100, tail=1000), seed=1, trial=0)
    assert picked != chosen(plan(200_000, warmup=100, tail=1000), seed=1, trial=1)
    assert len([i for i in picked if i < 1100]) >= 8, "a slow run that gets to 1000 requests is checked at about 1 %"


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    rows = [{"y": np.array([float(i), 1.0])} for i in (7, 3, 5)]
    save_outputs(tmp_path / "r.npz", rows, ids=[7, 3, 5])
    return Reference(tmp_path / "r.npz")


SAMPLES = np.array([3, 5, 7, 9])


def batch(*first: float) -> dict[str, np.ndarray]:
    return {"y": np.array([[f, 1.0] for f in first])}


def test_right_answers_pass_by_sample_id(reference: Reference) -> None:
    captured = {0: (batch(3, 5), 0), 1: (batch(3, 5), 1), 2: (batch(7.0000001), 0)}
    found, broken = check(captured, SAMPLES, reference, 1e-3)
    assert found is not None
    assert (found.checked, found.mismatched, broken) == (3, 0, 0)
    assert 0 < found.largest < 1e-6


def test_swapped_answers_are_mismatches(reference: Reference) -> None:
    found, _ = check({0: (batch(5, 3), 0), 1: (batch(5, 3), 1)}, SAMPLES, reference, 0.1)
    assert found is not None
    assert (found.checked, found.mismatched) == (2, 2)


def test_nan_is_counted_with_and_without_a_reference(reference: Reference) -> None:
    captured = {0: (batch(float("nan")), 0)}
    found, broken = check(captured, SAMPLES, reference, 1e9)
    assert found is not None
    assert (found.mismatched, broken) == (1, 1)
    assert np.isfinite(found.largest), "JSON has no infinity"
    assert check(captured, SAMPLES, None, 1.0) == (None, 1)


def test_samples_without_a_reference_are_not_checked(reference: Reference) -> None:
    found, _ = check({3: (batch(1), 0)}, SAMPLES, reference, 1e-3)
    assert found is not None
    assert (found.checked, found.mismatched) == (0, 0)
