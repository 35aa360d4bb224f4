"""How good are a variant's outputs? Compared with the reference's, and with the labels where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.analysis import guard
from accel.measurement.outputs import load_outputs, relative_error
from accel.result import Quality


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Quality with what decides about timing: why the outputs are plainly wrong, and the largest error seen."""

    quality: Quality
    wrong: str | None
    largest_error: float


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard needs to know beside the outputs. probe: it is a speed probe, which can't win."""

    accuracy_drop: float
    compressed: bool
    random_weights: bool
    synthetic: bool
    metric: str | None
    probe: bool = False


def score(candidate: Path, reference: Path, labels: Any, metric: Any, terms: Terms) -> Score:
    """Score stored outputs against stored reference outputs of the same samples in the same order.

    labels: (n,) or (n, ...) for those samples, or None. metric: a name, a callable or None.
    """
    ours = load_outputs(candidate)
    theirs = load_outputs(reference)
    reason = guard.wrong(ours, theirs, compressed=terms.compressed)
    quality = judged(ours, theirs, labels, metric, terms)
    return Score(quality=quality, wrong=reason, largest_error=_largest_error(ours, theirs))


def judged(
    ours: Mapping[str, Sequence[Any]], theirs: Mapping[str, Sequence[Any]], labels: Any, metric: Any, terms: Terms
) -> Quality:
    """The guard's word on outputs in memory; a speed probe's is that of a probe."""
    quality = guard.score(
        ours,
        theirs,
        labels,
        metric,
        accuracy_drop=terms.accuracy_drop,
        random_weights=terms.random_weights,
        synthetic=terms.synthetic,
    )
    return guard.as_probe(quality) if terms.probe else quality


def _largest_error(ours: dict[str, list[Any]], theirs: dict[str, list[Any]]) -> float:
    if set(ours) != set(theirs):
        return float("nan")
    count = len(next(iter(theirs.values()), []))
    errors = [relative_error({n: ours[n][i] for n in theirs}, {n: theirs[n][i] for n in theirs}) for i in range(count)]
    return float(np.max(errors)) if errors else 0.0
