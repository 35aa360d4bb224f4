"""Which samples calibrate, which are searched by and which are judged by: three parts that never meet."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError

Int64 = npt.NDArray[np.int64]
ENOUGH = 4
_CALIBRATES, _VALIDATES = 300, 1000
"""How many samples at most: ranges settle with a few hundred; a drop of a point needs about a thousand."""
_SHARE = 0.15
_LEAST_MARKED = 40
"""So many marked samples are enough to search by a half of them."""


class Parts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Ids, each part ascending. calibration: ranges are read from it. validation: choices between compressions are
    made by it. evaluation: what is reported is scored on it, and on nothing else. notes: what is too little.
    """

    calibration: Int64
    validation: Int64
    evaluation: Int64
    notes: tuple[str, ...] = ()


def split(count: int, *, seed: int, calibration: int | None = None) -> Parts:
    """Seeded parts; every id below `count` is in exactly one.

    calibration: how many ids calibrate; None means min(300, 15 %). Validation has min(1000, 15 %), evaluation the rest,
    one id at least. Where nothing is to calibrate (0), nothing is to choose either, and all is evaluation. Raises
    InputError if the asked number leaves nothing to judge by.

    >>> parts = split(10, seed=0)
    >>> len(parts.calibration), len(parts.validation), len(parts.evaluation)
    (1, 1, 8)
    """
    if calibration is not None and not 0 <= calibration < count:
        raise InputError(
            f"`calibration` must be between 0 and {count - 1}, since there are {count} samples and at least one must "
            f"be left for evaluation, but is {calibration}."
        )
    size = calibration if calibration is not None else max(min(_CALIBRATES, _share(count)), min(1, count - 1))
    kept = 0 if calibration == 0 else min(_VALIDATES, _share(count), count - size - 1)
    order = _order(count, seed)
    notes: tuple[str, ...] = ()
    if count < ENOUGH:
        notes = (
            f"Only {count} sample{'s' if count > 1 else ''}: calibration has {size} and evaluation {count - size}, "
            "too few to calibrate well or to judge accuracy.",
        )
    return Parts(
        calibration=_ids(order[:size]),
        validation=_ids(order[size : size + kept]),
        evaluation=_ids(order[size + kept :]),
        notes=notes,
    )


def marked(mask: npt.NDArray[np.bool_], count: int, *, seed: int) -> Parts:
    """The parts as their giver marked them: what isn't marked is judged by, whole.

    Of 40 or more marked samples a seeded half (1000 at most) becomes the validation part and the others calibrate; of
    fewer all calibrate. Raises InputError if the mask doesn't fit.

    >>> parts = marked(np.array([True, False, True]), 3, seed=0)
    >>> parts.calibration.tolist(), parts.validation.tolist(), parts.evaluation.tolist()
    ([0, 2], [], [1])
    """
    if len(mask) != count:
        raise InputError(f"`calibration` must mark each of the {count} samples, but has {len(mask)} values.")
    if mask.all():
        raise InputError("`calibration` marks every sample; at least one must be left for evaluation.")
    given = np.flatnonzero(mask)
    kept = min(_VALIDATES, len(given) // 2) if len(given) >= _LEAST_MARKED else 0
    order = given[_order(len(given), seed)]
    return Parts(calibration=_ids(order[kept:]), validation=_ids(order[:kept]), evaluation=_ids(np.flatnonzero(~mask)))


def _share(count: int) -> int:
    return int(_SHARE * count)


def _order(count: int, seed: int) -> Int64:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 6]))).permutation(count)


def _ids(chosen: npt.NDArray[np.integer]) -> Int64:
    return np.sort(chosen).astype(np.int64)
