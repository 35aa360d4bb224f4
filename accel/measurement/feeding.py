"""How requests become one engine call, and its outputs rows again: stacking, padding to the engine's sizes, cutting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Engine
from accel.errors import VariantError

Inputs = Mapping[str, npt.NDArray[Any]]


class InstanceLost(VariantError):
    """An engine's process is gone: whatever follows can't be answered, so the run ends with this reason."""


class Pool(Protocol):
    """Where inputs come from, in memory before anything is timed. `Samples` is one.

    lengths (optional, none if absent): input -> (count,) real length along its ragged axis.
    """

    @property
    def count(self) -> int: ...

    def row(self, i: int) -> Inputs: ...

    def batch(self, ids: Sequence[int]) -> Inputs: ...


def lengths_of(pool: Pool) -> npt.NDArray[np.int64] | None:
    """(count,) how long each sample is: its longest ragged input; None if nothing varies in length."""
    lengths = getattr(pool, "lengths", None)
    if not lengths:
        return None
    longest: npt.NDArray[np.int64] = np.maximum.reduce([np.asarray(length, np.int64) for length in lengths.values()])
    return longest


class Feed:
    """One engine and its pool.

    rows: per sample the ready input of a batch of one. alone: True if the engine takes those as they are.
    cap: the largest batch the engine takes; None means any.
    lengths: (count,) length of each sample, which is what it costs in a padded batch; None where samples have none.
    """

    lengths: npt.NDArray[np.int64] | None = None

    def __init__(self, engine: Engine, pool: Pool) -> None:
        self.run = engine.run
        self.engine = engine
        self.rows = [pool.row(i) for i in range(pool.count)]
        self.lengths = lengths_of(pool)
        self._stack = pool.batch
        self._sizes = engine.sizes
        self.alone = engine.sizes is None or engine.sizes[0] == 1
        self.cap = engine.sizes[-1] if engine.sizes else None

    def enter(self) -> None:
        """Called by each worker of this engine, in its own thread, before its first request."""

    def keep(self, outputs: Arrays) -> Arrays:
        """The outputs of the call that just ended, for after the run; called by the worker that made that call."""
        return outputs

    def collect(self) -> None:
        """Bring what was kept, where it isn't here already; called after the run."""

    def padded(self, n: int) -> int:
        """The batch size that really runs for `n` requests.

        Raises VariantError if the engine has no size that large.
        """
        if self._sizes is None:
            return n
        for size in self._sizes:
            if size >= n:
                return size
        raise VariantError(
            f"a batch of {n} was asked for, but the model takes at most {self._sizes[-1]}",
            f"Use a batch of {self._sizes[-1]} or build the model with a dynamic batch.",
        )

    def stacked(self, ids: Sequence[int]) -> Inputs:
        """The inputs of a batch of the samples `ids`."""
        return self._stack(ids)

    def call(self, ids: Sequence[int]) -> Arrays:
        """Run the samples `ids` together; the outputs' axis 0 is as long as `ids`.

        Missing rows are filled with the last one, whose cost is that of a real request.
        """
        n = len(ids)
        if n == 1 and self.alone:
            return self.run(self.rows[ids[0]])
        size = self.padded(n)
        if size == n:
            return self.run(self._stack(ids))
        outputs = self.run(self._stack([*ids, *[ids[-1]] * (size - n)]))
        return {name: value[:n] for name, value in outputs.items()}
