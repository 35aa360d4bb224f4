"""Everybody waits until the batch is full: the policy of batch jobs."""

from __future__ import annotations

from typing import Annotated

import msgspec

from accel.batching import Decision, Waiting, taking


class Fixed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Takes exactly `size` requests; a smaller batch only when no further request will ever arrive.

    >>> Fixed(size=4).decide(Waiting.of(due_ns=[0, 5]), now_ns=9).take
    0
    >>> Fixed(size=4).decide(Waiting.of(due_ns=[0, 5], draining=True), now_ns=9).take
    2
    """

    size: Annotated[int, msgspec.Meta(ge=1)] = 8

    @property
    def largest(self) -> int:
        """The size itself."""
        return self.size

    def decide(self, waiting: Waiting, now_ns: int) -> Decision:
        """Take a full batch, or wait for one."""
        if waiting.count >= self.size:
            return taking(self.size)
        return taking(waiting.count if waiting.draining else 0)
