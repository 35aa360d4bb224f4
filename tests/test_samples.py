"""Samples: what is accepted, what is refused in one sentence, and that parts and batches are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.errors import InputError
from accel.model.types import Signature, Tensor
from accel.samples import Samples, matched, materialise
from accel.samples.split import Parts, marked, split
from accel.samples.store import write

FACTORIES = Path(__file__).parent / "models" / "factories.py"


def signature(*tensors: Tensor, batch="any") -> Signature:
    return Signature(inputs=tensors, outputs=(), batch=batch)


IMAGE = signature(Tensor("x", "float32", ("batch", 4)))
TOKENS = signature(Tensor("ids", "int64", ("batch", "t")), Tensor("mask", "int64", ("batch", "t")))


# what is accepted


@pytest.mark.parametrize("kind", ["array", "tuple", "dict", "npz", "npy", "folder", "items", "iterator", "function"])
def test_every_kind_of_samples_ends_as_the_same_array(kind: str, tmp_path: Path) -> None:
    array = np.arange(20, dtype=np.float32).reshape(5, 4)
    np.savez(tmp_path / "s.npz", x=array)
    np.save(tmp_path / "s.npy", array)
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "x.npy", array)
    kinds = {
        "array": array,
        "tuple": (array,),
        "dict": {"x": array},
        "npz": tmp_path / "s.npz",
        "npy": str(tmp_path / "s.npy"),
        "folder": tmp_path / "f",
        "items": list(array),
        "iterator": ({"x": row} for row in array),
        "function": lambda: array,
    }
    samples = materialise(kinds[kind], IMAGE, tmp_path / "out")
    assert list(samples.inputs) == ["x"]
    np.testing.assert_array_equal(samples.inputs["x"], array)
    assert samples.count == 5
    assert not samples.synthetic


def test_a_factory_in_a_file_gives_samples_and_labels(tmp_path: Path) -> None:
    samples = materialise(f"{FACTORIES}:samples", IMAGE, tmp_path / "out", metric="accuracy")
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert samples.metric == "accuracy"


def test_pairs_of_item_and_label_are_told_apart(tmp_path: Path) -> None:
    samples = materialise([(np.ones(4, np.float32), 3), (np.zeros(4, np.float32), 1)], IMAGE, tmp_path / "out")
    assert samples.labels is not None
    assert samples.labels.tolist() == [3, 1]


def test_torch_tensors_are_read_like_arrays(tmp_path: Path) -> None:
    import torch

    samples = materialise([torch.ones(4, requires_grad=True)], IMAGE, tmp_path / "out")
    assert samples.inputs["x"].tolist() == [[1.0, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    ("have", "want"),
    [("int32", "int64"), ("float64", "float32"), ("uint8", "float32"), ("bool", "int64"), ("int64", "int32")],
)
def test_safe_casts_are_made_and_noted(have: str, want: str, tmp_path: Path) -> None:
    wanted = signature(Tensor("x", want, ("batch", 2)))
    samples = materialise(np.ones((3, 2), have), wanted, tmp_path / "out")
    assert samples.inputs["x"].dtype == want
    assert any(f"from {have} to {want}" in note for note in samples.notes)


def test_an_input_the_model_lacks_is_left_out_and_noted(tmp_path: Path) -> None:
    given_ = {"x": np.ones((3, 4), np.float32), "token_type_ids": np.ones((3, 4))}
    samples = materialise(given_, IMAGE, tmp_path / "out")
    assert list(samples.inputs) == ["x"]
    assert "`token_type_ids`" in samples.notes[0]


def test_samples_from_before_the_signature_was_known_are_matched_later(tmp_path: Path) -> None:
    raw = materialise(np.ones((8, 4)), None, tmp_path / "s", labels=np.arange(8), seed=5)
    late = matched(raw, IMAGE, tmp_path / "s")
    assert late.inputs["x"].dtype == np.float32
    np.testing.assert_array_equal(late.calibration, raw.calibration)
    assert late.labels is not None
    assert late.labels.tolist() == list(range(8))


# ragged items

ITEMS = [
    {"ids": np.array([5, 6, 7]), "mask": np.ones(3, np.int64)},
    {"ids": np.array([8]), "mask": np.ones(1, np.int64)},
    {"ids": np.array([1, 2]), "mask": np.ones(2, np.int64)},
]


def test_ragged_items_are_padded_ids_with_the_value_and_masks_with_zero(tmp_path: Path) -> None:
    samples = materialise(ITEMS, TOKENS, tmp_path / "out", padding=9)
    assert samples.inputs["ids"].tolist() == [[5, 6, 7], [8, 9, 9], [1, 2, 9]]
    assert samples.inputs["mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert samples.ragged == {"ids": 0, "mask": 0}
    assert samples.lengths["ids"].tolist() == [3, 1, 2]
    assert samples.padding == {"ids": 9.0, "mask": 0.0}


def test_a_batch_is_as_long_as_its_own_longest_item(tmp_path: Path) -> None:
    samples = materialise(ITEMS, TOKENS, tmp_path / "out", padding=9)
    assert samples.batch([1, 2])["ids"].tolist() == [[8, 9], [1, 2]]
    assert samples.row(1)["ids"].tolist() == [[8]]
    assert samples.row(0)["ids"].base is not None  # a view, not a copy


def test_padding_per_input(tmp_path: Path) -> None:
    samples = materialise(ITEMS, TOKENS, tmp_path / "out", padding={"ids": 4, "mask": 7})
    assert samples.inputs["mask"].tolist() == [[1, 1, 1], [1, 7, 7], [1, 1, 7]]


def test_a_ragged_axis_the_model_fixes_is_padded_to_its_length(tmp_path: Path) -> None:
    fixed = signature(Tensor("ids", "int64", ("batch", 5)))
    samples = materialise([np.array([1, 2]), np.array([3])], fixed, tmp_path / "out", padding=9)
    assert samples.inputs["ids"].tolist() == [[1, 2, 9, 9, 9], [3, 9, 9, 9, 9]]
    assert samples.ragged == {}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**31))
def test_batch_equals_manual_padding(data: st.DataObject, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    axis = data.draw(st.integers(0, 1))
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=8).filter(lambda x: len(set(x)) > 1))
    rng = np.random.default_rng(seed)
    items = [rng.integers(0, 9, (n, 3) if axis == 0 else (3, n)) for n in lengths]
    samples = materialise(items, None, tmp_path_factory.mktemp("s") / "out", padding=-1)
    ids = data.draw(st.lists(st.integers(0, len(items) - 1), min_size=1, max_size=10))
    longest = max(lengths[i] for i in ids)
    expected = []
    for i in ids:
        missing = [(0, 0), (0, 0)]
        missing[axis] = (0, longest - lengths[i])
        expected.append(np.pad(items[i], missing, constant_values=-1))
    np.testing.assert_array_equal(samples.batch(ids)["input"], np.stack(expected))


# the parts


def three(parts: Parts) -> list[list[int]]:
    return [part.tolist() for part in (parts.calibration, parts.validation, parts.evaluation)]


@st.composite
def some_parts(draw: st.DrawFn) -> tuple[int, Parts]:
    """Parts however they came about: by the usual split, an asked number or somebody's marks."""
    count, seed = draw(st.integers(1, 2000)), draw(st.integers(0, 2**31))
    how = draw(st.sampled_from(["usual", "asked", "marked"]))
    if how == "marked" and count > 1:
        mask = np.random.default_rng(draw(st.integers(0, 2**31))).random(count) < draw(st.floats(0, 1))
        mask[draw(st.integers(0, count - 1))] = False
        return count, marked(mask, count, seed=seed)
    asked = draw(st.integers(0, count - 1)) if how == "asked" else None
    return count, split(count, seed=seed, calibration=asked)


