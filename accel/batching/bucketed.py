"""Who is about as long goes together, so that little is padding: for texts, audio and lines of differing length."""

from __future__ import annotations

from typing import Annotated

import msgspec

from accel.batching import Decision, Waiting, taking


class Bucketed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A free worker takes the oldest request, and with it those nearest in length among the first `window`.

    tokens: what a batch may come to with its padding, longest times count; 0: no limit (Text Embeddings Inference
    limits the same product). The oldest is always in the batch, so nobody is passed over for ever. In batch mode,
    where everything waits from the start, this sorts by length within the window.

    >>> Bucketed(max_size=2).decide(Waiting.of(due_ns=[0, 1, 2], costs=[30, 9, 28]), now_ns=9).pick
    (0, 2)
    """

    max_size: Annotated[int, msgspec.Meta(ge=1)] = 16
    tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    window: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256

    @property
    def largest(self) -> int:
        """The cap on a batch."""
        return self.max_size

    def decide(self, waiting: Waiting, now_ns: int) -> Decision:
        """Grow a run of neighbours in length around the oldest, the nearest first, while the budget holds."""
        seen = min(waiting.count, self.window)
        if waiting.costs is None or seen == 1:
            return taking(min(seen, self.max_size))
        costs = [waiting.cost(i) for i in range(seen)]
        order = sorted(range(seen), key=costs.__getitem__)
        low = high = order.index(0)
        while high - low + 1 < min(self.max_size, seen):
            down = costs[0] - costs[order[low - 1]] if low else None
            up = costs[order[high + 1]] - costs[0] if high + 1 < seen else None
            longer = down is None or (up is not None and up < down)
            longest = costs[order[high + 1]] if longer else costs[order[high]]
            if self.tokens and longest * (high - low + 2) > self.tokens:
                # Longer ones cost the whole batch its padding; a shorter one may still fit in.
                if not longer or down is None or costs[order[high]] * (high - low + 2) > self.tokens:
                    break
                longer = False
            low, high = (low, high + 1) if longer else (low - 1, high)
        return Decision(high - low + 1, pick=tuple(sorted(order[low : high + 1])))
