"""Gradient-boosted trees on a table, trained here from a seed in a few seconds: real weights, labels known.

The table is scikit-learn's make_classification (Guyon 2003, the generator of MADELON): 20,000 rows of 30 numbers, three
classes of several clusters each, 2 % of the labels wrong on purpose, so that no model can be perfect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

ROWS, COLUMNS, CLASSES = 20_000, 30, 3
HELD_OUT = 1_200
TREES = 240


def classifier() -> Any:
    """X: float32 (batch, 30) -> probabilities: (batch, 3); 240 trees (80 rounds of one a class), six levels deep.

    Each tree sees 30 % of the rows and five columns a split (stochastic gradient boosting, Friedman 2002).
    """
    from sklearn.ensemble import GradientBoostingClassifier

    x, y = table()
    model = GradientBoostingClassifier(
        n_estimators=TREES // CLASSES,
        max_depth=6,
        subsample=0.3,
        max_features=5,
        learning_rate=0.2,
        random_state=0,
    )
    return model.fit(x[HELD_OUT:], y[HELD_OUT:])


def samples() -> dict[str, npt.NDArray[Any]]:
    """1,200 rows that the model wasn't trained on, with the class of each."""
    x, y = table()
    return {"X": x[:HELD_OUT], "labels": y[:HELD_OUT]}


def table() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """(20,000, 30) numbers and the class of each row, always the same."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        n_samples=ROWS,
        n_features=COLUMNS,
        n_informative=15,
        n_redundant=5,
        n_classes=CLASSES,
        n_clusters_per_class=3,
        flip_y=0.02,
        class_sep=1.2,
        random_state=0,
    )
    return x.astype(np.float32), y.astype(np.int64)
