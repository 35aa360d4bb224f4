"""A trace's numbers have one definition each."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from accel.measurement.trace import DROPPED, OK, Trace


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


def test_lag_of_batches_whose_requests_do_not_follow_each_other() -> None:
    made = trace(
        due=[0, 1, 2, 3, 4],
        started=[5, 30, 5, -1, 30],
        finished=[28, 50, 28, -1, 50],
        batch=[0, 1, 0, -1, 1],
        batch_size=[2, 2, 2, 0, 2],
        status=[OK, OK, OK, DROPPED, OK],
    )
    # The first batch could have begun when its last request was due, at 2; the second when the worker was free, at 28.
    assert made.lag_ns(1).tolist() == [3, 2, 3, 0, 2]
    assert made.lag_ns(2).tolist() == [3, 26, 3, 0, 26]


def test_a_policys_timer_is_no_lag() -> None:
    made = trace(due=[0, 5], started=[21, 21], finished=[30, 30], batch_size=[2, 2], held=[20, 20])
    assert made.lag_ns().tolist() == [1, 1]


def test_lag_replays_the_rule_written_out_a_second_time() -> None:
    rng = np.random.default_rng(3)
    for workers in (1, 2, 3):
        n = 60
        due = np.sort(rng.integers(0, 4000, n))
        batch = rng.permutation(np.repeat(np.arange(20), 3))
        started = 5000 + 100 * batch
        finished = started + rng.integers(50, 400, 20)[batch]
        columns = {"due": due, "started": started, "finished": finished, "batch": batch}
        made = trace(**{k: v.tolist() for k, v in columns.items()}, batch_size=[3] * n)
        free, expected = [-(1 << 62)] * workers, {}
        for b in range(20):
            mates = batch == b
            ready = max(int(due[mates].max()), free.pop(free.index(min(free))))
            expected[b] = int(started[mates][0]) - ready
            free.append(int(finished[mates][0]))
        assert made.lag_ns(workers).tolist() == [expected[b] for b in batch.tolist()]


def test_a_trace_without_timers_is_stored_without_their_column(tmp_path: Path) -> None:
    plain = msgspec.structs.replace(trace(due=[1, 2]), held=None)
    plain.save(tmp_path / "plain.npz")
    with np.load(tmp_path / "plain.npz") as file:
        assert "held" not in file.files, "as files were before there was one"
    assert Trace.load(tmp_path / "plain.npz").held is None
    held = trace(due=[1, 2], held=[0, 7], warmup=[1, 0])
    held.save(tmp_path / "held.npz")
    loaded = Trace.load(tmp_path / "held.npz").counted()
    assert loaded.held is not None
    assert loaded.held.tolist() == [7]
