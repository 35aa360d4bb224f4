"""From items that may differ in length to one padded array per input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]


class Column(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One input of all items: (N, ...) array; where items differ in length, along which axis of the item, and how long.

    padding: what fills (or would fill) the rest of a shorter item.
    """

    array: Array
    axis: int | None = None
    lengths: Int64 | None = None
    padding: float = 0.0


def as_array(value: object, what: str) -> Array:
    """A plain numeric, bool or text array of anything array-like (a torch tensor too, without importing torch).

    Raises InputError for objects that are no numbers.
    """
    detach = getattr(value, "detach", None)
    try:
        array = np.asarray(detach().cpu() if callable(detach) else value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{what} can't be read as an array: {error}.") from None
    if array.dtype.kind not in "biufUc":
        raise InputError(
            f"{what} holds Python objects (dtype {array.dtype}), but samples must be arrays of numbers. "
            "Convert it with `np.asarray(..., dtype=...)`."
        )
    return array


def column(name: str, items: Sequence[object] | Array, padding: float) -> Column:
    """Stack the items of one input; where they differ in exactly one axis, pad that axis at its end.

    Raises InputError where they differ in more than one axis, in rank or in dtype.
    """
    if isinstance(items, np.ndarray) or hasattr(items, "detach"):
        array = as_array(items, f"The samples of input `{name}`")
        if array.ndim == 0:
            raise InputError(f"The samples of input `{name}` are one number; give an array with the samples on axis 0.")
        return Column(array=array)
    arrays = [as_array(item, f"Sample {i} of input `{name}`") for i, item in enumerate(items)]
    if not arrays:
        return Column(array=np.empty((0,), np.float32))
    return _stacked(name, arrays, padding)


def _stacked(name: str, arrays: list[Array], padding: float) -> Column:
    first = arrays[0]
    for i, array in enumerate(arrays):
        if array.ndim != first.ndim:
            raise InputError(
                f"The samples of input `{name}` must all have as many axes as the first ({first.ndim}), "
                f"but sample {i} has shape {array.shape}."
            )
    shapes = np.array([a.shape for a in arrays]).reshape(len(arrays), first.ndim)
    differing = [axis for axis in range(first.ndim) if len(set(shapes[:, axis].tolist())) > 1]
    if not differing:
        return Column(array=np.stack(arrays))
    if len(differing) > 1:
        raise InputError(
            f"The samples of input `{name}` differ in {len(differing)} axes ({', '.join(map(str, differing))}), but "
            "only one axis may differ. Resize or pad them to one shape in the others."
        )
    axis = differing[0]
    lengths = shapes[:, axis].astype(np.int64)
    shape = list(first.shape)
    shape[axis] = int(lengths.max())
    padded = np.full((len(arrays), *shape), padding, np.result_type(*arrays))
    for i, array in enumerate(arrays):
        padded[i][tuple(slice(0, n) for n in array.shape)] = array
    return Column(array=padded, axis=axis, lengths=lengths, padding=padding)
