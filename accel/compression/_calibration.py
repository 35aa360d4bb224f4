"""Which samples a quantizer looks at, in batches the model takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from accel.compilation import Arrays
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.model import Model
    from accel.samples import Samples

LARGEST_BATCH = 8


class Calibration:
    """At most `count` of the given samples, spread evenly over them (they may lie sorted by class).

    Ragged samples come one by one, so that no padding enters a range; others in batches of up to `largest`; a model
    with a fixed batch gets full batches of that size. Raises VariantError if there are too few.
    """

    def __init__(self, model: Model, samples: Samples | None, count: int, *, largest: int = LARGEST_BATCH) -> None:
        available = 0 if samples is None else samples.count
        fixed = model.signature.batch
        self.batch = int(fixed) if fixed != "any" else (1 if samples is not None and samples.ragged else largest)
        if count < 1:
            raise VariantError(f"`count` must be at least 1, but is {count}.", "Leave `count` out.")
        self.items = min(count, available)
        if fixed == "any":
            self.batch = min(self.batch, max(1, self.items))
        if samples is None or self.items < self.batch or self.items == 0:
            raise VariantError(
                f"Quantizing needs at least {self.batch} calibration samples, but there are {available}.",
                "Give more samples, or use `quantize_dynamic`, which needs none.",
            )
        self._samples = samples
        self._ids = np.unique(np.linspace(0, available - 1, self.items).astype(np.int64))
        self.items = len(self._ids) // self.batch * self.batch if fixed != "any" else len(self._ids)

    def __len__(self) -> int:
        return -(-self.items // self.batch)

    def __getitem__(self, index: int) -> Arrays:
        """The index-th batch, as contiguous arrays of the model's input dtypes."""
        ids = self._ids[: self.items][index * self.batch : (index + 1) * self.batch]
        if not len(ids):
            raise IndexError(index)
        return {name: np.ascontiguousarray(value) for name, value in self._samples.batch(ids).items()}

    def __iter__(self) -> Iterator[Arrays]:
        return (self[i] for i in range(len(self)))
