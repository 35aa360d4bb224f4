"""Nobody waits, and who is there together goes together: the policy of an online server."""

from __future__ import annotations

from typing import Annotated

import msgspec

from accel.batching import Decision, Waiting, taking


class Dynamic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Late binding: a free worker takes what is due, up to `max_size`; there is no timer.

    Under light load every request goes alone at once; under heavy load batches grow by themselves, because requests
    gather while the worker is busy. A timer would add its wait exactly when nobody else is there to share the batch.

    >>> Dynamic(max_size=16).decide(Waiting.of(due_ns=[0, 5, 7]), now_ns=9).take
    3
    """

    max_size: Annotated[int, msgspec.Meta(ge=1)] = 16

    @property
    def largest(self) -> int:
        """The cap on a batch."""
        return self.max_size

    def decide(self, waiting: Waiting, now_ns: int) -> Decision:
        """Take everything that is due, up to the cap."""
        count = waiting.count
        return taking(count if count < self.max_size else self.max_size)
