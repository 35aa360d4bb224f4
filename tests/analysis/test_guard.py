from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis import guard
from accel.analysis.outputs import cosine, scores_name, sqnr_db
from accel.errors import InputError

RNG = np.random.default_rng(0)
CLASSES = 10


def rows(matrix: Any) -> dict[str, list[Any]]:
    return {"scores": [np.asarray(row, np.float32) for row in matrix]}


def scores(classes: np.ndarray[Any, Any], scale: float = 5.0) -> np.ndarray[Any, Any]:
    """Class scores whose largest is the given class."""
    matrix = np.random.default_rng(1).uniform(0, 1, (len(classes), CLASSES))
    matrix[np.arange(len(classes)), classes] += scale
    return matrix


def flipped(matrix: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """The first `count` rows answer another class."""
    changed = matrix.copy()
    changed[:count] = np.roll(changed[:count], 1, axis=1)
    return changed


LABELS = np.arange(1000) % CLASSES
TRUE = scores(LABELS)


def judge(candidate: Any, reference: Any = TRUE, labels: Any = LABELS, metric: Any = "accuracy", **more: Any) -> Any:
    return guard.score(rows(candidate), rows(reference), labels, metric, accuracy_drop=0.01, **more)


def test_sqnr_by_hand_and_its_arguments_are_not_interchangeable() -> None:
    assert sqnr_db([3.0, 4.0], [3.0, 4.5]) == pytest.approx(20.0)
    assert sqnr_db([3.0, 4.5], [3.0, 4.0]) != pytest.approx(20.0, abs=0.1)
    assert sqnr_db([1.0], [1.0]) == float("inf")


@pytest.mark.parametrize("sigma", [0.1, 0.01, 0.001])
def test_sqnr_of_known_noise(sigma: float) -> None:
    reference = RNG.normal(size=20_000)
    noisy = reference * (1 + RNG.normal(0, sigma, 20_000))
    assert sqnr_db(reference, noisy) == pytest.approx(-20 * np.log10(sigma), abs=0.3)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20), st.floats(0.1, 10))
def test_cosine_does_not_see_scale(values: list[float], scale: float) -> None:
    found = cosine(values, np.asarray(values) * scale)
    assert found is None or found == pytest.approx(1.0)


def test_identical_outputs_pass_and_say_so() -> None:
    q = judge(TRUE)
    assert (q.outcome, q.drop, q.max_abs_error, q.sqnr_db) == ("passes", 0.0, 0.0, None)
    assert "identical" in q.reason


def test_identical_outputs_pass_even_with_few_samples() -> None:
    assert judge(TRUE[:20], TRUE[:20], LABELS[:20]).outcome == "passes"


def test_a_large_drop_fails_with_its_figures() -> None:
    q = judge(flipped(TRUE, 900))
    assert (q.outcome, q.value, q.reference_value, q.drop) == ("fails", 0.1, 1.0, 0.9)
    assert "fell from 1 to 0.1" in q.reason


def test_a_small_sample_is_unresolved_and_says_how_many_would_do() -> None:
    q = judge(TRUE[:200] * 1.01, TRUE[:200], LABELS[:200])
    assert (q.outcome, q.drop) == ("unresolved", 0.0)
    assert q.needed == pytest.approx(390, abs=20)
    assert guard.within_limit(q, 0.01)


def test_a_drop_above_the_limit_but_not_shown_may_not_win() -> None:
    q = judge(flipped(TRUE, 12))
    assert q.outcome == "unresolved"
    assert not guard.within_limit(q, 0.01)


def test_without_labels_agreement_decides() -> None:
    assert judge(TRUE * 1.1, labels=None, metric=None).outcome == "passes"
    q = judge(flipped(TRUE, 50), labels=None, metric=None)
    assert (q.outcome, q.agreement) == ("fails", 0.95)
    assert "agreement" in q.rule
    few = judge(TRUE[:100] * 1.1, TRUE[:100], labels=None, metric=None)
    assert few.outcome == "unresolved"
    assert few.needed is not None
    assert 360 <= few.needed <= 400


def test_one_class_for_everything_is_no_proof_of_agreement() -> None:
    constant = scores(np.zeros(1000, int))
    q = judge(constant * 1.05, constant, labels=None, metric=None)
    assert "SQNR" in q.rule
    assert q.outcome == "passes"


def test_embeddings_are_not_taken_for_class_scores() -> None:
    vectors = RNG.normal(size=(50, 8))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert scores_name(rows(unit)) is None
    assert scores_name(rows(vectors)) == "scores"
    assert "SQNR" in judge(unit * 1.001, unit, labels=None, metric=None).rule


