"""Nobody waits, and who is there together goes together: the policy of an online server."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from accel.batching import Decision, Waiting, taking
from accel.batching._curve import Curve, check, service_ns


class Dynamic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Late binding: a free worker takes what is due, up to `target`; there is no timer.

    Under light load every request goes alone at once; under heavy load batches grow by themselves, because requests
    gather while the worker is busy. A timer would add its wait exactly when nobody else is there to share the batch.

    target: the size to aim at under load; 0 means `max_size`, which it never exceeds. slo_s: the time an answer is
    worth having; 0: none. curve: (batch size, seconds) as measured, ascending. `drop` and `defer` need both.
    drop: who is given up when not all can be answered in time:
        "none": nobody. "early": the oldest while a batch of `target` would be too late for it, but not while it could
        still be answered alone or in a smaller batch that takes everyone: shrinking the batch to save it would cost
        everybody behind it (Nexus, SOSP 2019, calls this early drop). "queue": the oldest while answering all that
        wait in one go would be too late for it (BentoML's rule). "age": whoever waited longer than slo_s less a full
        batch (Triton's queue timeout); where a full batch takes longer than slo_s, that is everybody.
    defer: wait for more requests as long as one more still lets the oldest be answered in time (Symphony, arXiv
        2308.07470). Only where several workers share the queue: what one gives away by waiting, another uses; a lone
        worker loses some of its capacity.

    >>> Dynamic(max_size=16).decide(Waiting.of(due_ns=[0, 5, 7]), now_ns=9).take
    3
    """

    max_size: Annotated[int, msgspec.Meta(ge=1)] = 16
    target: Annotated[int, msgspec.Meta(ge=0)] = 0
    slo_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    drop: Literal["none", "early", "queue", "age"] = "none"
    defer: bool = False
    curve: Curve = ()

    def __post_init__(self) -> None:
        """Raises ValueError if `drop` or `defer` can't be decided, or the curve isn't one."""
        check(self.curve)
        looks_ahead = "defer" if self.defer else f'drop = "{self.drop}"' if self.drop != "none" else ""
        if looks_ahead and not (self.slo_s and self.curve):
            raise ValueError(
                f"{looks_ahead} needs slo_s above 0 and a curve of (batch size, seconds), such as "
                "slo_s = 0.05, curve = [[1, 0.004], [16, 0.02]]"
            )

    @property
    def largest(self) -> int:
        """The cap on a batch."""
        return min(self.target, self.max_size) if self.target else self.max_size

    def decide(self, waiting: Waiting, now_ns: int) -> Decision:
        """Give up who can't be answered in time, then take everything that is due, up to the cap."""
        count, most = waiting.count, self.largest
        dropped = self._hopeless(waiting, now_ns) if self.drop != "none" else 0
        count -= dropped
        if self.defer and 0 < count < most and not waiting.draining:
            until = waiting.due_ns(dropped) + round(self.slo_s * 1e9) - service_ns(self.curve)(count + 1)
            if until > now_ns:
                return Decision(0, until, dropped)
        take = count if count < most else most
        return Decision(take, None, dropped) if dropped else taking(take)

    def _hopeless(self, waiting: Waiting, now: int) -> int:
        """How many of the oldest are given up."""
        count, most, takes, slo = waiting.count, self.largest, service_ns(self.curve), round(self.slo_s * 1e9)
        dropped = 0
        while dropped < count:
            left, spare = count - dropped, waiting.due_ns(dropped) + slo - now
            if self.drop == "early":
                keep = takes(min(left, most)) <= spare or (left < most and takes(1) <= spare)
            elif self.drop == "queue":
                keep = left == 1 or takes(left) < spare
            else:
                keep = takes(most) <= spare
            if keep:
                break
            dropped += 1
        return dropped
