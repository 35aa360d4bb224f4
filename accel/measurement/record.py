"""What a run writes down while it goes, a row a batch, and how that becomes a Trace, a row a request."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from accel.measurement.trace import DROPPED, ERROR, OK, UNFINISHED, Int64, Trace
from accel.scenarios import Plan


class Record:
    """Columns by batch, in the order in which batches were taken; preallocated, so that nothing grows in the run.

    takes, taken, started, finished: size and times of each batch. failed: 1 where the engine raised. held: until when
    the policy held the batch back after its last request had come, 0 where it didn't.
    order: the requests in the order in which they were taken. As long as everybody is taken first come, first served,
    that is 0, 1, 2, ... and isn't written down: only from `in_row` on is it. dropped: by request, when the policy gave
    it up, 0 where it didn't.
    """

    def __init__(self, n: int) -> None:
        self.takes, self.taken, self.started, self.finished = (array("q", bytes(8 * n)) for _ in range(4))
        # Zeroed by the kernel when first touched: they take no memory until a policy drops, picks or holds back.
        # numpy calls its items "l", `array` "q": a slice of one isn't taken for the other.
        self.order, self.dropped, self.held = (np.zeros(n, np.int64).data.cast("B").cast("q") for _ in range(3))
        self.failed = memoryview(np.zeros(n, np.int8).data)
        self.in_row: int | None = None
        self._out = 0

    def leave_row(self, taken: int) -> None:
        """From here on requests aren't taken one after another: so many were."""
        if self.in_row is None:
            self.in_row = self._out = taken

    def take(self, requests: Sequence[int]) -> None:
        """Write down who was taken; only after `leave_row`."""
        until = self._out + len(requests)
        self.order[self._out : until] = array("q", requests)
        self._out = until

    def trace(self, plan: Plan, due: Sequence[int], *, seen: int, batches: int, base: int) -> Trace:
        """One row a request: all of a whole plan, or those of the first `seen` that were taken or dropped.

        due: when each became due; batches: how many were taken; base: when the run began, which becomes 0.
        """
        count = len(plan.sample_ids) if plan.limit_ns is None else seen
        takes = _column(self.takes, batches)
        order = self._order(int(takes.sum()))

        def spread(values: Int64, rest: int) -> Int64:
            full = np.full(count, rest, np.int64)
            full[order] = np.repeat(values, takes)
            return full

        failed, held = _column(self.failed, batches), _column(self.held, batches)
        index = np.arange(count)
        counted = (index >= plan.warmup) & (index < len(plan.sample_ids) - plan.tail)
        dropped = _column(self.dropped, count)
        gone = dropped > 0
        taken, status = spread(_column(self.taken, batches) - base, -1), spread(np.where(failed, ERROR, OK), UNFINISHED)
        taken[gone], status[gone] = dropped[gone] - base, DROPPED
        trace = Trace(
            due=_column(due, count) - base,
            taken=taken,
            started=spread(_column(self.started, batches) - base, -1),
            finished=spread(_column(self.finished, batches) - base, -1),
            batch=spread(np.arange(batches), -1),
            batch_size=spread(takes, 0),
            sample=plan.sample_ids[:count].astype(np.int64),
            status=status,
            warmup=(~counted).astype(np.int64),
            held=spread(np.where(held > 0, held - base, 0), 0) if held.any() else None,
        )
        return trace if plan.limit_ns is None else trace.where(status != UNFINISHED)

    def _order(self, taken: int) -> Int64:
        if self.in_row is None:
            return np.arange(taken)
        order = _column(self.order, taken)
        order[: self.in_row] = np.arange(self.in_row)
        return order


def _column(values: Sequence[int] | memoryview, count: int) -> Int64:
    return np.array(values[:count], np.int64)
