"""A server of known service times behind the product's loop: on the virtual clock, or as a real measure child.

`lindley` says beforehand what each request must live through (V7); `theory` (V8) what they do on average.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
import numpy.typing as npt

from accel.batching import Batcher
from accel.batching.single import Single
from accel.compilation import Arrays
from accel.measurement import loop
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.scenarios import Plan
from accel.study.live import Live, Turn
from accel.study.profiles import profile
from accel.study.standin import folder_of, stand_in
from tests.measurement.simulated import Pool, Spin, VirtualTime

Int64 = npt.NDArray[np.int64]
DRAIN_NS = 1 << 60


class _BySample(Spin):
    """Takes as long as the request's sample says, so that which thread comes first changes nothing."""

    def __init__(self, time: VirtualTime, service_ns: Sequence[int]) -> None:
        super().__init__(time)
        self._time, self._by_sample = time, service_ns

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        self._time.wait_until(self._time.now_ns() + self._by_sample[int(inputs["x"][0, 0])])
        return {"y": inputs["x"]}


def batches(plan: Plan, batcher: Batcher, takes_ns: Callable[[int], int]) -> Trace:
    """The plan through the product's loop and a batching policy in virtual time; takes_ns: by batch size."""
    clock = FakeClock()
    feed = Feed(Spin(clock, lambda call, n: takes_ns(n)), Pool(int(plan.sample_ids.max()) + 1))
    return loop.run(plan, batcher, feed, clock, drain_ns=DRAIN_NS).trace


def simulate(plan: Plan, service_ns: Int64, *, workers: int = 1, drain_ns: int = DRAIN_NS) -> Trace:
    """The plan through the product's loop in virtual time; service_ns: (pool,) what each sample takes."""
    times, pool = service_ns.tolist(), Pool(len(service_ns))
    if workers == 1:
        clock = FakeClock()
        order = [times[i] for i in plan.sample_ids.tolist()]
        feed = Feed(Spin(clock, lambda call, n: order[call]), pool)
        return loop.run(plan, Single(), feed, clock, drain_ns=drain_ns).trace
    time = VirtualTime()
    with patch.object(loop, "Lock", time.lock), patch.object(loop, "Thread", time.thread):
        feed = Feed(_BySample(time, times), pool)
        return loop.run(plan, Single(), feed, time, workers=workers, drain_ns=drain_ns).trace


def lindley(due_ns: Int64, service_ns: Int64, workers: int) -> Int64:
    """(n,) when each request ends in a queue of `workers`, first come, first served.

    start = max(due, first worker free), end = start + service; one worker: Lindley's recursion.
    """
    free = [-(1 << 62)] * workers
    ends = np.empty(len(due_ns), np.int64)
    for i, (due, service) in enumerate(zip(due_ns.tolist(), service_ns.tolist(), strict=True)):
        end = max(due, heapq.heappop(free)) + service
        heapq.heappush(free, end)
        ends[i] = end
    return ends


class Stub(msgspec.Struct, frozen=True):
    """A real measure child with the stub engine opened in it."""

    live: Live
    runs: Path

    def run(self, scenario: Named, duration_s: float, *, trial: int, tag: str = "") -> tuple[Result, Trace]:
        """One run of it and its trace."""
        turn = Turn(
            run_id=f"{scenario.name}{tag}-{trial}",
            phase="measure",
            target="online" if scenario.name == "server" else "latency",
            scenario=scenario,
            batching=Named("single"),
            duration_s=duration_s,
            trial=trial,
        )
        result = self.live.run(
            turn, reference=None, check_limit=0.0, common=lambda f: Result(study_id="validation", **f)
        )
        return result, Trace.load(self.runs / str(result.trace))


@contextmanager
def stub(*, instances: int = 1, backend: str = "stub", warmup_s: float = 0.2, **fields: Any) -> Iterator[Stub]:
    """Open a stub with these fields in a child of its own."""
    brief = msgspec.structs.replace(profile("quick"), warmup_s=warmup_s)
    with tempfile.TemporaryDirectory() as place:
        folder = folder_of(Path(place) / "study")
        prepared = stand_in(folder, "known", backend=backend, instances=instances, **fields)
        with Live(prepared, folder, brief, seed=1, tag="validation") as live:
            yield Stub(live, folder.runs)
