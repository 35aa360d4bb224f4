"""How requests arrive. One file a scenario; a scenario knows no model and no clock.

A scenario turns a seed into a plan that is fixed before the run: due times for open scenarios, or a number of
outstanding requests for closed ones.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """When each request is due and which sample it carries; fixed before the run.

    due_ns: (n,) offsets from the start of the run, ascending; None for a closed scenario, whose requests become
        due when an earlier one completes.
    sample_ids: (n,) index into the pool for each request.
    outstanding: for a closed scenario, how many requests are in flight at once.
    warmup: the first `warmup` requests are marked and shown, not counted.
    tail: the last `tail` requests are marked and shown, not counted: they keep up the load while the last counted
        ones are served (rule 13).
    limit_ns: no request is taken later than this after the first counted one became due; those never taken don't
        appear in the trace. None runs the whole plan.
    gap_ns: for a closed scenario, the pause between an answer and the next request, which is due at its end.
    lengths: (n,) how long each request should be, as recorded: it carries the sample that is nearest in length.
    notes: what a reader of the results has to know about this schedule, in sentences.
    """

    due_ns: Int64 | None
    sample_ids: Int64
    outstanding: int = 1
    warmup: int = 0
    tail: int = 0
    limit_ns: int | None = None
    gap_ns: int = 0
    lengths: Int64 | None = None
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of the schedule, so that two runs can be shown to have had the same one.

        Due times and sample order; for a closed scenario also how many are in flight and the pause, unless these are
        those of one request after another.
        """
        digest = hashlib.sha256()
        if self.due_ns is not None:
            digest.update(np.ascontiguousarray(self.due_ns, "<i8").tobytes())
        elif (self.outstanding, self.gap_ns) != (1, 0):
            digest.update(np.array([self.outstanding, self.gap_ns], "<i8").tobytes())
        digest.update(np.ascontiguousarray(self.sample_ids, "<i8").tobytes())
        return digest.hexdigest()


class Scenario(Protocol):
    """The contract of a scenario.

    `latency` says what a latency of this scenario is: "from schedule" or "closed loop".
    `plan` is for a pool of `pool_size` samples; `duration_s` is the counted part. Same seed and trial: same plan.
    """

    latency: ClassVar[str]

    def plan(self, pool_size: int, *, seed: int, trial: int, duration_s: float) -> Plan: ...


def generator(root: int, stream: int, trial: int) -> np.random.Generator:
    """The only source of randomness (rule 6).

    Streams: 1 schedule, 2 sample order, 3 candidate order, 4 bootstrap, 5 which timed outputs are checked.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([root, stream, trial])))


def sample_order(n: int, pool_size: int, *, seed: int, trial: int) -> Int64:
    """(n,) sample ids: seeded permutations of the pool, one after another, so that inputs repeat late."""
    rng = generator(seed, 2, trial)
    rounds = -(-n // pool_size)
    order = np.concatenate([rng.permutation(pool_size) for _ in range(rounds)]) if rounds else np.empty(0)
    return order[:n].astype(np.int64)
