"""Rounds of work and their medians, on a clock that tests turn; buffers of the right size for each level."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from accel.measurement import bandwidth, products
from accel.measurement.rounds import Crew, Work, median_interval, often, rates

MiB = 1 << 20


class Clock:
    """Stands still unless work is done."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def work(clock: Clock, each_ns: int, amount: float = 10.0) -> Work:
    def run(times: int) -> None:
        clock.ns += times * each_ns

    return Work(run=run, amount=amount, source="test")


def test_a_rate_is_amount_over_time() -> None:
    clock = Clock()
    assert rates(work(clock, 1000), 5, 3, now_ns=clock) == pytest.approx([10 / 1e-6] * 3)


@given(each_ns=st.integers(1, 10**9), round_s=st.floats(1e-4, 1.0))
def test_a_round_is_about_as_long_as_asked_or_one_time(each_ns: int, round_s: float) -> None:
    clock = Clock()
    times = often(work(clock, each_ns), round_s, clock)
    assert times >= 1
    assert times * each_ns / 1e9 >= round_s * (1 - 1e-9) or times == 1
    assert times == 1 or (times - 1) * each_ns / 1e9 <= round_s * (1 + 1e-9)


def test_time_that_is_up_still_leaves_rounds_for_an_interval() -> None:
    clock = Clock()
    assert len(rates(work(clock, 10**9), 1, 15, until_ns=1, now_ns=clock)) == 7


@pytest.mark.parametrize("n", range(6, 40))
def test_the_interval_of_a_median_holds_95_per_cent(n: int) -> None:
    middle, low, high = median_interval(range(1, n + 1))
    assert middle == (n + 1) / 2
    outside = 2 * stats.binom.cdf(low - 1, n, 0.5)
    assert outside <= 0.05
    assert low + high == n + 1
    assert 2 * stats.binom.cdf(low, n, 0.5) > 0.05  # one rank further in would be too narrow


def test_few_values_give_their_ends() -> None:
    assert median_interval([3.0]) == (3.0, 3.0, 3.0)
    assert median_interval([1.0, 5.0, 2.0]) == (2.0, 1.0, 5.0)


def test_a_crew_does_all_parts_at_the_same_time() -> None:
    meeting = threading.Barrier(3)  # nobody gets past alone
    done: list[int] = []

    def part(times: int) -> None:
        meeting.wait(10)
        done.append(times)

    crew = Crew([part] * 3)
    crew.run(7)
    crew.run(2)
    crew.close()
    assert done == [7, 7, 7, 2, 2, 2]


CACHES = {"L2": MiB, "L3": 32 * MiB}


def test_buffers_lie_where_they_should() -> None:
    assert bandwidth.buffer_bytes("l2", 1, CACHES) == MiB // 2
    assert bandwidth.buffer_bytes("l3", 1, CACHES) == 16 * MiB
    assert bandwidth.buffer_bytes("l3", 2, CACHES) == 8 * MiB
    assert bandwidth.buffer_bytes("l3", 16, CACHES, l3_count=2) == 2 * MiB
    assert bandwidth.buffer_bytes("ram", 1, CACHES) == 128 * MiB
    assert bandwidth.buffer_bytes("ram", 4, CACHES) == 32 * MiB


def test_what_cannot_be_measured_says_why() -> None:
    assert "size of L2" in str(bandwidth.buffer_bytes("l2", 1, {}))
    assert "no L3" in str(bandwidth.buffer_bytes("l3", 1, {"L2": MiB}))
    assert "too near" in str(bandwidth.buffer_bytes("l3", 64, CACHES))
    assert "too large" in str(bandwidth.buffer_bytes("ram", 1, {"L2": MiB, "L3": 512 * MiB}, memory_bytes=2 << 30))


@given(
    threads=st.integers(1, 256),
    l2=st.sampled_from([256 << 10, MiB, 2 * MiB]),
    l3=st.integers(1, 512),
    count=st.integers(1, 16),
)
def test_levels_never_overlap(threads: int, l2: int, l3: int, count: int) -> None:
    caches = {"L2": l2, "L3": l3 * MiB}
    third, memory = (bandwidth.buffer_bytes(level, threads, caches, count) for level in ("l3", "ram"))
    if isinstance(third, int):
        assert 2 * l2 <= third
        assert third * threads <= caches["L3"] * count / 2
    if isinstance(memory, int):
        assert memory * threads > 1.9 * max(caches["L3"] * count, l2 * threads) - threads


@pytest.mark.parametrize(("size", "threads"), [(64 << 10, 2), (8 * MiB, 1), (128 * MiB, 1)])
def test_reading_counts_the_bytes_it_reads(size: int, threads: int) -> None:
    """One call of a small buffer reads it several times over; a large one also has a copy, which moves twice."""
    with bandwidth.reading(size, threads) as ways:
        for one in ways:
            one.run(1)
        amounts = [one.amount for one in ways]
    repeats = max(1, 64 * MiB // size)
    assert amounts[:2] == [size * repeats * threads] * 2
    assert amounts[2:] == ([2 * size * threads] if size >= 4 * MiB else [])


def test_a_reduction_reads_every_number_of_every_row() -> None:
    """Planted: a number that only a whole read can find."""
    buffer = np.ones(1024, np.int64)
    buffer[-1] = 77
    seen: list[np.ndarray] = []

    class Spy:
        def reduce(self, rows: np.ndarray, axis: int) -> None:
            seen.append(np.maximum.reduce(rows, axis=axis))

    bandwidth._reduces(Spy(), buffer, 5)(1)  # type: ignore[arg-type]
    assert [list(found) for found in seen] == [[77] * 5]


def test_products_count_two_operations_a_multiply_accumulate() -> None:
    with products.multiplying(32, 2) as one:
        one.run(1)
        assert one.amount == 2 * 2 * 32**3


def test_rounds_end_without_a_deadline() -> None:
    clock = Clock()
    assert len(rates(work(clock, 10), 1, 15, now_ns=clock)) == 15
