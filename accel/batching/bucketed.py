"""Who is about as long goes together, so that little is padding: for texts, audio and lines of differing length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np

from accel.batching import Decision, Waiting, taking

_MOST = 4096


class Bucketed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A free worker takes the oldest request, and with it those nearest in length among the first `window`.

    tokens: what a batch may come to with its padding, longest times count; 0: no limit (Text Embeddings Inference
    limits the same product). padding: the share of that which may be padding; so two requests of very different length
    go one after the other where nobody in between waits. Both give way only to a lone request, which always may go.
    The oldest is always in the batch, so nobody is passed over for ever. In batch mode, where everything waits from
    the start, this sorts by length within the window. Requests without lengths are taken as `dynamic` would.

    >>> Bucketed(max_size=2).decide(Waiting.of(due_ns=[0, 1, 2], costs=[30, 9, 28]), now_ns=9).pick
    (0, 2)
    """

    max_size: Annotated[int, msgspec.Meta(ge=1)] = 16
    tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    window: Annotated[int, msgspec.Meta(ge=1, le=_MOST)] = 256
    padding: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.25

    @property
    def largest(self) -> int:
        """The cap on a batch."""
        return self.max_size

    def decide(self, waiting: Waiting, now_ns: int) -> Decision:
        """The oldest and its neighbours in length."""
        seen = min(waiting.count, self.window)
        if waiting.costs is None or seen == 1:
            return taking(min(seen, self.max_size))
        costs, place = np.array(waiting.first_costs(seen)), np.arange(seen)
        shorter = costs < costs[0]
        # By length, and of equal ones the older nearer to the oldest of all.
        order = np.argsort(costs * _MOST + np.where(shorter, _MOST - 1 - place, place))
        low, high = self._around(int(shorter.sum()), costs[order].tolist())
        if high - low == 1:
            return taking(1)
        return Decision(high - low, pick=tuple(sorted(order[low:high].tolist())))

    def _around(self, at: int, costs: Sequence[int]) -> tuple[int, int]:
        """From where to where (end excluded) the batch around `at` goes; costs ascending.

        It grows by whoever is nearest to `at` in length, to either side until somebody there doesn't fit.
        """
        low, high, total, shorter, longer = at, at + 1, costs[at], True, True
        while high - low < self.max_size:
            shorter, longer = shorter and low > 0, longer and high < len(costs)
            if not (shorter or longer):
                break
            up = longer and (not shorter or costs[high] - costs[at] < costs[at] - costs[low - 1])
            longest, added = (costs[high], costs[high]) if up else (costs[high - 1], costs[low - 1])
            if self._fits(high - low + 1, longest, total + added):
                low, high, total = (low, high + 1, total + added) if up else (low - 1, high, total + added)
            elif up:
                longer = False
            else:
                shorter = False
        return low, high

    def _fits(self, count: int, longest: int, total: int) -> bool:
        padded = count * longest
        return (not self.tokens or padded <= self.tokens) and padded - total <= self.padding * padded