@given(made=some_parts())
def test_the_three_parts_never_meet_and_lose_nothing(made: tuple[int, Parts]) -> None:
    count, parts = made
    assert sorted(i for part in three(parts) for i in part) == list(range(count))
    assert all(part == sorted(part) for part in three(parts))
    assert len(parts.evaluation) >= 1


@settings(max_examples=30, deadline=None)
@given(made=some_parts(), seed=st.integers(0, 2**31), tail=st.integers(0, 30))
def test_rows_taken_out_or_stored_stay_in_their_parts(
    made: tuple[int, Parts], seed: int, tail: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    count, parts = made
    samples = Samples(
        inputs={"x": np.arange(count, dtype=np.float32)},
        calibration=parts.calibration,
        validation=parts.validation,
        evaluation=parts.evaluation,
        sha256="",
    )
    kept = write(samples, tmp_path_factory.mktemp("s") / "out")
    ids = np.random.default_rng(seed).permutation(count)[: max(1, count - tail)]
    some = kept.only(ids)
    for part, rows in zip(("calibration", "validation", "evaluation"), three(parts), strict=True):
        assert getattr(kept, part).tolist() == rows
        assert set(ids[getattr(some, part)].tolist()) == set(rows) & set(ids.tolist())
    assert some.count == len(ids)


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, (0, 0, 1)), (4, (1, 0, 3)), (40, (6, 6, 28)), (2000, (300, 300, 1400))]
)
def test_how_many_calibrate_validate_and_are_reported_on(count: int, sizes: tuple[int, int, int]) -> None:
    assert tuple(map(len, three(split(count, seed=3)))) == sizes
    assert tuple(map(len, three(split(10_000, seed=3)))) == (300, 1000, 8700)
    assert tuple(map(len, three(split(100, seed=3, calibration=0)))) == (0, 0, 100), "all is evaluation"


