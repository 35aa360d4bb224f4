"""A fitted scikit-learn estimator behind named arrays: what it takes, what it answers, and whether it can answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accel.errors import InputError
from accel.model import pickles
from accel.model.types import Source
from accel.samples.table import INPUT, Table

Arrays = dict[str, npt.NDArray[Any]]
Answer = Literal["probabilities", "label", "prediction"]
_FILE = "estimator.pkl"
_FIT = "Call its fit(X, y) first."


class Estimator:
    """Takes {"X": (batch, columns)} and gives one named array, by the estimator's own method.

    answer: "probabilities" (batch, classes) of a classifier that has predict_proba; "label" (batch,) of another
    classifier, a clustering or an outlier detector; "prediction" (batch, targets) of a regressor.
    columns: the names it was fitted with, empty if none. classes: what the columns of "probabilities" stand for.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self.answer = _answer(estimator)
        self.columns = tuple(str(name) for name in getattr(estimator, "feature_names_in_", ()))
        width = getattr(estimator, "n_features_in_", None)
        self.width = None if width is None else int(width)
        self.classes = np.asarray(estimator.classes_) if self.answer == "probabilities" else None

    @property
    def name(self) -> str:
        """The class of the estimator, of a pipeline that of its last step."""
        last = getattr(self.estimator, "steps", [("", self.estimator)])[-1][1]
        return type(last).__name__

    @property
    def table(self) -> Table:
        """How samples must be laid out for it."""
        classes = () if self.classes is None else tuple(self.classes.tolist())
        return Table(columns=self.columns, width=self.width, classes=classes)

    def __call__(self, arrays: Mapping[str, Any]) -> Arrays:
        x = self._input(arrays[INPUT])
        if self.answer == "probabilities":
            return {self.answer: np.asarray(self.estimator.predict_proba(x))}
        found = np.asarray(self.estimator.predict(x))
        return {self.answer: found.reshape(len(found), -1) if self.answer == "prediction" else found.astype(np.int64)}

    def _input(self, array: Any) -> Any:
        """As it was fitted: a frame with its column names, or a plain array."""
        if not self.columns:
            return array
        import pandas as pd

        return pd.DataFrame(array, columns=list(self.columns))


def keep(estimator: Estimator, folder: Path) -> tuple[str | None, tuple[str, ...]]:
    """Store what a factory trained, so that no later child of this study trains it again.

    Returns its hash, which travels apart from the file, and folders for sys.path; (None, ()) if it can't be stored.
    """
    try:
        return pickles.store({"estimator": estimator}, folder / _FILE)
    except Exception:  # a step may hold anything; then the factory is called again
        return None, ()


def kept(source: Source, folder: Path) -> Estimator | None:
    """What `keep` stored for this source, None if nothing. Raises InputError if the file was changed since."""
    if source.kind != "factory" or source.sha256 is None:
        return None
    found: Estimator = pickles.restore(folder / _FILE, source.sha256, source.sys_path)["estimator"]
    return found


def is_estimator(given: object) -> bool:
    """True for an object of scikit-learn's kind; imports scikit-learn only if the program already has."""
    base: Any = sys.modules.get("sklearn.base")
    return base is not None and isinstance(given, base.BaseEstimator) and not isinstance(given, type)


def checked(given: Any, what: str) -> Estimator:
    """The estimator behind named arrays. Raises InputError if it isn't fitted or gives nothing that can be compared."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(given)
    except NotFittedError:
        raise InputError(f"{what} is a `{type(given).__name__}` that isn't fitted. {_FIT}") from None
    except TypeError:
        raise InputError(f"{what} is a `{type(given).__name__}`, which is no estimator: it has no fit.") from None
    return Estimator(given)


def _answer(estimator: Any) -> Answer:
    from sklearn.base import is_classifier, is_regressor

    name = type(estimator).__name__
    if not hasattr(estimator, "predict"):
        raise InputError(
            f"A `{name}` has no predict, so there is nothing to measure. Give a pipeline that ends in one."
        )
    if is_regressor(estimator):
        return "prediction"
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, list):
        raise InputError(f"The `{name}` classifies several things at once, which isn't read. Give one classifier each.")
    if is_classifier(estimator) and hasattr(estimator, "predict_proba"):
        return "probabilities"
    if classes is not None and np.asarray(classes).dtype.kind not in "iub":
        raise InputError(
            f"The `{name}` answers in words ({classes[0]}, ...) and knows no probabilities. "
            "Fit it on class numbers (sklearn.preprocessing.LabelEncoder)."
        )
    return "label"
