"""One request at a time, the next when the one before is answered: latency without any queue."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from accel.scenarios import Plan, sample_order


class SingleStream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Closed loop with one request outstanding; metric: latency p50, p90, p99 (rule 1; MLPerf's SingleStream).

    limit: the run ends after `duration_s` or after this many counted requests, whichever comes first.
    warmup: so many requests at the start are shown, not counted: the loop itself has to get warm too.
    gap_s: pause between an answer and the next request, which is due at its end. A tight loop keeps threads awake and
        caches warm; users who come one by one don't (trap 33), and the pause shows what that costs.
    """

    latency: ClassVar[str] = "closed loop"
    limit: Annotated[int, msgspec.Meta(ge=1)] = 200_000
    warmup: Annotated[int, msgspec.Meta(ge=0)] = 5
    gap_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0

    def plan(self, pool_size: int, *, seed: int, trial: int, duration_s: float) -> Plan:
        """No due times: each request is due when the one before completes, or `gap_s` later."""
        return Plan(
            due_ns=None,
            sample_ids=sample_order(self.limit + self.warmup, pool_size, seed=seed, trial=trial),
            outstanding=1,
            warmup=self.warmup,
            limit_ns=round(duration_s * 1e9),
            gap_ns=round(self.gap_s * 1e9),
        )
