"""A trace's numbers have one definition each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from accel.measurement.trace import Trace


def trace(**columns: list[int]) -> Trace:
    n = len(columns["due"])
    zeros = [0] * n
    every = {c: np.array(columns.get(c, zeros), np.int64) for c in Trace.__struct_fields__}
    return Trace(**every)


def test_lag_is_counted_from_the_last_batch_mate_or_the_free_worker() -> None:
    made = trace(
        due=[0, 10, 12, 50, 60],
        started=[3, 23, 23, 51, -1],
        finished=[20, 40, 40, 70, -1],
        batch=[0, 1, 1, 2, -1],
        batch_size=[1, 2, 2, 1, 0],
    )
    assert made.lag_ns(1).tolist() == [3, 3, 3, 1, 0]
    # With two workers the second batch could have begun when its last request was due.
    assert made.lag_ns(2).tolist() == [3, 11, 11, 1, 0]


def test_latency_counts_from_due_and_service_from_started() -> None:
    made = trace(due=[5], started=[8], finished=[20])
    assert made.latency_ns.tolist() == [15]
    assert made.service_ns.tolist() == [12]


def test_it_comes_back_from_disk_and_the_hash_is_the_files(tmp_path: Path) -> None:
    made = trace(due=[1, 2**62], finished=[3, 4], warmup=[1, 0])
    first = made.save(tmp_path / "a.npz")
    loaded = Trace.load(tmp_path / "a.npz")
    assert loaded.due.tolist() == [1, 2**62], "no float touches a time"
    assert loaded.counted().due.tolist() == [2**62]
    assert first == made.save(tmp_path / "b.npz")
