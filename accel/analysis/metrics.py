"""What is a metric's value, and how much did it drop, sample by sample where it can be told?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.analysis import outputs as outs
from accel.analysis.proportions import Interval, clopper_pearson, mean_interval, paired_drop, samples_needed
from accel.errors import InputError, nearest

Metric = str | Callable[[dict[str, Any], Any], Any] | None
Float = npt.NDArray[np.float64]
NAMES = ("accuracy", "top5", "cosine")
_GROUPS = 20


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """The metric of the candidate and of the reference, and the drop between them with its 95 % interval.

    needed(limit): how many samples would tell on which side of the limit the drop lies; None if none would.
    """

    name: str
    value: float
    ends: Interval
    reference: float
    drop: float
    drop_ends: Interval
    needed: Callable[[float], int | None]


def score(metric: Metric, candidate: outs.Rows, reference: outs.Rows, labels: Any) -> Scored:
    """Score both with the same metric; higher is better.

    metric: "accuracy", "top5", "cosine" (to the reference) or a callable of (outputs, labels) that gives one number,
    or an array with one number a sample. Raises InputError if the metric doesn't suit the outputs or fails.
    """
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "metric")
    if metric == "cosine":
        similar = outs.Distances(candidate, reference).cosine
        similar = np.where(np.isnan(similar), 0.0, similar)
        return _per_sample(name, similar, np.ones_like(similar))
    ours, theirs = _values(metric, candidate, labels), _values(metric, reference, labels)
    if ours.ndim and ours.shape == theirs.shape:
        return _per_sample(name, ours, theirs)
    if ours.ndim == theirs.ndim == 0:
        return _whole(name, metric, candidate, reference, labels)
    raise InputError(
        f"The metric `{name}` gave an array of shape {ours.shape} for the variant and {theirs.shape} for the "
        "reference. It must give one number, or one number a sample."
    )


def _values(metric: Metric, outputs: outs.Rows, labels: Any) -> Float:
    if callable(metric):
        try:
            given = np.asarray(metric(stacked(outputs), labels), np.float64)
        except Exception as error:
            raise InputError(f"The metric `{getattr(metric, '__name__', 'metric')}` failed: {error!r}.") from error
        if given.ndim > 1 or not np.all(np.isfinite(given)):
            name = getattr(metric, "__name__", "metric")
            raise InputError(
                f"The metric `{name}` must give one finite number, or one finite number a sample, but gave "
                f"{given if given.ndim == 0 else f'an array of shape {given.shape}, NaN or infinity in it or not'}."
            )
        return given
    if metric == "top5":
        return _top5(outputs, labels)
    if metric == "accuracy":
        return _accuracy(outputs, labels)
    raise InputError(f"No metric is called `{metric}`. {nearest(str(metric), NAMES)} Or pass a callable.")


def stacked(outputs: outs.Rows) -> dict[str, Any]:
    """What a callable metric gets: arrays (n, ...), or a list of rows where their shapes differ."""
    return {
        name: np.stack(list(rows)) if len({np.shape(row) for row in rows}) == 1 else list(rows)
        for name, rows in outputs.items()
    }


def _accuracy(outputs: outs.Rows, labels: Any) -> Float:
    truth = np.asarray(labels)
    classes = outs.answers(outputs)
    if classes is not None and truth.shape == classes.shape:
        return np.asarray(classes == truth, np.float64)
    found = _per_position(outputs, truth)
    if found is None:
        raise InputError(
            "The metric `accuracy` needs class scores (one vector a sample) and one label a sample, but the outputs "
            f"are {_shapes(outputs)} and the labels {truth.shape}. Pass a callable as metric."
        )
    return found


def _per_position(outputs: outs.Rows, truth: npt.NDArray[Any]) -> Float | None:
    """Share of positions labelled rightly, where each position has a score vector; negative labels don't count."""
    for rows in outputs.values():
        if truth.ndim >= 2 and np.ndim(rows[0]) == truth.ndim and all(len(r) <= truth.shape[1] for r in rows):
            right = []
            for row, wanted in zip(rows, truth, strict=True):
                given, known = np.argmax(row, axis=-1), wanted[: len(row)]
                counts = known >= 0
                right.append(float(np.mean(given[counts] == known[counts])) if counts.any() else 1.0)
            return np.array(right)
    return None


