"""A fixed number of clients, each asking again when it is answered: how much gets through, and at what latency?"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from accel.scenarios import Plan, sample_order


class ClosedLoop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Closed loop with `k` requests outstanding; metric: throughput, and latency that is no user's (rule 1).

    The load waits for the server: while it stalls nobody asks, so its latency always carries the words "closed loop"
    and is never compared with one from schedule. One worker without batching serves a queue of k; a dynamic batcher
    forms batches of up to k.

    limit: the run ends after `duration_s` or after this many counted requests, whichever comes first.
    warmup: so many requests at the start are shown, not counted: by then the k are spread as they stay.
    """

    latency: ClassVar[str] = "closed loop"
    k: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 4
    limit: Annotated[int, msgspec.Meta(ge=1)] = 200_000
    warmup: Annotated[int, msgspec.Meta(ge=0)] = 20

    def plan(self, pool_size: int, *, seed: int, trial: int, duration_s: float) -> Plan:
        """No due times: k requests are due at the start, and one more whenever one is answered."""
        n = self.limit + self.warmup
        return Plan(
            due_ns=None,
            sample_ids=sample_order(n, pool_size, seed=seed, trial=trial),
            outstanding=min(self.k, n),
            warmup=self.warmup,
            limit_ns=round(duration_s * 1e9),
        )
