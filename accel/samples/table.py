"""Rows of a table as one array: columns given one by one are put side by side, labels become numbers of classes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError, nearest
from accel.samples.store import Samples

INPUT = "X"
Array = npt.NDArray[Any]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """How a model of tables wants its samples.

    columns: the names it was fitted with, in their order; empty if it knows none. width: how many; None if unknown.
    classes: what the columns of its probabilities stand for, so that a label can be turned into one of their numbers.
    """

    columns: tuple[str, ...] = ()
    width: int | None = None
    classes: tuple[Any, ...] = ()


def as_table(samples: Samples, table: Table) -> Samples:
    """The same samples with one input `X` of shape (N, columns), float32 or float64; nothing is written.

    Raises InputError for columns that are missing or misspelt, a wrong number of them, or labels of no known class.
    """
    array, notes = _rows(samples.inputs, table)
    if table.width is not None and array.shape[1] != table.width:
        raise InputError(f"The model was fitted on {table.width} columns, but the samples have {array.shape[1]}.")
    labels, said = _numbers(samples.labels, table.classes)
    return msgspec.structs.replace(
        samples, inputs={INPUT: array}, labels=labels, notes=(*samples.notes, *notes, *said), sha256=""
    )


def _rows(inputs: dict[str, Array], table: Table) -> tuple[Array, tuple[str, ...]]:
    if all(a.ndim == 1 for a in inputs.values()):
        names = _order(tuple(inputs), table.columns)
        left = [name for name in inputs if name not in names]
        joined = np.stack([_real(inputs[name], name) for name in names], axis=1)
        note = f"Left out, since the model was fitted without: {', '.join(f'`{n}`' for n in left)}." if left else ""
        return joined, (note,) if note else ()
    if len(inputs) > 1:
        raise InputError(
            f"A model of tables takes one array (samples, columns) or columns by name, but the samples are "
            f"{', '.join(f'`{n}` of shape {a.shape}' for n, a in inputs.items())}."
        )
    (name, array), *_ = inputs.items()
    if array.ndim != 2:
        raise InputError(
            f"A model of tables takes an array (samples, columns), but `{name}` has the shape {array.shape}."
        )
    return _real(array, name), ()


def _order(given: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The columns in the order the model was fitted with; as given where it knows no names."""
    if not wanted:
        return given
    for name in wanted:
        if name not in given:
            raise InputError(f"The samples lack the column `{name}`. {nearest(name, given)}")
    return wanted


def _real(array: Array, name: str) -> Array:
    """float32 and float64 as they are; whole numbers in the smaller of the two that holds each of them."""
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind not in "fiub":
        raise InputError(f"The column `{name}` holds {array.dtype}, but only numbers are read. Encode it first.")
    return array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)


def _numbers(labels: Array | None, classes: tuple[Any, ...]) -> tuple[Array | None, tuple[str, ...]]:
    """Labels as positions among the model's classes; unchanged where they are that already."""
    if labels is None or not classes or classes == tuple(range(len(classes))):
        return labels, ()
    position = {value: i for i, value in enumerate(classes)}
    foreign = [value for value in np.unique(labels).tolist() if value not in position]
    if foreign:
        raise InputError(
            f"The labels hold `{foreign[0]}`, which is none of the classes that the model knows: "
            f"{', '.join(map(str, classes[:8]))}."
        )
    numbers = np.array([position[value] for value in labels.tolist()], np.int64)
    return numbers, (f"Labels became positions among the model's classes ({', '.join(map(str, classes[:8]))}).",)