def test_marked_samples_keep_their_evaluation_part_and_share_the_rest() -> None:
    mask = np.arange(200) % 4 == 0
    parts = marked(mask, 200, seed=0)
    assert tuple(map(len, three(parts))) == (25, 25, 150)
    assert parts.evaluation.tolist() == np.flatnonzero(~mask).tolist()
    few = marked(np.arange(200) < 39, 200, seed=0)
    assert tuple(map(len, three(few))) == (39, 0, 161)


def test_the_split_is_seeded() -> None:
    assert three(split(50, seed=1)) == three(split(50, seed=1))
    assert three(split(50, seed=1))[0] != three(split(50, seed=2))[0]


def test_samples_stored_before_there_was_a_validation_part_have_none(tmp_path: Path) -> None:
    samples = materialise(np.ones((20, 4), np.float32), IMAGE, tmp_path / "out")
    assert len(samples.validation) == 3
    (tmp_path / "out" / "validation.npy").unlink()
    old = Samples.open(tmp_path / "out")
    assert old.validation.tolist() == []
    assert old.validation.dtype == np.int64


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_samples_are_said_to_be(count: int, tmp_path: Path) -> None:
    samples = materialise(np.ones((count, 4), np.float32), IMAGE, tmp_path / "out")
    assert any(f"Only {count} sample" in note for note in samples.notes)
    assert samples.count == count


def test_only_keeps_each_row_in_its_part(tmp_path: Path) -> None:
    samples = materialise(np.arange(40, dtype=np.float32).reshape(10, 4), IMAGE, tmp_path / "out", labels=range(10))
    some = samples.only(samples.calibration)
    assert some.count == len(samples.calibration)
    assert len(some.evaluation) == 0
    np.testing.assert_array_equal(some.inputs["x"], samples.inputs["x"][samples.calibration])
    assert some.labels is not None
    np.testing.assert_array_equal(some.labels, samples.calibration)
    assert some.sha256 != samples.sha256


def test_the_hash_follows_inputs_labels_and_parts(tmp_path: Path) -> None:
    array = np.ones((8, 4), np.float32)
    one = materialise(array, IMAGE, tmp_path / "a", labels=np.arange(8)).sha256
    assert materialise(array.copy(), IMAGE, tmp_path / "b", labels=np.arange(8)).sha256 == one
    assert materialise(array * 2, IMAGE, tmp_path / "c", labels=np.arange(8)).sha256 != one
    assert materialise(array, IMAGE, tmp_path / "d", labels=np.zeros(8)).sha256 != one
    assert materialise(array, IMAGE, tmp_path / "e", labels=np.arange(8), seed=1).sha256 != one


def test_open_reads_back_what_was_stored(tmp_path: Path) -> None:
    stored = materialise(ITEMS, TOKENS, tmp_path / "out", labels=["a", "bc", "d"])
    opened = Samples.open(tmp_path / "out")
    assert isinstance(opened.inputs["ids"], np.memmap)
    ram = opened.to_ram()
    assert not isinstance(ram.inputs["ids"], np.memmap)
    for other in (opened, ram):
        assert other.sha256 == stored.sha256
        assert other.labels is not None
        assert other.labels.tolist() == ["a", "bc", "d"]
        np.testing.assert_array_equal(other.inputs["ids"], stored.inputs["ids"])


# synthetic ones


