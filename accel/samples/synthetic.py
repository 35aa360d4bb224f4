"""Seeded inputs from a signature, for a model that came without samples; always labelled `synthetic`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import InputError
from accel.model.types import Signature, Tensor

COUNT = 64
VOCABULARY = 1000
FREE_AXIS = 64
"""Length of an axis that may vary; images get IMAGE_AXIS instead."""
IMAGE_AXIS = 224


def synthetic(
    signature: Signature, *, count: int, seed: int, vocabulary: Mapping[str, int] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """(count, ...) arrays: token ids in [0, vocabulary), masks of ones, floats from N(0, 1) clipped to [-3, 3].

    An axis with a name gets FREE_AXIS (axes of the same name the same length), the last two axes of a 4-D input
    IMAGE_AXIS. Raises InputError for a dtype that can't be made up.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 7])))
    return {t.name: _made_up(t, count, rng, (vocabulary or {}).get(t.name, VOCABULARY)) for t in signature.inputs}


def _made_up(tensor: Tensor, count: int, rng: np.random.Generator, vocabulary: int) -> npt.NDArray[Any]:
    shape = (count, *(example_length(tensor, axis) for axis in range(1, len(tensor.shape))))
    dtype, name = np.dtype(tensor.dtype), tensor.name.lower()
    if dtype.kind == "f":
        return np.clip(rng.standard_normal(shape, np.float32), -3, 3).astype(dtype)
    if dtype.kind == "b" or (dtype.kind in "iu" and "mask" in name):
        return np.ones(shape, dtype)
    if dtype.kind in "iu":
        if "type_id" in name or "segment" in name:
            return np.zeros(shape, dtype)
        if "position" in name:
            return np.broadcast_to(np.arange(shape[-1], dtype=dtype), shape).copy()
        high = 256 if dtype.itemsize == 1 else vocabulary
        return rng.integers(0, min(high, np.iinfo(dtype).max), shape).astype(dtype)
    raise InputError(f"Inputs of dtype {tensor.dtype} can't be made up for `{tensor.name}`. Give samples.")


def example_length(tensor: Tensor, axis: int) -> int:
    """How long an axis is made in synthetic inputs."""
    given = tensor.shape[axis]
    if isinstance(given, int):
        return given
    return IMAGE_AXIS if len(tensor.shape) == 4 and axis >= 2 else FREE_AXIS
