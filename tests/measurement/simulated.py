"""Engines, pools and a clock for tests of the loop in virtual time, exact to the nanosecond."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective
from accel.measurement.clock import Clock, FakeClock


class Pool:
    """`count` samples whose only feature is their own number."""

    def __init__(self, count: int = 64) -> None:
        self.count = count
        self._x = np.arange(count, dtype=np.float64).reshape(count, 1)

    def row(self, i: int) -> Arrays:
        return {"x": self._x[i : i + 1]}

    def batch(self, ids: Sequence[int]) -> Arrays:
        return {"x": self._x[np.asarray(ids)]}


class Spin:
    """Answers x + 0.5 after `service_ns(call, batch size)`; notes the batch size of each call."""

    parallel_runs = True
    effective = Effective(precision="f64", threads=1, provider="test")

    def __init__(
        self,
        clock: Clock,
        service_ns: Callable[[int, int], int] = lambda call, n: 1000,
        sizes: tuple[int, ...] | None = None,
        fail: Callable[[int], bool] = lambda call: False,
    ) -> None:
        self._clock, self._service, self._fail, self.sizes = clock, service_ns, fail, sizes
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        call, n = len(self.batches), inputs["x"].shape[0]
        self.batches.append(n)
        pass_time(self._clock, self._service(call, n))
        if self._fail(call):
            raise ValueError(f"planted in call {call}")
        return {"y": inputs["x"] + 0.5}

    def close(self) -> None:
        self.batches.clear()


def pass_time(clock: Clock, ns: int) -> None:
    if isinstance(clock, FakeClock):
        clock.advance(ns)
    else:
        clock.wait_until(clock.now_ns() + ns)


class VirtualTime:
    """A clock, locks and threads in virtual time: one thread runs at a time, and time moves when all of them wait."""

    def __init__(self) -> None:
        self._now = 0
        self._alive = 1
        self._sleeping: dict[int, int] = {}
        self._blocked = 0
        self.changed = threading.Condition()

    def now_ns(self) -> int:
        return self._now

    def wait_until(self, due_ns: int) -> None:
        with self.changed:
            if due_ns > self._now:
                me = threading.get_ident()
                self._sleeping[me] = due_ns
                self._move()
                self.changed.wait_for(lambda: me not in self._sleeping)

    def joins(self, change: int) -> None:
        """So many threads more (or fewer) take part."""
        with self.changed:
            self._alive += change
            self._move()

    def blocks(self, change: int) -> None:
        """So many threads more (or fewer) wait for a lock; call it while holding `changed`."""
        self._blocked += change
        self._move()

    def _move(self) -> None:
        """If nobody can run, jump to the first due time and wake that one sleeper."""
        if self._sleeping and len(self._sleeping) + self._blocked == self._alive:
            first = min(self._sleeping, key=lambda k: self._sleeping[k])
            self._now = max(self._now, self._sleeping.pop(first))
            self.changed.notify_all()

    def lock(self) -> VirtualLock:
        return VirtualLock(self)

    def event(self) -> VirtualEvent:
        return VirtualEvent(self)

    def thread(self, target: Callable[..., None], args: tuple[Any, ...], daemon: bool) -> VirtualThread:
        return VirtualThread(self, target, args)


class VirtualLock:
    """A lock whose waiters count as waiting; it is handed over in the order of asking."""

    def __init__(self, time: VirtualTime) -> None:
        self._time, self._held, self._queue = time, False, list[int]()

    def __enter__(self) -> None:
        with self._time.changed:
            if not self._held:
                self._held = True
                return
            me = threading.get_ident()
            self._queue.append(me)
            self._time.blocks(1)
            self._time.changed.wait_for(lambda: me not in self._queue)

    def __exit__(self, *_: object) -> None:
        with self._time.changed:
            self._held = bool(self._queue)
            if self._queue:
                self._queue.pop(0)
                self._time.blocks(-1)
                self._time.changed.notify_all()


class VirtualEvent:
    """An event whose waiters count as waiting."""

    def __init__(self, time: VirtualTime) -> None:
        self._time, self._is_set, self._waiting = time, False, 0

    def wait(self) -> None:
        with self._time.changed:
            if not self._is_set:
                self._waiting += 1
                self._time.blocks(1)
                self._time.changed.wait_for(lambda: self._is_set)

    def set(self) -> None:
        with self._time.changed:
            self._is_set = True
            self._time.blocks(-self._waiting)
            self._waiting = 0
            self._time.changed.notify_all()

    def clear(self) -> None:
        with self._time.changed:
            self._is_set = False


class VirtualThread:
    """A thread that takes part from its making to its end; whoever joins it takes part no longer."""

    def __init__(self, time: VirtualTime, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        time.joins(1)
        self._time, self._target, self._args = time, target, args
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self._target(*self._args)
        self._time.joins(-1)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._time.joins(-1)
        self._thread.join()
        self._time.joins(1)
