"""A batch is closed by size or timer before a worker is free: what Ray Serve does; here to show what that costs."""

from __future__ import annotations

from typing import Annotated

import msgspec

from accel.batching import Decision, Waiting, taking


class EarlyCommit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A batch closes `timeout_s` after its first request came, or with its `size`-th; then it waits for a worker.

    Whoever comes after it closed goes into the next one, even if no worker was free in between: batches can't grow
    under load.

    >>> policy = EarlyCommit(size=8, timeout_s=0.01)
    >>> policy.decide(Waiting.of(due_ns=[0, 5, 20_000_000]), now_ns=30_000_000).take
    2
    """

    size: Annotated[int, msgspec.Meta(ge=1)] = 10
    timeout_s: Annotated[float, msgspec.Meta(ge=0)] = 0.01

    @property
    def largest(self) -> int:
        """The size with which a batch closes."""
        return self.size

    def decide(self, waiting: Waiting, now_ns: int) -> Decision:
        """Take the oldest closed batch, or wait for it to close."""
        close = waiting.due_ns(0) + round(self.timeout_s * 1e9)
        most = min(waiting.count, self.size)
        within = next((i for i in range(most) if waiting.due_ns(i) > close), most)
        if within == self.size or now_ns >= close or waiting.draining:
            return taking(max(within, 1))
        return Decision(0, close)
