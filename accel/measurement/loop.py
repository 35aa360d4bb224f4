"""The one loop: how a plan of requests goes through a batching policy into an engine, and what happened when.

It pulls: due times are fixed before the run, and a free worker takes what is already due, as the policy decides. No
dispatcher stands between schedule and worker, so nothing can delay an arrival and latency is finished - due, always.
"""

from __future__ import annotations

import gc
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from threading import Event, Lock, Thread
from typing import Any

import msgspec
import numpy as np

from accel.batching import Batcher, Waiting
from accel.compilation import Arrays
from accel.errors import VariantError
from accel.measurement.clock import Clock
from accel.measurement.feeding import Feed
from accel.measurement.trace import ERROR, OK, UNFINISHED, Int64, Trace
from accel.scenarios import Plan

LEAD_NS = 20_000_000
"""The start lies this far ahead, so that no first deadline is missed already."""
_GIVE_UP_AFTER = 20
_NEVER = 1 << 62


class Outcome(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a run left behind.

    captured: request -> (outputs of its batch, its row there), for the requests that were to be kept.
    errors: the first text of each kind of error. wall_ns: from the start to the last finish.
    """

    trace: Trace
    captured: dict[int, tuple[Arrays, int]]
    errors: tuple[str, ...]
    wall_ns: int


def run(
    plan: Plan,
    batcher: Batcher,
    feed: Feed,
    clock: Clock,
    *,
    workers: int = 1,
    drain_ns: int,
    capture: frozenset[int] = frozenset(),
) -> Outcome:
    """Run a plan. `drain_ns` after the last due time nothing more is taken; what is left is UNFINISHED.

    One worker runs in the calling thread, without any other thread. An exception of the engine marks its batch ERROR;
    after 20 in a row the run stops. Raises VariantError if the policy never takes what waits.
    """
    gc.collect()
    gc.freeze()
    try:
        state = _Run(plan, batcher, feed, clock, workers, drain_ns, capture)
        clock.wait_until(state.base)
        if workers == 1:
            state.work(0)
        else:
            state.work_together()
        return state.outcome()
    finally:
        gc.unfreeze()


class _Run:
    """State shared by the workers. Written under `lock`, but for what a worker writes about its own batch."""

    def __init__(
        self,
        plan: Plan,
        batcher: Batcher,
        feed: Feed,
        clock: Clock,
        workers: int,
        drain_ns: int,
        capture: frozenset[int],
    ) -> None:
        self.plan, self.batcher, self.feed, self.clock, self.capture = plan, batcher, feed, clock, capture
        self.n = n = len(plan.sample_ids)
        self.ids = array("q", plan.sample_ids.astype(np.int64).tobytes())
        # One entry a batch, in the order in which batches were taken; preallocated, so that nothing grows in the run.
        self.takes, self.taken, self.started, self.finished = (array("q", bytes(8 * n)) for _ in range(4))
        self.head = self.batches = self.arrived = self.issued = self.decided = self.failures = 0
        self.failed: set[int] = set()
        self.errors: dict[str, None] = {}
        self.captured: dict[int, tuple[Arrays, int]] = {}
        self.waiting = Waiting()
        self.workers = workers
        self.busy = [0] * workers
        self.lock, self.issuing, self.arrival = Lock(), Lock(), Event()
        self.crash: BaseException | None = None
        self.closed, self.gap = plan.due_ns is None, plan.gap_ns
        self.base = clock.now_ns() + LEAD_NS
        self.due: Sequence[int] = self._due()
        self.stop = self._stop(drain_ns)

    def _due(self) -> Sequence[int]:
        """Every due time that is known by now: `issued` of them, the first `arrived` of which have come."""
        if self.plan.due_ns is not None:
            self.issued = self.n
            due: list[int] = (self.plan.due_ns + self.base).tolist()
            return due
        column = array("q", bytes(8 * self.n))
        self.arrived = self.issued = min(self.plan.outstanding, self.n)
        column[: self.arrived] = array("q", [self.base] * self.arrived)
        return column

    def _stop(self, drain_ns: int) -> int:
        """From when on nothing is taken any more; for a closed plan with warm-up `issue` sets it."""
        limit, first = self.plan.limit_ns, min(self.plan.warmup, self.n - 1)
        if self.closed:
            return self.base + limit if limit is not None and first < self.arrived else _NEVER
        return self.due[-1] + drain_ns if limit is None else self.due[first] + limit

    def work(self, me: int) -> None:
        """One worker's life: lead (wait, decide, take), run, note, again."""
        now, lead, issue, lock, busy = self.clock.now_ns, self._lead, self._issue, self.lock, self.busy
        run, rows, call, alone = self.feed.run, self.feed.rows, self.feed.call, self.feed.alone
        ids, capture, closed, several = self.ids, self.capture, self.closed, self.workers > 1
        takes, taken_at, started_at, finished_at = self.takes, self.taken, self.started, self.finished
        t = now()
        while True:
            with lock:
                take = lead(now() if several else t)
                if not take:
                    return
                head, batch, taken = self.head, self.batches, self.decided
                self.head, self.batches = head + take, batch + 1
                busy[me] = 1
            started = now()
            try:
                outputs = run(rows[ids[head]]) if take == 1 and alone else call(ids[head : head + take])
                t = now()
                self.failures = 0
                if head in capture if take == 1 else not capture.isdisjoint(range(head, head + take)):
                    self._keep(outputs, head, take)
            except Exception as error:
                t = now()
                self._note(batch, error)
            takes[batch], taken_at[batch], started_at[batch], finished_at[batch] = take, taken, started, t
            busy[me] = 0
            if closed and several:
                self._issue_shared(take, t)
            elif closed:
                issue(take, t)

    def _lead(self, t: int) -> int:
        """One round of wait, decide, take, under the lock: how many requests to take; 0 at the end of the run."""
        waiting, due, n, head = self.waiting, self.due, self.n, self.head
        while head < n and t < self.stop and self.failures < _GIVE_UP_AFTER and self.crash is None:
            arrived, issued = self.arrived, self.issued
            if arrived < issued and due[arrived] <= t:
                arrived = self.arrived = bisect_right(due, t, arrived, issued)
            if arrived > head:
                waiting.count = arrived - head
                waiting.oldest_due_ns = due[head]
                waiting.draining = arrived == n
                if self.workers > 1:
                    waiting.idle_workers = self.workers - sum(self.busy)
                decision = self.batcher.decide(waiting, t)
                take = min(decision.take, arrived - head)
                if take > 0:
                    self.decided = t
                    cap = self.feed.cap
                    return take if cap is None or take <= cap else cap
                t = self._await(decision.recheck_ns)
            else:
                t = self._await(None)
        return 0

    def _await(self, recheck_ns: int | None) -> int:
        """Until the next arrival or `recheck_ns`; gives the time then."""
        times = [] if recheck_ns is None else [recheck_ns]
        if self.arrived < self.issued:
            times.append(self.due[self.arrived])
        if not times:
            if not (self.closed and any(self.busy)):
                raise self._stuck()
            self.arrival.wait()
            self.arrival.clear()
            return self.clock.now_ns()
        self.clock.wait_until(min(*times, self.stop))
        return self.clock.now_ns()

    def _stuck(self) -> VariantError:
        return VariantError(
            f"the batching policy takes none of the last {self.waiting.count} requests, and no further one will come",
            "Use a smaller batch size than there are requests at once.",
        )

    def _issue(self, count: int, t: int) -> None:
        """Closed plans: as many new requests as were just answered become due, at once or after the pause."""
        i = first = self.issued
        until = min(i + count, self.n)
        due = t + self.gap
        while i < until:
            self.due[i] = due  # type: ignore[index]  # an array, for closed plans
            i += 1
        self.issued = until
        if not self.gap:
            self.arrived = until
        if first <= self.plan.warmup < until and self.plan.limit_ns is not None:
            self.stop = due + self.plan.limit_ns

    def _issue_shared(self, count: int, t: int) -> None:
        with self.issuing:
            self._issue(count, t)
        self.arrival.set()

    def _keep(self, outputs: Arrays, head: int, take: int) -> None:
        for i in range(head, head + take):
            if i in self.capture:
                self.captured[i] = (outputs, i - head)

    def _note(self, batch: int, error: Exception) -> None:
        self.failed.add(batch)
        self.failures += 1
        if len(self.errors) < 5:
            self.errors[f"{type(error).__name__}: {error}"[:500]] = None

    def work_together(self) -> None:
        """Several workers: one leads, the others block on the lock; nobody hands anything over."""
        others = [Thread(target=self._guarded, args=(i,), daemon=True) for i in range(1, self.workers)]
        for thread in others:
            thread.start()
        self._guarded(0)
        for thread in others:
            thread.join()
        if self.crash is not None:
            raise self.crash

    def _guarded(self, me: int) -> None:
        try:
            self.work(me)
        except BaseException as error:
            self.crash = error
        finally:
            # Whoever still waits for an arrival has to look again: there may be nobody left to bring one.
            self.arrival.set()

    def outcome(self) -> Outcome:
        """Turn the batch columns into one row a request."""
        count = self.head if self.plan.limit_ns is not None else self.n
        trace = Trace(**self._columns(count))
        last = int(trace.finished.max(initial=0))
        return Outcome(trace=trace, captured=self.captured, errors=tuple(self.errors), wall_ns=last)

    def _columns(self, count: int) -> dict[str, Int64]:
        def column(values: Any) -> Int64:
            return np.array(values[: self.batches], np.int64)

        takes = column(self.takes)

        def spread(values: Int64, rest: int) -> Int64:
            full = np.full(count, rest, np.int64)
            full[: self.head] = np.repeat(values, takes)
            return full

        index = np.arange(count)
        bad = np.full(self.batches, OK, np.int64)
        bad[sorted(self.failed)] = ERROR
        counted = (index >= self.plan.warmup) & (index < self.n - self.plan.tail)
        return {
            "due": np.array(self.due[:count], np.int64) - self.base,
            "taken": spread(column(self.taken) - self.base, -1),
            "started": spread(column(self.started) - self.base, -1),
            "finished": spread(column(self.finished) - self.base, -1),
            "batch": spread(np.arange(self.batches), -1),
            "batch_size": spread(takes, 0),
            "sample": self.plan.sample_ids[:count].astype(np.int64),
            "status": spread(bad, UNFINISHED),
            "warmup": (~counted).astype(np.int64),
        }
