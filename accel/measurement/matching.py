"""Which sample stands for a recorded request? The one that is nearest to it in length."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from accel.scenarios import Plan

Int64 = npt.NDArray[np.int64]


def as_long(plan: Plan, pool: Int64, lengths: Int64 | None) -> tuple[Plan, Int64]:
    """The sample ids of a plan with recorded lengths: for each request one of those nearest to it in length.

    pool: ids that may be used. lengths: (count,) of every sample; None: they have none, which the plan's notes then
    say. Of several that are equally near the plan's own order chooses.
    """
    own: Int64 = pool[plan.sample_ids]
    assert plan.lengths is not None
    if lengths is None:
        note = "the recorded lengths were left out, since the samples are all of one length"
        return msgspec.structs.replace(plan, notes=(*plan.notes, note)), own
    known, members = np.unique(lengths[pool], return_inverse=True)
    right = np.clip(np.searchsorted(known, plan.lengths), 1, max(len(known) - 1, 1))
    nearer_left = plan.lengths - known[right - 1] <= known[np.minimum(right, len(known) - 1)] - plan.lengths
    nearest = np.where(nearer_left, right - 1, np.minimum(right, len(known) - 1))
    alike = [pool[members == group] for group in range(len(known))]
    ids = [alike[group][turn % len(alike[group])] for group, turn in zip(nearest, plan.sample_ids, strict=True)]
    return plan, np.array(ids, np.int64)
