"""How far are a variant's outputs from the reference's? Distances per sample, in float64 (rule 39).

Outputs are named lists of rows, one row a sample without its batch axis, as `measurement.outputs` stores them. A row
that padding made longer than the reference's is cut to the reference's shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Row = npt.NDArray[Any]
Rows = Mapping[str, Sequence[Row]]
Float = npt.NDArray[np.float64]

MOST_COMMON_LIMIT = 0.9


def cut(row: Row, like: Row) -> Row:
    """The part of a padded row that the reference has too."""
    return row if row.shape == like.shape else row[tuple(slice(0, n) for n in like.shape)]


def sqnr_db(reference: npt.ArrayLike, candidate: npt.ArrayLike) -> float:
    """Signal to quantization noise: 10 log10(sum r^2 / sum (r - y)^2); inf if equal. The reference comes first.

    >>> round(sqnr_db([3.0, 4.0], [3.0, 4.5]), 2)
    20.0
    """
    r, y = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    noise = float(np.sum((r - y) ** 2))
    signal = float(np.sum(r**2))
    if noise == 0:
        return float("inf")
    return 10.0 * float(np.log10(signal / noise)) if signal > 0 else -float("inf")


def cosine(reference: npt.ArrayLike, candidate: npt.ArrayLike) -> float | None:
    """Cosine of the angle between two rows; None if one of them is all zero.

    >>> cosine([1.0, 0.0], [1.0, 0.0])
    1.0
    """
    r, y = np.asarray(reference, np.float64).ravel(), np.asarray(candidate, np.float64).ravel()
    norms = float(np.linalg.norm(r)) * float(np.linalg.norm(y))
    return None if norms == 0 else min(1.0, max(-1.0, float(r @ y) / norms))


def relative_error(reference: npt.ArrayLike, candidate: npt.ArrayLike) -> float:
    """|r - y| / |r| in the 2-norm; 0 if equal."""
    r, y = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    return float(np.linalg.norm(r - y)) / max(float(np.linalg.norm(r)), 1e-12)


def is_float(rows: Sequence[Row]) -> bool:
    """True for an output of real numbers; class indices and masks are none."""
    return all(np.asarray(row).dtype.kind == "f" for row in rows)


def scores_name(outputs: Rows) -> str | None:
    """The first output that looks like class scores: real numbers, one vector of the same length >= 2 a sample.

    Vectors that all have length 1 are embeddings: the index of their largest number means nothing.
    """
    for name, rows in outputs.items():
        shapes = {np.shape(row) for row in rows}
        if len(shapes) != 1 or not is_float(rows):
            continue
        shape = shapes.pop()
        if len(shape) == 1 and shape[0] >= 2 and not _unit_length(rows):
            return name
    return None


def _unit_length(rows: Sequence[Row]) -> bool:
    norms = np.array([np.linalg.norm(np.asarray(row, np.float64)) for row in rows])
    one_hot = all(np.count_nonzero(row) == 1 for row in rows)
    return bool(np.all(np.abs(norms - 1) < 1e-3)) and not one_hot


def answers(outputs: Rows) -> npt.NDArray[np.int64] | None:
    """(n,) the class each sample is given: an integer output of one number a sample, else the largest score.

    Ties go to the lowest index. None if no output holds classes.
    """
    for rows in outputs.values():
        first = np.asarray(rows[0])
        if first.dtype.kind in "iu" and first.size == 1 and all(np.size(row) == 1 for row in rows):
            return np.array([int(np.asarray(row).item()) for row in rows], np.int64)
    name = scores_name(outputs)
    if name is None:
        return None
    return np.array([int(np.argmax(row)) for row in outputs[name]], np.int64)


def one_sided(classes: npt.NDArray[np.int64]) -> bool:
    """True if one class holds more than 90 % of the answers, so that agreeing with them proves little."""
    counts = np.unique(classes, return_counts=True)[1]
    return bool(counts.max() > MOST_COMMON_LIMIT * counts.sum())


class Distances:
    """Distances of every sample; with several outputs the worst one counts.

    sqnr_db: (n,), inf where equal. cosine: (n,), nan where a row is all zero. max_abs_error: one number.
    Only outputs of real numbers are looked at, unless there are none: then integers are, as numbers.
    """

    def __init__(self, candidate: Rows, reference: Rows) -> None:
        names = [n for n in reference if is_float(reference[n])] or list(reference)
        pairs = {n: [(r, cut(y, r)) for y, r in zip(candidate[n], reference[n], strict=True)] for n in names}
        self.sqnr_db: Float = np.min([[sqnr_db(r, y) for r, y in rows] for rows in pairs.values()], axis=0)
        cosines = [[_nan(cosine(r, y)) for r, y in rows] for rows in pairs.values()]
        self.cosine: Float = np.min(np.asarray(cosines, np.float64), axis=0)
        self.max_abs_error = max(_largest(r, y) for rows in pairs.values() for r, y in rows)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _largest(r: Row, y: Row) -> float:
    return float(np.max(np.abs(np.asarray(r, np.float64) - np.asarray(y, np.float64)), initial=0.0))


def not_finite(outputs: Rows) -> int:
    """How many NaN or infinite numbers the outputs hold."""
    return sum(int(np.size(row) - np.count_nonzero(np.isfinite(row))) for rows in outputs.values() for row in rows)


def identical(candidate: Rows, reference: Rows) -> bool:
    """True if every number of every sample is the same."""
    return all(np.array_equal(cut(y, r), r) for n in reference for y, r in zip(candidate[n], reference[n], strict=True))


def mismatch(candidate: Rows, reference: Rows) -> str | None:
    """Why two sets of outputs can't be compared at all: names, counts, shapes, kinds of number; None if they can."""
    if set(candidate) != set(reference):
        return f"the outputs are called {_listed(candidate)}, but the reference's {_listed(reference)}"
    for name, rows in reference.items():
        if len(candidate[name]) != len(rows):
            return f"the output `{name}` has {len(candidate[name])} samples, but the reference has {len(rows)}"
        for ours, theirs in zip(candidate[name], rows, strict=True):
            reason = _row_mismatch(np.asarray(ours), np.asarray(theirs))
            if reason:
                return f"the output `{name}` {reason}"
    return None


def _row_mismatch(ours: Row, theirs: Row) -> str | None:
    if ours.ndim != theirs.ndim or any(a < b for a, b in zip(ours.shape, theirs.shape, strict=True)):
        return f"has the shape {ours.shape} a sample, but the reference has {theirs.shape}"
    kinds = {"f": "real", "V": "real", "i": "whole", "u": "whole", "b": "whole"}
    mine, other = kinds.get(ours.dtype.kind, ours.dtype.kind), kinds.get(theirs.dtype.kind, theirs.dtype.kind)
    if mine != other:
        return f"holds {ours.dtype} numbers, but the reference {theirs.dtype}"
    return None


def _listed(outputs: Rows) -> str:
    return ", ".join(f"`{n}`" for n in sorted(outputs))
