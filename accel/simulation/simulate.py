"""What would a policy do with these requests? The loop's decisions on a virtual clock: thousands of requests in tens
of milliseconds, nothing measured but the service times that go in.

The policy object is the one that a run or a server would have, and it is asked just as the loop asks it (a test holds
both to the same batches, drops and times). Workers are taken not to slow each other down, and deciding takes no time.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from accel.analysis.percentiles import quantile
from accel.batching import Batcher, Waiting
from accel.errors import InputError, VariantError
from accel.scenarios import Plan, generator
from accel.simulation.service_times import Service, ServiceTimes

Int64 = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


class Simulated(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What became of each request; times in ns since the start.

    due, taken, finished: (n,); taken says when it was taken or dropped; finished is -1 for a dropped one.
    batch: (n,) which batch it was in, -1 for a dropped one. counted: (n,) what a plan doesn't mark as lead or tail.
    start, service, size: (m,) by batch, in the order in which batches were taken.
    """

    due: Int64
    taken: Int64
    finished: Int64
    batch: Int64
    counted: npt.NDArray[np.bool_]
    start: Int64
    service: Int64
    size: Int64
    workers: int

    @property
    def latency_s(self) -> Float:
        """(n',) latency from schedule of the counted requests in seconds; inf for a dropped one."""
        waited = np.where(self.batch >= 0, (self.finished - self.due) * 1e-9, np.inf)
        counted: Float = waited[self.counted]
        return counted

    def quantile_s(self, p: float) -> float:
        """The p-quantile of latency from schedule in seconds, an observed value; dropped ones are infinitely late."""
        return quantile(self.latency_s, p)

    @property
    def dropped(self) -> float:
        """The share of the counted requests that were given up."""
        return float(np.mean(self.batch[self.counted] < 0))

    @property
    def busy(self) -> float:
        """The share of the workers' time, from the first request to the last answer, in which a batch ran."""
        span = int(self.finished.max(initial=0)) - int(self.due[0])
        return float(self.service.sum()) / (self.workers * span) if span > 0 else 0.0

    def goodput(self, slo_s: float) -> float:
        """Requests a second that were scheduled in the counted time (n mean gaps) and answered within `slo_s`."""
        due = self.due[self.counted]
        window_s = float(due[-1] - due[0]) * 1e-9 * len(due) / max(len(due) - 1, 1)
        return float(np.count_nonzero(self.latency_s <= slo_s)) / window_s if window_s > 0 else 0.0


def simulate(
    arrivals: Plan | Int64,
    batcher: Batcher,
    times: ServiceTimes | Service,
    *,
    workers: int = 1,
    costs: Sequence[int] | None = None,
    seed: int = 0,
) -> Simulated:
    """Let a policy answer `arrivals`: an open plan, or due times in ns, ascending.

    times: what was measured, to be drawn from (then no batch is larger than what was measured), or a function.
    costs: each request's length, where it has one. Raises InputError for a closed plan or none at all, VariantError if
    the policy never takes what waits.
    """
    due, counted = _arrivals(arrivals)
    n = len(due)
    cap = times.largest if isinstance(times, ServiceTimes) else n
    service = times.drawn(n, generator(seed, 2, 0)) if isinstance(times, ServiceTimes) else times
    queue = _Queue(due.tolist(), costs, batcher, cap)
    batch, taken = [-1] * n, [0] * n
    starts, services, sizes = list[int](), list[int](), list[int]()
    free, now = [0] * workers, 0
    while True:
        since = heapq.heappop(free)
        found = queue.next(since, max(since, now), free)
        for request, at in queue.given_up:
            taken[request] = at
        queue.given_up.clear()
        if found is None:
            break
        now, requests = found
        takes = service(requests, 1 if costs is None else max(costs[r] for r in requests))
        for request in requests:
            batch[request], taken[request] = len(starts), now
        starts.append(now)
        services.append(takes)
        sizes.append(len(requests))
        heapq.heappush(free, now + takes)
    which, start, takes_ns = np.array(batch, np.int64), np.array(starts, np.int64), np.array(services, np.int64)
    ended = np.append(start + takes_ns, -1)
    return Simulated(
        due=due,
        taken=np.array(taken, np.int64),
        finished=ended[which],
        batch=which,
        counted=counted,
        start=start,
        service=takes_ns,
        size=np.array(sizes, np.int64),
        workers=workers,
    )


