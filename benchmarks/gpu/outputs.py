"""How a variant's outputs compare with those of float32 on the processor: without labels, a check and not accuracy."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from accel.analysis.outputs import cosine, relative_error, sqnr_db
from accel.measurement.outputs import load_outputs
from accel.result import Quality

RULE = (
    "outputs against float32 on the processor; the weights are random, so this is a check and says nothing of accuracy"
)
LEAST_LIMIT = 1e-3


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen, and how far timed outputs may be from the reference's: twice the largest error here."""

    quality: Quality
    check_limit: float


def compared(reference: Path, candidate: Path) -> Compared:
    """Both as `save_outputs` wrote them, row by row; the distance of a sample is that of its worst output."""
    theirs, ours = load_outputs(reference), load_outputs(candidate)
    errors, cosines, signals, largest, not_finite = [], [], [], 0.0, 0
    for name, rows in theirs.items():
        for r, y in zip(rows, ours[name], strict=True):
            not_finite += int((~np.isfinite(y)).sum())
            errors.append(relative_error(r, y))
            signals.append(sqnr_db(r, y))
            cosines.append(cosine(r, y))
            largest = max(largest, float(np.abs(np.asarray(r, np.float64) - y).max()))
    known = [c for c in cosines if c is not None]
    return Compared(
        quality=Quality(
            outcome="unmeasured",
            rule=RULE,
            reason="random weights",
            samples=len(next(iter(theirs.values()))),
            sqnr_db=_finite(float(np.median(signals))),
            sqnr_min_db=_finite(min(signals)),
            cosine_min=min(known, default=None),
            max_abs_error=largest,
            not_finite=not_finite,
            random_weights=True,
        ),
        check_limit=max(LEAST_LIMIT, 2.0 * max(errors)),
    )


def _finite(value: float) -> float | None:
    """None where there is no noise at all."""
    return value if np.isfinite(value) else None
