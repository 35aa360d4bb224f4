"""Recorded lengths find the sample that is nearest; equal ones take turns; without lengths it is said."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accel.measurement.matching import as_long
from accel.scenarios import Plan

LENGTHS = np.array([5, 20, 5, 100, 21], np.int64)


def plan_of(wanted: list[int], order: list[int]) -> Plan:
    return Plan(due_ns=np.arange(len(wanted)), sample_ids=np.array(order), lengths=np.array(wanted))


def test_the_nearest_in_length_stands_for_a_recorded_request() -> None:
    pool = np.arange(5)
    plan, ids = as_long(plan_of([1, 12, 13, 60, 61, 9000, 21], [0] * 7), pool, LENGTHS)
    assert LENGTHS[ids].tolist() == [5, 5, 20, 21, 100, 100, 21]
    assert plan.notes == ()


def test_samples_of_one_length_take_turns_in_the_plans_order() -> None:
    _, ids = as_long(plan_of([5, 5, 5], [0, 1, 2]), np.arange(5), LENGTHS)
    assert ids.tolist() == [0, 2, 0]


def test_only_the_pool_is_used() -> None:
    _, ids = as_long(plan_of([5, 100], [0, 0]), np.array([1, 4]), LENGTHS)
    assert ids.tolist() == [1, 4]


def test_without_lengths_the_order_stays_and_a_note_says_so() -> None:
    plan, ids = as_long(plan_of([5, 100], [1, 0]), np.array([7, 9]), None)
    assert ids.tolist() == [9, 7]
    assert "recorded lengths were left out" in plan.notes[0]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=20), st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_nothing_in_the_pool_is_nearer(lengths: list[int], wanted: list[int]) -> None:
    known = np.array(lengths, np.int64)
    _, ids = as_long(plan_of(wanted, [0] * len(wanted)), np.arange(len(lengths)), known)
    for asked, found in zip(wanted, known[ids].tolist(), strict=True):
        assert abs(asked - found) == min(abs(asked - other) for other in lengths)