def _top5(outputs: outs.Rows, labels: Any) -> Float:
    name, truth = outs.scores_name(outputs), np.asarray(labels)
    if name is None or truth.shape != (len(outputs[name]),):
        raise InputError(
            f"The metric `top5` needs class scores and one label a sample, but the outputs are {_shapes(outputs)} and "
            f"the labels {truth.shape}."
        )
    order = np.argsort(-np.stack(list(outputs[name])), axis=1, kind="stable")[:, :5]
    return np.asarray((order == truth[:, None]).any(axis=1), np.float64)


def _shapes(outputs: outs.Rows) -> str:
    return ", ".join(f"`{n}` {np.shape(rows[0])}" for n, rows in outputs.items())


def _per_sample(name: str, ours: Float, theirs: Float) -> Scored:
    n = int(ours.size)
    common: dict[str, Any] = {"name": name, "value": float(ours.mean()), "reference": float(theirs.mean())}
    if set(np.unique(np.concatenate([ours, theirs]))) <= {0.0, 1.0}:
        lost, gained = float(np.sum(theirs > ours)), float(np.sum(ours > theirs))
        return Scored(
            ends=clopper_pearson(float(ours.sum()), n),
            drop=(lost - gained) / n,
            drop_ends=paired_drop(lost, gained, n),
            needed=lambda limit: samples_needed(
                n, lambda m: _outside(paired_drop(lost * m / n, gained * m / n, m), limit)
            ),
            **common,
        )
    differences = theirs - ours
    drop, ends = float(differences.mean()), mean_interval(differences)
    return Scored(
        ends=mean_interval(ours) if n > 1 else (common["value"], common["value"]),
        drop=drop,
        drop_ends=ends,
        needed=lambda limit: samples_needed(n, lambda m: _outside(_shrunk(drop, ends, n, m), limit)),
        **common,
    )


def _whole(name: str, metric: Metric, candidate: outs.Rows, reference: outs.Rows, labels: Any) -> Scored:
    """A metric of the whole set: delete-a-group jackknife of the drop (Shao & Tu 1995), no sample ever twice."""
    ours, theirs = float(_values(metric, candidate, labels)), float(_values(metric, reference, labels))
    n = len(next(iter(reference.values())))
    groups = [np.arange(n)[g::_GROUPS] for g in range(min(_GROUPS, n))]
    kept = [np.setdiff1d(np.arange(n), group) for group in groups]
    parts = np.array([[float(_values(metric, *_only(c, k, labels))) for c in (candidate, reference)] for k in kept])
    drop, ends = theirs - ours, _jackknife(theirs - ours, parts[:, 1] - parts[:, 0])
    return Scored(
        name=name,
        value=ours,
        ends=_jackknife(ours, parts[:, 0]),
        reference=theirs,
        drop=drop,
        drop_ends=ends,
        needed=lambda limit: samples_needed(n, lambda m: _outside(_shrunk(drop, ends, n, m), limit)),
    )


def _jackknife(value: float, parts: Float) -> Interval:
    from scipy.stats import t

    groups = parts.size
    if groups < 3:
        return -np.inf, np.inf
    half = float(t.ppf(0.975, groups - 1)) * float(np.sqrt((groups - 1) * np.mean((parts - parts.mean()) ** 2)))
    return value - half, value + half


def _only(outputs: outs.Rows, ids: npt.NDArray[Any], labels: Any) -> tuple[dict[str, Sequence[Any]], Any]:
    rows: Mapping[str, Sequence[Any]] = outputs
    return {n: [r[i] for i in ids] for n, r in rows.items()}, None if labels is None else np.asarray(labels)[ids]


def _shrunk(centre: float, ends: Interval, n: int, samples: float) -> Interval:
    factor = (n / samples) ** 0.5
    return centre - (centre - ends[0]) * factor, centre + (ends[1] - centre) * factor


def _outside(ends: Interval, limit: float) -> bool:
    return ends[1] <= limit or ends[0] > limit
