"""What an engine answered, one row a request, as a plain .npz; and how far one answer is from another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Row = Mapping[str, Array]
"""The outputs of one request, by name, without a batch axis."""


def save_outputs(path: Path, rows: Sequence[Row], ids: Sequence[int] | None = None) -> None:
    """Write one row a request, by temporary file and rename; `ids` are the sample ids (default 0, 1, ...).

    Rows of one shape are stacked; ragged ones are laid end to end with their shapes beside them. No pickle.
    """
    names = list(rows[0]) if rows else []
    stored: dict[str, Array] = {
        "ids": np.asarray(range(len(rows)) if ids is None else ids, np.int64),
        "names": np.asarray(names, dtype=np.str_),
    }
    for k, name in enumerate(names):
        values = [np.asarray(row[name]) for row in rows]
        if len({v.shape for v in values}) == 1:
            stored[f"data_{k}"] = np.stack(values)
        else:
            stored[f"data_{k}"] = np.concatenate([v.ravel() for v in values])
            stored[f"shape_{k}"] = np.asarray([v.shape for v in values], np.int64)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **stored)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_outputs(path: Path) -> dict[str, list[Array]]:
    """Per output name, one array a request, in the order of `load_ids`."""
    with np.load(path, allow_pickle=False) as file:
        return {str(name): _rows(file[f"data_{k}"], file.get(f"shape_{k}")) for k, name in enumerate(file["names"])}


def load_ids(path: Path) -> npt.NDArray[np.int64]:
    """The sample ids of a stored file, (n,)."""
    with np.load(path, allow_pickle=False) as file:
        ids: npt.NDArray[np.int64] = file["ids"].astype(np.int64)
        return ids


def _rows(data: Array, shapes: Array | None) -> list[Array]:
    if shapes is None:
        return list(data)
    ends = np.cumsum(shapes.prod(axis=1))
    return [part.reshape(shape) for part, shape in zip(np.split(data, ends[:-1]), shapes, strict=True)]


def split_rows(outputs: Mapping[str, Array], count: int) -> list[dict[str, Array]]:
    """A batch's outputs (batch, ...) as `count` rows; views, no copies."""
    return [{name: value[i] for name, value in outputs.items()} for i in range(count)]


def relative_error(candidate: Row, reference: Row) -> float:
    """The worst over the outputs: floats by norm of the difference over norm of the reference, in float64; integers
    and booleans by the fraction of elements that differ. inf where names or shapes can't be brought together or a
    value isn't finite.

    Ragged rows are cut to the reference's shape: what a longer batch mate made them carry is padding.

    >>> round(relative_error({"y": np.array([3.0, 4.1])}, {"y": np.array([3.0, 4.0])}), 3)
    0.02
    """
    if set(candidate) != set(reference):
        return float("inf")
    return max((_error(np.asarray(candidate[n]), np.asarray(reference[n])) for n in reference), default=0.0)


def _error(y: Array, r: Array) -> float:
    if y.ndim != r.ndim or any(a < b for a, b in zip(y.shape, r.shape, strict=True)):
        return float("inf")
    y = y[tuple(slice(0, n) for n in r.shape)]
    if r.dtype.kind not in "fc":
        return float(np.mean(y != r)) if r.size else 0.0
    wide = np.complex128 if r.dtype.kind == "c" else np.float64
    y, r = y.astype(wide).ravel(), r.astype(wide).ravel()
    error = float(np.linalg.norm(y - r)) / max(float(np.linalg.norm(r)), 1e-12)
    return error if np.isfinite(error) else float("inf")


def not_finite(row: Row) -> bool:
    """True if any floating-point output holds a NaN or an infinity."""
    return any(not np.isfinite(v).all() for v in map(np.asarray, row.values()) if v.dtype.kind in "fc")
