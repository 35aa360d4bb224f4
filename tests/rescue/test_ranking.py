"""In which order operators go back to float, on errors that are known by hand; groups, distances, rough times."""

from __future__ import annotations

import numpy as np
import pytest

from accel.rescue.ablate_onnx import by_node
from accel.rescue.error import WORST, error
from accel.rescue.groups import by_block, by_type
from accel.rescue.rough import interval, relative_time
from accel.rescue.search import doubling
from accel.rescue.sensitivity import by_gain, forward

GROUPS = {name: frozenset({name}) for name in "abcd"}


def always():
    return True


def additive(amounts):
    return lambda left: sum(v for k, v in amounts.items() if k not in left)


def test_the_group_that_takes_most_goes_first():
    assert forward(GROUPS, additive({"a": 1.0, "b": 5.0, "c": 3.0}), may_go_on=always) == ["b", "c", "a"]


def test_a_pair_that_only_helps_together_is_found():
    """Neither a nor c alone changes anything: they share a tensor."""

    def error_of(left):
        return (0.0 if {"a", "c"} <= left else 1.0) + (0.0 if "b" in left else 0.1)

    assert forward(GROUPS, error_of, may_go_on=always) == ["a", "c", "b"]


def test_nothing_that_helps_means_no_order():
    assert forward(GROUPS, lambda left: 1.0, may_go_on=always) == []
    assert by_gain(GROUPS, lambda left: 1.0, {}, may_go_on=always) == []


def test_ranking_ends_when_the_time_does():
    answers = iter([True, True, True, True, True] + [False] * 99)
    order = forward(GROUPS, additive(dict.fromkeys("abcd", 1.0)), may_go_on=lambda: next(answers))
    assert len(order) < 4


def test_a_ranking_that_is_cut_short_has_seen_all_parts():
    units = {i: frozenset({i}) for i in range(100)}
    answers = iter([True] * 20 + [False])
    found = by_gain(units, lambda left: 1.0 - 0.1 * len(left), {}, may_go_on=lambda: next(answers))
    assert len(found) == 20
    assert all(any(part <= i < part + 20 for i in found) for part in range(0, 100, 20))


def test_ranking_types_ends_when_little_error_is_left():
    assert forward(GROUPS, additive({"a": 99.0, "b": 1.0, "c": 1.0, "d": 1.0}), may_go_on=always) == ["a"]


def test_gain_counts_per_millisecond_given_up():
    errors = additive({"a": 2.0, "b": 3.0, "c": 1.0, "d": 0.0})
    assert by_gain(GROUPS, errors, {"a": 1.0, "b": 6.0, "c": 0.25}, may_go_on=always) == ["c", "a", "b"]


def test_an_operator_that_saves_nothing_is_cheap_but_not_free():
    """b: 1 error at a hundredth of 10 ms beats a: 5 at 10 ms; c takes next to nothing and doesn't come before a."""
    errors = additive({"a": 5.0, "b": 1.0, "c": 0.01})
    assert by_gain(GROUPS, errors, {"a": 10.0, "b": -3.0}, may_go_on=always) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("found", "expected", "value"),
    [
        ([[3.0, 4.1]], [[3.0, 4.0]], 0.02),
        ([[0.5, 0.5]], [[0.25, 0.75]], 0.25 * np.log(0.5) + 0.75 * np.log(1.5)),
        (np.array([[1, 2, 3, 4]]), np.array([[1, 2, 3, 5]]), 0.25),
        ([[np.nan, 1.0]], [[1.0, 1.0]], WORST),
        ([[1.0, 2.0]], [[1.0, 2.0]], 0.0),
    ],
)
def test_distances_by_hand(found, expected, value):
    assert error({"y": np.asarray(found)}, {"y": np.asarray(expected)}) == pytest.approx(value)


def test_several_outputs_count_by_their_mean():
    found = {"y": np.array([[3.0, 4.1]]), "ids": np.array([1, 2])}
    assert error(found, {"y": np.array([[3.0, 4.0]]), "ids": np.array([1, 3])}) == pytest.approx((0.02 + 0.5) / 2)


def test_types_and_blocks_by_name():
    nodes = (
        ("/encoder/layer.0/query/MatMul", "MatMul"),
        ("/encoder/layer.0/Add", "Add"),
        ("/encoder/layer.1/query/MatMul", "MatMul"),
        ("/head/MatMul", "MatMul"),
    )
    assert {k: len(v) for k, v in by_type(nodes).items()} == {"MatMul": 3, "Add": 1}
    assert {k: len(v) for k, v in by_block(nodes).items()} == {"/encoder/layer.0": 2, "/encoder/layer.1": 1}


def test_names_without_structure_are_cut_into_stretches():
    nodes = tuple((f"node_MatMul_{i}", "MatMul") for i in range(32))
    blocks = by_block(nodes)
    assert [len(names) for names in blocks.values()] == [4] * 8
    assert frozenset().union(*blocks.values()) == {name for name, _ in nodes}
    assert by_block(nodes[:5]) == {}


def test_time_by_node_is_summed_over_the_names_a_fused_kernel_carries():
    events = [
        {"cat": "Node", "name": "conv1_kernel_time", "dur": 1000},
        {"cat": "Node", "name": "conv1_kernel_time", "dur": 3000},
        {"cat": "Node", "name": "fused conv12_nchwc_kernel_time", "dur": 4000},
        {"cat": "Node", "name": "reorder_kernel_time", "dur": 9000},
        {"cat": "Session", "name": "model_run", "dur": 99000},
    ]
    owners = {"conv1": "conv1", "conv12": "conv12", "conv": "other", "r": "conv1"}
    assert by_node(events, owners) == {"conv1": 2.0, "conv12": 4.0}
    relu = [{"cat": "Node", "name": "r_nchwc_kernel_time", "dur": 500}]
    assert by_node(events + relu, owners)["conv1"] == 2.5


def test_rough_times_are_paired_and_alternate():
    now, calls = [0.0], []

    def call(name, seconds):
        calls.append(name)
        now[0] += seconds

    found = relative_time(lambda: call("a", 1.0), lambda: call("b", 2.0), seconds=0.0, clock=lambda: now[0])
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    timed = calls[4:]
    assert timed[:4] in (["a", "b", "b", "a"], ["b", "a", "a", "b"])
    assert timed.count("a") == timed.count("b") == 9


def test_the_interval_holds_the_ratio():
    rng = np.random.default_rng(0)
    found = interval(list(1 + 0.1 * rng.random(40)), list(2 + 0.2 * rng.random(40)))
    assert 0.45 < found.low <= found.value <= found.high < 0.55
    assert found.low < found.high


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [1]), (2, [1, 2]), (5, [1, 2, 4, 5])])
def test_doubling(count, expected):
    assert doubling(count) == expected
