"""Outputs survive the disk, ragged or not; and the distance between two answers is what was calculated by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accel.measurement.outputs import load_ids, load_outputs, not_finite, relative_error, save_outputs, split_rows


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    data=st.data(),
)
def test_ragged_rows_come_back_exactly(
    lengths: list[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [
        {
            "tokens": data.draw(hnp.arrays(np.float32, (n, 2), elements=st.floats(-1, 1, width=32))),
            "label": np.array(n, np.int64),
        }
        for n in lengths
    ]
    path = tmp_path_factory.mktemp("outputs") / "o.npz"
    save_outputs(path, rows, ids=range(10, 10 + len(rows)))
    loaded = load_outputs(path)
    assert load_ids(path).tolist() == list(range(10, 10 + len(rows)))
    for i, row in enumerate(rows):
        for name, value in row.items():
            assert loaded[name][i].dtype == value.dtype
            np.testing.assert_array_equal(loaded[name][i], value)


def test_names_may_hold_anything_and_nothing_is_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "o.npz"
    save_outputs(path, [{"a/b:0": np.ones(2), "": np.zeros(1, bool)}])
    assert set(load_outputs(path)) == {"a/b:0", ""}
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype.kind != "O" for name in file)
    assert list(tmp_path.iterdir()) == [path]


def test_no_rows_are_no_outputs(tmp_path: Path) -> None:
    save_outputs(tmp_path / "o.npz", [])
    assert load_outputs(tmp_path / "o.npz") == {}


def test_split_rows_takes_the_batch_axis_away() -> None:
    rows = split_rows({"y": np.arange(6).reshape(3, 2)}, 3)
    assert [r["y"].tolist() for r in rows] == [[0, 1], [2, 3], [4, 5]]


R = {"y": np.array([3.0, 4.0], np.float32)}


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        (R, R, 0.0),
        ({"y": np.array([3.0, 4.5])}, R, 0.1),
        ({"y": np.array([6.0, 8.0])}, R, 1.0),
        ({"y": np.array([[3.0], [4.0]])}, R, float("inf")),
        ({"y": np.array([3.0])}, R, float("inf")),
        ({"y": np.array([3.0, 4.0, 99.0])}, R, 0.0),
        ({"z": R["y"]}, R, float("inf")),
        ({"y": np.array([3.0, np.nan])}, R, float("inf")),
        ({"y": np.array([1, 2, 3, 4])}, {"y": np.array([1, 2, 3, 5])}, 0.25),
        ({"y": np.array([True])}, {"y": np.array([False])}, 1.0),
        ({"y": R["y"], "z": np.array([1.0])}, {"y": R["y"], "z": np.array([2.0])}, 0.5),
        ({"y": np.array([3 + 4j])}, {"y": np.array([0 + 5j])}, np.sqrt(10) / 5),
        ({"y": np.array([])}, {"y": np.array([])}, 0.0),
        ({"y": np.array([1e-13])}, {"y": np.array([0.0])}, 0.1),
    ],
)
def test_relative_error_by_hand(candidate: dict, reference: dict, expected: float) -> None:  # type: ignore[type-arg]
    assert relative_error(candidate, reference) == pytest.approx(expected)


def test_the_reference_is_the_second_argument() -> None:
    small, large = {"y": np.array([1.0])}, {"y": np.array([4.0])}
    assert relative_error(small, large) == pytest.approx(0.75)
    assert relative_error(large, small) == pytest.approx(3.0)


def test_not_finite() -> None:
    assert not_finite({"a": np.array([1]), "b": np.array([np.inf], np.float16)})
    assert not not_finite({"a": np.array([1]), "b": np.array([1.0])})
