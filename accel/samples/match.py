"""Do the samples fit the model? Names, dtypes and shapes against the signature; every mismatch is one sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError, nearest
from accel.model.types import Signature, Tensor
from accel.samples.columns import Column
from accel.samples.given import is_unnamed

Columns = dict[str, Column]


def match(columns: Columns, signature: Signature) -> tuple[Columns, tuple[str, ...]]:
    """The columns under the model's input names, in its order and dtypes, and notes on what was changed.

    Raises InputError for a missing or misspelt name, an unsafe dtype or a wrong shape (the message names the axis).
    """
    named, notes = _by_name(columns, signature)
    matched: Columns = {}
    for tensor in signature.inputs:
        column, note = _cast(named[tensor.name], tensor)
        column, filled = _fill(column, tensor)
        _check_shape(column, tensor)
        matched[tensor.name] = column
        notes += tuple(n for n in (note, filled) if n)
    return matched, notes


def _by_name(columns: Columns, signature: Signature) -> tuple[Columns, tuple[str, ...]]:
    wanted = [t.name for t in signature.inputs]
    given = list(columns)
    if all(name in columns for name in wanted):
        extra = [name for name in given if name not in wanted]
        note = f"Left out, since the model has no such input: {', '.join(f'`{n}`' for n in extra)}."
        return columns, (note,) if extra else ()
    unnamed = is_unnamed(given)
    if len(given) == len(wanted) and (unnamed or len(wanted) == 1):
        note = f"The array `{given[0]}` is used for the only input, `{wanted[0]}`."
        return dict(zip(wanted, columns.values(), strict=True)), () if unnamed else (note,)
    if unnamed:
        raise InputError(
            f"The model takes {len(wanted)} inputs ({_listed(wanted)}), but the samples have {len(given)}."
        )
    missing = [name for name in wanted if name not in columns]
    spare = [name for name in given if name not in wanted]
    if spare:
        raise InputError(
            f"The samples have `{spare[0]}`, but the model's inputs are {_listed(wanted)}. {nearest(spare[0], missing)}"
        )
    raise InputError(f"The samples lack the input `{missing[0]}`; they have {_listed(given)}.")


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cast(column: Column, tensor: Tensor) -> tuple[Column, str]:
    have, want = column.array.dtype, np.dtype(tensor.dtype)
    if have == want:
        return column, ""
    if not _safe(column.array, have, want):
        raise InputError(
            f"Input `{tensor.name}` must be {want}, but the samples are {have}, which can't be converted safely. "
            f"Convert them yourself: samples.astype(np.{want})."
        )
    changed = msgspec.structs.replace(column, array=column.array.astype(want))
    return changed, f"Input `{tensor.name}`: samples were converted from {have} to {want}."


def _safe(array: npt.NDArray[Any], have: np.dtype[Any], want: np.dtype[Any]) -> bool:
    """Floats to floats, small integers to floats, bool to integers; integers where no value is lost."""
    if have.kind == "f":
        return want.kind == "f"
    if have.kind == "b":
        return want.kind in "iu"
    if have.kind in "iu" and want.kind in "iu":
        limits = np.iinfo(want)
        return not array.size or bool(array.min() >= limits.min and array.max() <= limits.max)
    return have.kind in "iu" and have.itemsize == 1 and want.kind == "f"


def _fill(column: Column, tensor: Tensor) -> tuple[Column, str]:
    """Pad a ragged axis that the model fixes to its fixed length."""
    if column.axis is None or column.axis + 1 >= len(tensor.shape):
        return column, ""
    fixed = tensor.shape[column.axis + 1]
    have = column.array.shape[column.axis + 1]
    if not isinstance(fixed, int) or have > fixed:
        return column, ""
    padding = [(0, 0)] * column.array.ndim
    padding[column.axis + 1] = (0, fixed - have)
    array = np.pad(column.array, padding, constant_values=column.padding)
    note = f"Input `{tensor.name}`: items were padded to the model's fixed length of {fixed}."
    return Column(array=array, padding=column.padding), note


def _check_shape(column: Column, tensor: Tensor) -> None:
    have, want = column.array.shape, tensor.shape
    what = f"Input `{tensor.name}` is {tensor.dtype}[{', '.join(map(str, want))}]"
    if len(have) != len(want):
        hint = " Add the axis of the samples in front: samples[np.newaxis]." if len(have) == len(want) - 1 else ""
        raise InputError(f"{what} ({len(want)} axes), but the samples have shape {have} ({len(have)} axes).{hint}")
    for axis in range(1, len(want)):
        if isinstance(want[axis], int) and have[axis] != want[axis]:
            raise InputError(
                f"{what}, so axis {axis} must be {want[axis]}, but the samples have {have[axis]} there (shape {have})."
            )
