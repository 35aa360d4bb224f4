"""Strategy 3: who waits for whom. One file a policy.

A policy decides once per free worker what to take from the requests that are already due. It knows no model and no
clock but the `now_ns` it is handed, so the object that was measured is the one a server runs later.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Waiting(msgspec.Struct, kw_only=True):
    """The due requests a policy may see, oldest first. Reused by the loop between calls: read it, don't keep it."""

    count: int = 0
    idle_workers: int = 1
    draining: bool = False
    """True once no further request will ever arrive."""
    oldest_due_ns: int = 0

    @classmethod
    def of(cls, due_ns: list[int], *, idle_workers: int = 1, draining: bool = False) -> Waiting:
        """Build one for a test or an example.

        >>> Waiting.of(due_ns=[3, 9]).count
        2
        """
        return cls(
            count=len(due_ns),
            idle_workers=idle_workers,
            draining=draining,
            oldest_due_ns=due_ns[0] if due_ns else 0,
        )


class Decision(msgspec.Struct, frozen=True):
    """Take the oldest `take` requests; or, with take 0, ask again at `recheck_ns` or at the next arrival."""

    take: int
    recheck_ns: int | None = None


_DECISIONS = tuple(Decision(n) for n in range(257))


def taking(n: int) -> Decision:
    """`Decision(n)` without making one: a policy is asked once a batch, inside what is measured.

    >>> taking(3) is taking(3)
    True
    """
    return _DECISIONS[n] if n < 257 else Decision(n)


class Batcher(Protocol):
    """The contract of a batching policy.

    `largest` is the biggest batch it ever takes; `decide` is called with at least one due request.
    """

    @property
    def largest(self) -> int: ...

    def decide(self, waiting: Waiting, now_ns: int) -> Decision: ...
