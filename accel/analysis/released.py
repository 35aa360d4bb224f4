"""Why did each batch go when it did? Read from the trace afterwards, so that nothing is written down while it runs."""

from __future__ import annotations

from typing import Literal

import numpy as np

from accel.measurement.trace import Trace

Reason = Literal["full", "held", "last", "free"]
REASONS: tuple[Reason, ...] = ("full", "held", "last", "free")
"""full: it held as many as the policy ever takes. held: the policy waited for its timer, or until somebody came whom it
then left for the next batch. last: nobody was to come any more. free: a worker was free and took who was there."""


def released(trace: Trace, largest: int) -> dict[Reason, int]:
    """How many batches went for which reason; where several hold, the first of `REASONS`.

    largest: the policy's own, or what the engine takes if that is less. Batches of the warm-up count, too.
    """
    ran = np.flatnonzero(trace.batch >= 0)
    if not len(ran):
        return dict.fromkeys(REASONS, 0)
    first = ran[np.unique(trace.batch[ran], return_index=True)[1]]
    full = trace.batch_size[first] >= largest
    held = np.zeros(len(first), np.bool_) if trace.held is None else trace.held[first] > 0
    last = trace.taken[first] >= trace.due.max()
    why = np.select([full, held, last], [0, 1, 2], 3)
    return dict(zip(REASONS, np.bincount(why, minlength=len(REASONS)).tolist(), strict=True))
