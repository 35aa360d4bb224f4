"""A free worker collects for a while before it starts: what LitServe does; here to show what the timer costs."""

from __future__ import annotations

from typing import Annotated

import msgspec

from accel.batching import Decision, Waiting, taking


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From the moment a worker is free and somebody waits, it collects for `timeout_s` or until `size` are there.

    >>> policy = Window(size=8, timeout_s=0.01)
    >>> policy.decide(Waiting.of(due_ns=[0, 5], since_ns=2), now_ns=9).recheck_ns
    10000002
    >>> policy.decide(Waiting.of(due_ns=[0, 5], since_ns=2), now_ns=10_000_002).take
    2
    """

    size: Annotated[int, msgspec.Meta(ge=1)] = 16
    timeout_s: Annotated[float, msgspec.Meta(ge=0)] = 0.01

    @property
    def largest(self) -> int:
        """The size at which nobody waits any longer."""
        return self.size

    def decide(self, waiting: Waiting, now_ns: int) -> Decision:
        """Take a full batch, or what is there when the time is up, or when nobody else will come."""
        if waiting.count >= self.size:
            return taking(self.size)
        begun = max(waiting.since_ns, waiting.oldest_due_ns)
        end = begun + round(self.timeout_s * 1e9)
        return taking(waiting.count) if waiting.draining or now_ns >= end else Decision(0, end)