def _arrivals(given: Plan | Int64) -> tuple[Int64, npt.NDArray[np.bool_]]:
    if not isinstance(given, Plan):
        due = np.asarray(given, np.int64)
        counted = np.ones(len(due), np.bool_)
    elif given.due_ns is None:
        raise InputError("Requests that wait for answers can't be simulated. Use a scenario with due times: server.")
    else:
        due, index = given.due_ns, np.arange(len(given.due_ns))
        counted = (index >= given.warmup) & (index < len(index) - given.tail)
    if not counted.any():
        raise InputError("A simulation needs at least one request.")
    return due, counted


class _Queue:
    """Who waits, as the policy sees it: those passed over (`loose`), then everybody due from `head` on."""

    def __init__(self, due: list[int], costs: Sequence[int] | None, batcher: Batcher, cap: int) -> None:
        self._due, self._n, self._decide, self._cap = due, len(due), batcher.decide, cap
        self._waiting = Waiting(dues=due, costs=costs)
        self._head = self._arrived = 0
        self._loose: list[int] = []
        self.given_up: list[tuple[int, int]] = []
        """(request, when) of those dropped since somebody last looked."""

    def next(self, since: int, now: int, others: list[int]) -> tuple[int, Sequence[int]] | None:
        """When a worker that is free since `since` takes something, and what; None once nobody is left.

        others: when the other workers are free.
        """
        while True:
            if not self._loose and self._head >= self._arrived:
                if self._head == self._n:
                    return None
                now = max(now, self._due[self._head])
            waiting = self._look(since, now, others)
            decision = self._decide(waiting, now)
            gone = min(decision.drop, waiting.count)
            take = min(decision.take, waiting.count - gone)
            picked = None
            if take > 0 and decision.pick is not None:
                picked = [self._request(i) for i in decision.pick[:take]]
            self._drop(gone, now)
            if take > 0:
                return now, self._take(min(take, self._cap), picked)
            if not gone:
                now = self._later(now, decision.recheck_ns)

    def _look(self, since: int, now: int, others: list[int]) -> Waiting:
        due, waiting, loose = self._due, self._waiting, self._loose
        if self._arrived < self._n and due[self._arrived] <= now:
            self._arrived = bisect_right(due, now, self._arrived)
        waiting.count = len(loose) + self._arrived - self._head
        waiting.head, waiting.loose = self._head, loose
        waiting.oldest_due_ns = due[loose[0] if loose else self._head]
        waiting.draining = self._arrived == self._n
        waiting.since_ns = since
        if others:
            waiting.idle_workers = 1 + sum(free <= now for free in others)
        return waiting

    def _later(self, now: int, recheck: int | None) -> int:
        """When the policy is asked again: at its wish or at the next arrival."""
        times = [] if recheck is None or recheck <= now else [recheck]
        if self._arrived < self._n:
            times.append(self._due[self._arrived])
        if times:
            return min(times)
        raise VariantError(
            f"the batching policy takes none of the last {self._waiting.count} requests, and no further one will come",
            "Use a smaller batch size than there are requests at once.",
        )

    def _request(self, i: int) -> int:
        return self._loose[i] if i < len(self._loose) else self._head + i - len(self._loose)

    def _drop(self, count: int, now: int) -> None:
        if count:
            self.given_up += [(request, now) for request in self._oldest(count)]

    def _take(self, count: int, picked: list[int] | None) -> Sequence[int]:
        if picked is None:
            return self._oldest(count)
        picked = picked[:count]
        chosen, head = set(picked), max(self._head, picked[-1] + 1)
        self._loose = [r for r in (*self._loose, *range(self._head, head)) if r not in chosen]
        self._head = head
        return picked

    def _oldest(self, count: int) -> Sequence[int]:
        """Take the `count` oldest out of the queue."""
        if not self._loose:
            self._head += count
            return range(self._head - count, self._head)
        passed_over, rest = self._loose[:count], max(0, count - len(self._loose))
        self._loose = self._loose[count:]
        self._head += rest
        return [*passed_over, *range(self._head - rest, self._head)]
