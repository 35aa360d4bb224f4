"""Strategy 3: who waits for whom. One file a policy.

A policy decides once per free worker what to take from the requests that are already due. It knows no model and no
clock but the `now_ns` it is handed, so the object that was measured is the one a server runs later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec


@dataclass(slots=True, kw_only=True)  # set before each decision, inside what is measured: twice as fast as a Struct
class Waiting:
    """The due requests a policy may see, oldest first. Reused by the loop between calls: read it, don't keep it.

    idle_workers: how many workers are free, the one that asks among them. since_ns: when that one became free.
    draining: True once no further request will ever arrive.
    The rest is how the loop says who waits without copying anything: `due_ns` and `cost` read it. dues, costs: by
    request; costs is None where requests have no lengths. Waiting are `loose` (passed over by a policy that picked
    others) and then the requests from `head` on.
    """

    count: int = 0
    idle_workers: int = 1
    draining: bool = False
    oldest_due_ns: int = 0
    since_ns: int = 0
    dues: Sequence[int] = ()
    costs: Sequence[int] | None = None
    head: int = 0
    loose: Sequence[int] = ()

    def due_ns(self, i: int) -> int:
        """When the i-th oldest became due."""
        return self.dues[self._request(i)] if len(self.dues) else self.oldest_due_ns

    def cost(self, i: int) -> int:
        """The length of the i-th oldest, in tokens or whatever its inputs are long in; 1 without lengths."""
        return 1 if self.costs is None else self.costs[self._request(i)]

    def first_costs(self, count: int) -> list[int]:
        """`cost` of the `count` oldest, in one go."""
        if self.costs is None:
            return [1] * count
        loose = [self.costs[request] for request in self.loose[:count]]
        return [*loose, *self.costs[self.head : self.head + count - len(loose)]]

    def _request(self, i: int) -> int:
        passed_over = len(self.loose)
        return self.loose[i] if i < passed_over else self.head + i - passed_over

    @classmethod
    def of(
        cls,
        due_ns: Sequence[int],
        *,
        costs: Sequence[int] | None = None,
        idle_workers: int = 1,
        draining: bool = False,
        since_ns: int = 0,
    ) -> Waiting:
        """Build one for a test or an example.

        >>> Waiting.of(due_ns=[3, 9], costs=[12, 7]).cost(1)
        7
        """
        return cls(
            count=len(due_ns),
            idle_workers=idle_workers,
            draining=draining,
            oldest_due_ns=due_ns[0] if due_ns else 0,
            since_ns=since_ns,
            dues=tuple(due_ns),
            costs=None if costs is None else tuple(costs),
        )


class Decision(msgspec.Struct, frozen=True):
    """What becomes of the requests that wait.

    The oldest `drop` are given up (their answer would come too late); of the rest `take` are taken, the oldest, or
    those at the positions `pick` (as many, ascending, counted among all that wait, dropped ones not among them). With
    take 0 the policy is asked again: at once if it dropped somebody, else at `recheck_ns` (after now) or at the next
    arrival, whichever is first.
    """

    take: int
    recheck_ns: int | None = None
    drop: int = 0
    pick: tuple[int, ...] | None = None


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
