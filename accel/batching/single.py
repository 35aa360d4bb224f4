"""Nobody waits: a free worker takes one due request at a time."""

from __future__ import annotations

import msgspec

from accel.batching import Decision, Waiting, taking


class Single(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The policy of a server without batching; the yardstick for the others.

    >>> Single().decide(Waiting.of(due_ns=[0, 5]), now_ns=9).take
    1
    """

    @property
    def largest(self) -> int:
        """Always one."""
        return 1

    def decide(self, waiting: Waiting, now_ns: int) -> Decision:
        """Take the oldest due request."""
        return _ONE


_ONE = taking(1)