def test_random_weights_and_synthetic_inputs_know_no_accuracy() -> None:
    for more in ({"random_weights": True}, {"synthetic": True}):
        q = judge(TRUE * 1.001, **more)
        assert q.outcome == "passes"
        assert "correctness" in q.rule
        assert q.value is None
        assert q.agreement is None
    assert judge(flipped(TRUE, 900), random_weights=True).outcome == "fails"


def test_sqnr_below_20_db_fails() -> None:
    noisy = TRUE + RNG.normal(0, 3, TRUE.shape)
    assert judge(noisy, random_weights=True).outcome == "fails"


def test_nan_fails_with_a_reason() -> None:
    bad = TRUE.copy()
    bad[3, 2] = np.nan
    q = judge(bad)
    assert (q.outcome, q.not_finite) == ("fails", 1)
    assert "NaN" in q.reason


def test_cosine_metric_needs_no_labels() -> None:
    noisy = TRUE + RNG.normal(0, 0.01, TRUE.shape)
    q = judge(noisy, labels=None, metric="cosine")
    assert (q.outcome, q.metric, q.reference_value) == ("passes", "cosine", 1.0)
    assert q.value == pytest.approx(1.0, abs=1e-3)


def test_top5_counts_labels_among_the_five_largest() -> None:
    matrix = np.tile(np.arange(CLASSES, dtype=float), (4, 1))
    q = judge(matrix, matrix, labels=np.array([9, 5, 4, 0]), metric="top5")
    assert q.value == 0.5


def test_integer_outputs_are_answers_themselves() -> None:
    given_ = {"label": [np.int64(c) for c in LABELS]}
    other = {"label": [np.int64(c) for c in np.roll(LABELS, 1)]}
    assert guard.score(given_, given_, LABELS, "accuracy", accuracy_drop=0.01).value == 1.0
    assert guard.score(other, given_, LABELS, "accuracy", accuracy_drop=0.01).outcome == "fails"


def test_a_callable_may_give_one_number_a_sample() -> None:
    def closeness(outputs: Any, labels: Any) -> Any:
        return 1 / (1 + np.abs(outputs["scores"].max(axis=1) - 5.5))

    q = judge(TRUE + RNG.normal(0, 1e-3, TRUE.shape), metric=closeness)
    assert (q.outcome, q.metric) == ("passes", "closeness")
    assert q.drop_low < q.drop < q.drop_high


def test_a_callable_may_give_one_number_for_all() -> None:
    def share(outputs: Any, labels: Any) -> float:
        return float(np.mean(np.argmax(outputs["scores"], axis=1) == labels))

    whole, single = judge(flipped(TRUE, 200), metric=share), judge(flipped(TRUE, 200))
    assert whole.outcome == "fails"
    assert whole.drop == pytest.approx(single.drop)


def test_a_metric_that_fails_is_the_user_s_to_mend() -> None:
    def broken(outputs: Any, labels: Any) -> float:
        raise KeyError("nope")

    with pytest.raises(InputError, match="nope"):
        judge(TRUE, metric=broken)
    with pytest.raises(InputError, match="accuracy"):
        judge(TRUE, metric="acuracy")
    with pytest.raises(InputError, match="one label a sample"):
        judge(TRUE, labels=LABELS[:10])


def test_wrong_is_for_what_was_not_compressed() -> None:
    garbage = rows(np.random.default_rng(9).normal(size=TRUE.shape))
    assert "relative error" in str(guard.wrong(garbage, rows(TRUE), compressed=False))
    assert guard.wrong(garbage, rows(TRUE), compressed=True) is None
    assert guard.wrong(rows(TRUE * 1.01), rows(TRUE), compressed=False) is None


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        ({"other": list(TRUE)}, "called"),
        (rows(TRUE[:10]), "10 samples"),
        (rows(TRUE[:, :5]), "shape"),
        ({"scores": [row.astype(np.int64) for row in TRUE]}, "int64"),
        (rows(np.full_like(TRUE, np.inf)), "NaN or infinite"),
    ],
)
def test_wrong_names_what_does_not_match(candidate: Any, said: str) -> None:
    assert said in str(guard.wrong(candidate, rows(TRUE), compressed=True))


def test_padding_is_cut_before_comparing() -> None:
    reference = {"tokens": [np.ones((3, 4)), np.ones((5, 4))]}
    padded = {"tokens": [np.pad(r, ((0, 7 - len(r)), (0, 0)), constant_values=9.0) for r in reference["tokens"]]}
    assert guard.wrong(padded, reference, compressed=False) is None
    assert guard.score(padded, reference, None, None, accuracy_drop=0.01).outcome == "passes"
