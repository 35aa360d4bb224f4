"""The one loop: how a plan of requests goes through a batching policy into an engine, and what happened when.

It pulls: due times are fixed before the run, and a free worker takes what is already due, as the policy decides. No
dispatcher stands between schedule and worker, so nothing can delay an arrival and latency is finished - due, always.
"""

from __future__ import annotations

import gc
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from threading import Event, Lock, Thread

import msgspec
import numpy as np

from accel.batching import Batcher, Decision, Waiting
from accel.compilation import Arrays
from accel.errors import VariantError
from accel.measurement.clock import Clock
from accel.measurement.feeding import Feed, InstanceLost
from accel.measurement.record import Record
from accel.measurement.trace import Trace
from accel.scenarios import Plan

LEAD_NS = 20_000_000
"""The start lies this far ahead, so that no first deadline is missed already."""
_GIVE_UP_AFTER = 20
_NEVER = 1 << 62


class Outcome(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a run left behind.

    captured: row of the trace -> (outputs of its batch, its place there), for the requests that were to be kept.
    errors: the first text of each kind of error. wall_ns: from the start to the last finish.
    """

    trace: Trace
    captured: dict[int, tuple[Arrays, int]]
    errors: tuple[str, ...]
    wall_ns: int


def run(
    plan: Plan,
    batcher: Batcher,
    feed: Feed | Sequence[Feed],
    clock: Clock,
    *,
    workers: int = 1,
    drain_ns: int,
    capture: frozenset[int] = frozenset(),
) -> Outcome:
    """Run a plan. `drain_ns` after the last due time nothing more is taken; what is left is UNFINISHED.

    feed: one that all workers share, or one for each. capture: requests whose outputs are kept.
    One worker runs in the calling thread, without any other thread. An exception of the engine marks its batch ERROR;
    after 20 in a row the run stops. Raises VariantError if the policy never takes what waits or picks who isn't there,
    InstanceLost if an engine's process is gone.
    """
    gc.collect()
    gc.freeze()
    try:
        feeds = [feed] * workers if isinstance(feed, Feed) else list(feed)
        if len(feeds) != workers:
            raise ValueError(f"{workers} workers need one feed or {workers}, but {len(feeds)} were given")
        state = _Run(plan, batcher, feeds, clock, drain_ns, capture)
        if workers == 1:
            state.work(0)
        else:
            state.work_together()
        return state.outcome()
    finally:
        gc.unfreeze()


class _Run:
    """State shared by the workers. Written under `lock`, but for what a worker writes about its own batch.

    Who waits: `loose` (passed over by a policy that picked others), then the requests from `head` to `arrived`.
    """

    def __init__(
        self, plan: Plan, batcher: Batcher, feeds: list[Feed], clock: Clock, drain_ns: int, capture: frozenset[int]
    ) -> None:
        self.plan, self.batcher, self.feeds, self.clock, self.capture = plan, batcher, feeds, clock, capture
        self.n = n = len(plan.sample_ids)
        self.ids = array("q", plan.sample_ids.astype(np.int64).tobytes())
        self.record = Record(n)
        self.head = self.batches = self.arrived = self.issued = self.decided = self.failures = 0
        self.loose: list[int] = []
        self.chosen: list[int] | None = None  # who was taken last; None: the next in a row
        self.errors: dict[str, None] = {}
        self.captured: dict[int, tuple[Arrays, int]] = {}
        self.workers = len(feeds)
        self.busy = [0] * self.workers
        self.lock, self.issuing, self.arrival = Lock(), Lock(), Event()
        self.crash: BaseException | None = None
        self.closed, self.gap = plan.due_ns is None, plan.gap_ns
        lengths = feeds[0].lengths
        costs = None if lengths is None else array("q", lengths[plan.sample_ids].tobytes())
        self.base = clock.now_ns() + LEAD_NS
        self.due: Sequence[int] = self._due()
        self.waiting = Waiting(dues=self.due, costs=costs, loose=self.loose)
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
        feed, ids, capture, closed, several = self.feeds[me], self.ids, self.capture, self.closed, self.workers > 1
        run, rows, call, alone = feed.run, feed.rows, feed.call, feed.alone
        cap = _NEVER if feed.cap is None else feed.cap
        takes, taken_at = self.record.takes, self.record.taken
        started_at, finished_at = self.record.started, self.record.finished
        feed.enter()
        self.clock.wait_until(self.base)
        t = now()
        while True:
            with lock:
                take = lead(now() if several else t, t, cap)
                if not take:
                    return
                head, batch, taken, chosen = self.head, self.batches, self.decided, self.chosen
                self.batches = batch + 1
                if chosen is None:
                    self.head = head + take
                else:
                    head = chosen[0]
                busy[me] = 1
            started = now()
            try:
                if chosen is not None:
                    outputs = call([ids[i] for i in chosen])
                else:
                    outputs = run(rows[ids[head]]) if take == 1 and alone else call(ids[head : head + take])
                t = now()
                self.failures = 0
                if head in capture if take == 1 else not capture.isdisjoint(chosen or range(head, head + take)):
                    self._keep(feed, outputs, chosen or range(head, head + take))
            except InstanceLost:
                raise
            except Exception as error:
                t = now()
                self._note(batch, error)
            takes[batch], taken_at[batch], started_at[batch], finished_at[batch] = take, taken, started, t
            busy[me] = 0
            if closed and several:
                self._issue_shared(take, t)
            elif closed:
                issue(take, t)

    def _lead(self, t: int, since: int, cap: int) -> int:
        """One round of wait, decide, take, under the lock: how many requests to take; 0 at the end of the run.

        since: when this worker became free; cap: the most its engine takes.
        """
        waiting, due, n, loose = self.waiting, self.due, self.n, self.loose
        waiting.since_ns, held = since, 0
        while (self.head < n or loose) and t < self.stop and self.failures < _GIVE_UP_AFTER and self.crash is None:
            head, arrived, issued = self.head, self.arrived, self.issued
            if arrived < issued and due[arrived] <= t:
                arrived = self.arrived = bisect_right(due, t, arrived, issued)
            if arrived == head and not loose:
                t = self._await(None)
                continue
            waiting.head = head
            waiting.count = arrived - head + len(loose) if loose else arrived - head
            waiting.oldest_due_ns = due[loose[0] if loose else head]
            if arrived == n:
                waiting.draining = True
            if self.workers > 1:
                waiting.idle_workers = self.workers - sum(self.busy)
            decision = self.batcher.decide(waiting, t)
            take = decision.take
            if self.chosen is not None or decision.drop or decision.pick is not None:
                take = self._sort_out(decision, t, cap)
                if decision.drop and not take:
                    t = self.clock.now_ns()
                    continue
            else:
                if take > arrived - head:
                    take = arrived - head
                if take > cap:
                    take = cap
            if take > 0:
                self.decided = t
                if held and held > due[self.chosen[-1] if self.chosen else head + take - 1]:
                    self.record.held[self.batches] = held
                return take
            recheck = decision.recheck_ns
            t = self._await(recheck)
            held = recheck if recheck is not None and recheck <= t else due[arrived] if arrived < self.issued else 0
        return 0

    def _sort_out(self, decision: Decision, t: int, cap: int) -> int:
        """Drop and take for a policy that doesn't simply take the oldest; gives how many were taken, see `chosen`."""
        record, count = self.record, self.waiting.count
        record.leave_row(self.head)
        self.chosen = []
        drop = min(decision.drop, count)
        if drop:
            for request in self._oldest(drop):
                record.dropped[request] = t
            if self.closed:
                self._issue_shared(drop, t)
        take = min(decision.take, count - drop, cap)
        if take > 0:
            self.chosen = self._oldest(take) if decision.pick is None else self._picked(decision, drop, take)
            record.take(self.chosen)
        return take

    def _oldest(self, count: int) -> list[int]:
        """Take the `count` oldest out of those that wait."""
        loose, head = self.loose, self.head
        passed_over = min(count, len(loose))
        self.head = head + count - passed_over
        oldest = [*loose[:passed_over], *range(head, self.head)]
        del loose[:passed_over]
        return oldest

    def _picked(self, decision: Decision, dropped: int, take: int) -> list[int]:
        """Take the first `take` of those that were picked; `dropped` left the front since their places were counted."""
        pick, loose, head = decision.pick or (), self.loose, self.head
        last = self.waiting.count - 1
        if len(pick) != decision.take or list(pick) != sorted(set(pick)) or not dropped <= pick[0] <= pick[-1] <= last:
            raise VariantError(
                f"the batching policy picked {pick} of {last + 1} requests, {dropped} of them dropped, and takes "
                f"{decision.take}: it has to pick as many as it takes, ascending, each once, among those that are left"
            )
        at = [place - dropped for place in pick[:take]]
        more = at[-1] + 1 - len(loose)
        if more > 0:
            loose.extend(range(head, head + more))
            self.head = head + more
        chosen = [loose[place] for place in at]
        gone = set(chosen)
        loose[:] = [request for request in loose if request not in gone]
        return chosen

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

    def _keep(self, feed: Feed, outputs: Arrays, requests: Sequence[int]) -> None:
        outputs = feed.keep(outputs)
        for place, request in enumerate(requests):
            if request in self.capture:
                self.captured[request] = (outputs, place)

    def _note(self, batch: int, error: Exception) -> None:
        self.record.failed[batch] = 1
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
        """Turn the batch columns into one row a request; who was passed over until a limit is in none."""
        trace = self.record.trace(self.plan, self.due, seen=self.head, batches=self.batches, base=self.base)
        never = self.loose if self.plan.limit_ns is not None else []
        captured = {request - bisect_left(never, request): kept for request, kept in self.captured.items()}
        last = int(trace.finished.max(initial=0))
        return Outcome(trace=trace, captured=captured, errors=tuple(self.errors), wall_ns=last)