def test_synthetic_inputs_follow_the_signature(tmp_path: Path) -> None:
    wanted = signature(
        Tensor("pixels", "float32", ("batch", 3, 8, 8)),
        Tensor("input_ids", "int64", ("batch", "t")),
        Tensor("attention_mask", "int64", ("batch", "t")),
    )
    samples = materialise(None, wanted, tmp_path / "a", count=9, seed=3, vocabulary={"input_ids": 17})
    assert samples.synthetic
    assert any("synthetic" in note for note in samples.notes)
    assert samples.count == 9
    assert np.abs(samples.inputs["pixels"]).max() <= 3
    assert samples.inputs["input_ids"].min() >= 0
    assert samples.inputs["input_ids"].max() < 17
    assert (samples.inputs["attention_mask"] == 1).all()
    assert samples.inputs["attention_mask"].shape == samples.inputs["input_ids"].shape
    assert materialise(None, wanted, tmp_path / "b", count=9, seed=3, vocabulary={"input_ids": 17}).sha256 == (
        samples.sha256
    )


# everything that is wrong is one sentence


def bad_npz(folder: Path) -> Path:
    np.savez(folder / "bad.npz", x=np.array([{"a": 1}], dtype=object))
    return folder / "bad.npz"


def cut_npz(folder: Path) -> Path:
    np.savez(folder / "cut.npz", x=np.ones((50, 4)))
    whole = (folder / "cut.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.npz"


def empty_file(folder: Path) -> Path:
    (folder / "empty.npz").touch()
    return folder / "empty.npz"


GOOD = np.ones((3, 4), np.float32)
BAD = {
    "no such file": (lambda f: (np.savez(f / "samples.npz", x=GOOD), f / "sampels.npz")[1], "Did you mean"),
    "empty file": (empty_file, "is empty"),
    "cut off": (cut_npz, "can't be read"),
    "pickled": (bad_npz, "pickled Python objects"),
    "folder without arrays": (lambda f: f, "no .npy file"),
    "other suffix": (lambda f: (f / "s.csv").write_text("1") and f / "s.csv", "aren't read"),
    "a number": (lambda f: 7, "can't be read from a int"),
    "object array": (lambda f: np.array([{}, {}], dtype=object), "Python objects"),
    "zero samples": (lambda f: np.ones((0, 4), np.float32), "0 items"),
    "empty list": (lambda f: [], "no item"),
    "NaN": (lambda f: np.array([[1, 2, np.nan, 4]], np.float32), "the first: sample 0, NaN"),
    "infinity": (lambda f: np.array([[1, 2, 3, 4], [1, 2, np.inf, 4]], np.float32), "sample 1, infinity"),
    "wrong dtype": (lambda f: np.ones((3, 4), np.int64), "must be float32"),
    "text": (lambda f: np.array([["a", "b", "c", "d"]]), "must be float32"),
    "wrong shape": (lambda f: np.ones((3, 5), np.float32), "axis 1 must be 4"),
    "no batch axis": (lambda f: np.ones(4, np.float32), "np.newaxis"),
    "two ragged axes": (lambda f: [np.ones((1, 2)), np.ones((2, 1))], "only one axis may differ"),
    "different ranks": (lambda f: [np.ones(4), np.ones((1, 4))], "sample 1 has shape"),
    "keys that change": (lambda f: [{"x": GOOD[0]}, {"y": GOOD[0]}], "sample 1 has keys"),
    "only labels": (lambda f: {"labels": np.ones(3)}, "no input"),
    "inputs of other lengths": (lambda f: {"x": GOOD, "y": GOOD[:2]}, "`y` has 2"),
    "arrays of other lengths": (lambda f: (GOOD, GOOD[:2]), "as many samples"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_samples_are_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    make, expected = BAD[name]
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError) as caught:
        materialise(make(tmp_path / "in"), IMAGE, tmp_path / "out")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_misspelt_input_is_offered_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean `mask`"):
        materialise({"ids": np.ones((2, 3), np.int64), "maks": np.ones((2, 3), np.int64)}, TOKENS, tmp_path / "out")


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lack the input `mask`"):
        materialise({"ids": np.ones((2, 3), np.int64)}, TOKENS, tmp_path / "out")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(np.arange(2), "3 samples and 2 labels"), (np.array([1, np.nan, 2]), "NaN"), ([{}, {}, {}], "Python objects")],
)
def test_bad_labels(labels: object, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected):
        materialise(GOOD, IMAGE, tmp_path / "out", labels=labels)


@pytest.mark.parametrize("calibration", [-1, 3, 99])
def test_calibration_must_leave_something_to_judge_by(calibration: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="between 0 and 2"):
        materialise(GOOD, IMAGE, tmp_path / "out", calibration=calibration)


def test_no_samples_and_no_signature(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Give samples"):
        materialise(None, None, tmp_path / "out")


def test_a_folder_that_holds_no_samples(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no samples"):
        Samples.open(tmp_path)
