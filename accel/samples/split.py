"""Which samples calibrate and which are judged by: two parts that never meet."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel.errors import InputError

Int64 = npt.NDArray[np.int64]
ENOUGH = 4


def split(count: int, *, seed: int, calibration: int | None = None) -> tuple[Int64, Int64, tuple[str, ...]]:
    """Seeded (calibration ids, evaluation ids, notes); every id below `count` is in exactly one part, each ascending.

    calibration: how many ids calibrate; None means min(300, 30 %). One id at least is kept for evaluation.
    Raises InputError if the asked number leaves nothing to judge by.

    >>> [part.tolist() for part in split(4, seed=0)[:2]]
    [[1], [0, 2, 3]]
    """
    if calibration is not None and not 0 <= calibration < count:
        raise InputError(
            f"`calibration` must be between 0 and {count - 1}, since there are {count} samples and at least one must "
            f"be left for evaluation, but is {calibration}."
        )
    size = calibration if calibration is not None else max(min(300, int(0.3 * count)), min(1, count - 1))
    order = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 6]))).permutation(count)
    notes: tuple[str, ...] = ()
    if count < ENOUGH:
        notes = (
            f"Only {count} sample{'s' if count > 1 else ''}: calibration has {size} and evaluation {count - size}, "
            "too few to calibrate well or to judge accuracy.",
        )
    return np.sort(order[:size]).astype(np.int64), np.sort(order[size:]).astype(np.int64), notes


def marked(mask: npt.NDArray[np.bool_], count: int) -> tuple[Int64, Int64, tuple[str, ...]]:
    """The parts as their giver marked them: True calibrates. Raises InputError if the mask doesn't fit.

    >>> [part.tolist() for part in marked(np.array([True, False, True]), 3)[:2]]
    [[0, 2], [1]]
    """
    if len(mask) != count:
        raise InputError(f"`calibration` must mark each of the {count} samples, but has {len(mask)} values.")
    if mask.all():
        raise InputError("`calibration` marks every sample; at least one must be left for evaluation.")
    return np.flatnonzero(mask).astype(np.int64), np.flatnonzero(~mask).astype(np.int64), ()
