"""Which samples a quantizer looks at, in batches the model takes, and what was noticed about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from accel.compilation import Arrays
from accel.errors import VariantError
from accel.result import Calibrated

if TYPE_CHECKING:
    from accel.model import Model
    from accel.samples import Samples

LARGEST_BATCH = 8
FEW = 32
"""Below this, one unusual item decides a range; the toolchains' own advice is 100 to 300."""


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

    def seen(self, unused: Iterable[str] = ()) -> Calibrated:
        """What there is to say about it. unused: tensors whose range holds a single value."""
        return Calibrated(items=self.items, constant=self._constant(), unused=tuple(unused), few=self.items < FEW)

    def _constant(self) -> tuple[str, ...]:
        """Inputs that were the same in every item; with one item nothing can be told."""
        if self.items < 2:
            return ()
        first = {name: value[:1] for name, value in self[0].items()}
        left = dict(first)
        for batch in self:
            left = {name: value for name, value in left.items() if _same(batch[name], value)}
            if not left:
                break
        return tuple(left)


def _same(rows: Any, row: Any) -> bool:
    """True if all rows equal the one; of another length if both hold a single value alone (all zeros, say)."""
    if rows.shape[1:] == row.shape[1:]:
        return bool((rows == row).all())
    return bool(row.size and (rows == row.flat[0]).all() and (row == row.flat[0]).all())
