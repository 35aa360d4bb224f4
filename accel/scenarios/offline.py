"""Everything is there at the start: how many items per second does a batch job get through?"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import numpy as np

from accel.scenarios import Plan, sample_order

_MANY = 200_000


class Offline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All samples are due at time 0; metric: counted items / (last finish - 0) (rule 28; MLPerf's Offline).

    samples: how many; None: as many as `duration_s` takes, in whole batches (the last batch begins before its end).
    """

    latency: ClassVar[str] = "from schedule"
    samples: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def plan(self, pool_size: int, *, seed: int, trial: int, duration_s: float) -> Plan:
        """Every due time is 0; without `samples` the time limit ends the run."""
        n = self.samples or _MANY
        return Plan(
            due_ns=np.zeros(n, np.int64),
            sample_ids=sample_order(n, pool_size, seed=seed, trial=trial),
            limit_ns=None if self.samples else round(duration_s * 1e9),
        )
