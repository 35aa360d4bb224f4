"""How far are the answers of a changed form from the float model's? One number a batch, for ranking only.

Distributions are compared by the Kullback-Leibler divergence, other floats by relative L2, integers by the share that
differs; several outputs count by their mean. No number is compared across models, so the units needn't agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_ONE = 1e-3
_TINY = 1e-12
WORST = 1e9
"""Stands for an answer that isn't finite, so that ranking stays possible."""


def error(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """The mean over the outputs; 0 where they are equal.

    >>> round(error({"y": np.array([[3.0, 4.1]])}, {"y": np.array([[3.0, 4.0]])}), 3)
    0.02
    """
    return float(np.mean([_error(np.asarray(found[name]), np.asarray(expected[name])) for name in expected]))


def _error(found: Array, expected: Array) -> float:
    if found.dtype.kind not in "fc":
        return float(np.mean(found != expected)) if expected.size else 0.0
    ours, theirs = found.astype(np.float64), expected.astype(np.float64)
    if not np.isfinite(ours[np.isfinite(theirs)]).all():
        return WORST
    if _distribution(theirs):
        terms = theirs * (np.log(np.maximum(theirs, _TINY)) - np.log(np.maximum(ours, _TINY)))
        return max(0.0, float(np.mean(terms.sum(-1))))
    known = np.isfinite(theirs)
    return float(np.linalg.norm((ours - theirs)[known]) / max(float(np.linalg.norm(theirs[known])), _TINY))


def _distribution(values: Array) -> bool:
    """True if the last axis holds probabilities: several, none negative, of sum one."""
    if values.ndim < 2 or values.shape[-1] < 2 or not values.size or not np.isfinite(values).all():
        return False
    return bool(values.min() >= 0 and np.abs(values.sum(-1) - 1).max() < _ONE)
