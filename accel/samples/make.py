"""From whatever the user gave to checked Samples on disk; once, before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError
from accel.model.types import Signature
from accel.samples import synthetic as _synthetic
from accel.samples.columns import Column, as_array, column
from accel.samples.given import Given, read
from accel.samples.match import Columns, match
from accel.samples.split import Parts, marked, split
from accel.samples.store import Samples, digest, write

Padding = float | Mapping[str, float]


def materialise(
    given: object,
    signature: Signature | None,
    folder: Path,
    *,
    labels: object | None = None,
    metric: str | None = None,
    padding: Padding = 0.0,
    seed: int = 0,
    calibration: int | None = None,
    count: int | None = None,
    vocabulary: Mapping[str, int] | None = None,
) -> Samples:
    """Read, check, split and store samples as plain .npy in `folder`, and map them.

    given: see `accel.samples.given.read`; None makes synthetic inputs (needs a signature).
    signature: None where it isn't known yet (a torch module's comes from its samples): then call `matched` later.
    padding: fills shorter items of a ragged axis; a number for all inputs, masks excepted (0), or one per input name.
    calibration: how many samples calibrate (default: 15 %, at most 300). count: how many to make up or to read.
    vocabulary: input name -> how many token ids it knows (`Facts.vocabulary`), for synthetic ids.
    Raises InputError for everything that is wrong with them.
    """
    if given is None:
        return write(_made_up(signature, labels, metric, seed, calibration, count, vocabulary), folder)
    found = read(given, count=count)
    columns = {name: column(name, items, _padding_of(name, padding)) for name, items in found.columns.items()}
    total = _count(columns)
    notes = found.notes
    if signature is not None:
        columns, more = match(columns, signature)
        notes += more
    _check_finite(columns)
    truth = _labels(labels, found, total)
    parts = split(total, seed=seed, calibration=calibration)
    if found.calibration is not None:
        parts = marked(found.calibration, total, seed=seed)
    return write(_assembled(columns, truth, metric, parts, notes), folder)


def matched(samples: Samples, signature: Signature, folder: Path) -> Samples:
    """Samples stored before the signature was known, now checked against it; the parts stay the same."""
    columns: Columns = {
        name: Column(
            array=array,
            axis=samples.ragged.get(name),
            lengths=samples.lengths.get(name),
            padding=samples.padding.get(name, 0.0),
        )
        for name, array in samples.inputs.items()
    }
    columns, notes = match(columns, signature)
    parts = Parts(
        calibration=samples.calibration,
        validation=samples.validation,
        evaluation=samples.evaluation,
        notes=samples.notes,
    )
    return write(_assembled(columns, samples.labels, samples.metric, parts, notes, samples.synthetic), folder)


def _assembled(
    columns: Columns,
    labels: npt.NDArray[Any] | None,
    metric: str | None,
    parts: Parts,
    notes: tuple[str, ...],
    synthetic: bool = False,
) -> Samples:
    samples = Samples(
        inputs={name: c.array for name, c in columns.items()},
        ragged={name: c.axis for name, c in columns.items() if c.axis is not None},
        lengths={name: c.lengths for name, c in columns.items() if c.lengths is not None},
        padding={name: c.padding for name, c in columns.items() if c.axis is not None},
        labels=labels,
        calibration=parts.calibration,
        validation=parts.validation,
        evaluation=parts.evaluation,
        synthetic=synthetic,
        metric=metric,
        notes=tuple(dict.fromkeys((*notes, *parts.notes))),
        sha256="",
    )
    return msgspec.structs.replace(samples, sha256=digest(samples))


def _made_up(
    signature: Signature | None,
    labels: object | None,
    metric: str | None,
    seed: int,
    calibration: int | None,
    count: int | None,
    vocabulary: Mapping[str, int] | None,
) -> Samples:
    if signature is None:
        raise InputError(
            "Without samples, the model's inputs must be known, but a torch module or a function doesn't tell them. "
            "Give samples, or a factory that returns (module, example inputs)."
        )
    if labels is not None:
        raise InputError("Labels were given without samples. Give the samples they belong to.")
    total = _synthetic.COUNT if count is None else count
    if total < 1:
        raise InputError(f"`count` must be at least 1, but is {total}.")
    arrays = _synthetic.synthetic(signature, count=total, seed=seed, vocabulary=vocabulary)
    columns = {name: Column(array=array) for name, array in arrays.items()}
    note = "The inputs are synthetic (seeded, from the model's signature): speed only, accuracy unknown."
    return _assembled(columns, None, metric, split(total, seed=seed, calibration=calibration), (note,), True)


def _padding_of(name: str, padding: Padding) -> float:
    if isinstance(padding, Mapping):
        return float(padding.get(name, 0.0))
    return 0.0 if "mask" in name.lower() else float(padding)


def _count(columns: Columns) -> int:
    counts = {name: len(c.array) for name, c in columns.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"`{name}` has {n}" for name, n in counts.items())
        raise InputError(f"Every input must have as many samples as the others, but {told}.")
    total = next(iter(counts.values()))
    if total == 0:
        raise InputError("The samples are empty: 0 items. Give at least one.")
    return total


def _check_finite(columns: Columns) -> None:
    for name, c in columns.items():
        if c.array.dtype.kind not in "fc":
            continue
        bad = np.asarray(~np.isfinite(c.array).reshape(len(c.array), -1).all(axis=1))
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            kind = "NaN" if np.isnan(c.array[first]).any() else "infinity"
            raise InputError(
                f"Input `{name}`: {int(bad.sum())} of {len(bad)} samples hold NaN or infinity (the first: sample "
                f"{first}, {kind}). Remove or repair them; no output computed from them could be compared."
            )


def _labels(given: object | None, found: Given, total: int) -> npt.NDArray[Any] | None:
    raw = found.labels if given is None else given
    if raw is None:
        return None
    labels = as_array(raw, "The labels")
    if labels.ndim == 0 or len(labels) != total:
        size = "one value" if labels.ndim == 0 else str(len(labels))
        raise InputError(f"There must be one label per sample, but there are {total} samples and {size} labels.")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InputError("The labels hold NaN or infinity. Remove those samples.")
    return labels
