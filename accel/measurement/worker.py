"""The measure child: loads one runtime and one artefact, then answers `open`, `infer` and `measure` (see `isolation`).

It loads no toolchain and as few packages as can be, so that pools, arenas and peak memory are the engine's own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from accel import plugins
from accel.batching import Batcher
from accel.compilation._recompiles import compiled_graphs, since
from accel.errors import VariantError
from accel.measurement import affinity, checking, device, energy, loop, memory, noise, nvml, steady
from accel.measurement.canary import canary_s
from accel.measurement.clock import Clock, SystemClock
from accel.measurement.feeding import lengths_of
from accel.measurement.first_calls import FirstCalls
from accel.measurement.instances import Asked, Instances, open_instances
from accel.measurement.matching import as_long
from accel.measurement.outputs import save_outputs, split_rows
from accel.measurement.protocol import serve, stage
from accel.measurement.snapshot import Snapshot, snapshot
from accel.measurement.trace import DROPPED, ERROR, OK, UNFINISHED, Trace
from accel.measurement.warmup import sizes_taken, warm_up_all
from accel.plugins import Named
from accel.result import Memory, Steady
from accel.samples.store import Samples
from accel.scenarios import Plan, Scenario

_GAVE_UP = "its batching policy gave up requests whose answers would have come too late; they count as infinitely late"
"""Without a number, since one row may hold many runs; the count stands in W13 and in the trace."""


class MeasureCommand(msgspec.Struct, frozen=True, kw_only=True):
    """`measure`: one run of the opened engine.

    reference: outputs that timed ones are compared with; it also says which samples make up the pool.
    inputs: "unique" walks through the pool; "same" repeats one of it, so that a cache of answers shows (rule 5).
    """

    scenario: Named
    batching: Named
    seed: int
    trial: int
    duration_s: float
    warmup_iterations: int
    warmup_s: float
    out: str
    workers: int = 1
    drain_s: float = 30.0
    reference: str | None = None
    check_limit: float = 1e-3
    inputs: Literal["unique", "same"] = "unique"


class _Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen around one run."""

    before: Snapshot
    after: Snapshot
    canary_s: tuple[float, float]
    memory: Memory
    meter: energy.Meter


class Worker:
    """What is open, with its samples in memory."""

    def __init__(self) -> None:
        self._instances: Instances | None = None
        self._ran = False
        self._seen: list[set[int]] = []
        self._compiled: int | None = None
        self._firsts = FirstCalls()
        self._gpus = nvml.find()

    def open(self, command: dict[str, Any]) -> dict[str, Any]:
        """Import the runtime, then open the artefact; both timed apart, memory peaks apart."""
        asked = msgspec.convert({k: v for k, v in command.items() if k != "do"}, Asked)
        stage("reading the samples")
        self._samples = Samples.open(Path(asked.samples)).to_ram()
        self._instances = instances = open_instances(asked, self._samples, stage)
        self._seen = [set() for _ in instances.feeds]
        self._compiled = compiled_graphs()
        opened = instances.opened
        return {
            "import_s": opened.import_s,
            "open_s": opened.open_s,
            "effective": msgspec.to_builtins(opened.effective),
            "sizes": opened.sizes,
            "parallel_runs": opened.parallel_runs,
            "memory": msgspec.to_builtins(opened.peaks),
        }

    def infer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Run sample ids in order, in batches of `batch`, on the first instance; write one row of outputs each."""
        feed = self._opened().feeds[0]
        ids: list[int] = command["ids"]
        step, rows, first = int(command["batch"]), [], None
        stage("running the first inference" if not self._ran else "computing outputs")
        for at in range(0, len(ids), step):
            part = ids[at : at + step]
            start = time.perf_counter()
            outputs = feed.call(part)
            took = time.perf_counter() - start
            self._firsts.note(feed.padded(len(part)), took)
            if not self._ran:
                first, self._ran = took, True
                stage("computing outputs")
            self._seen[0].add(feed.padded(len(part)))
            outputs = feed.keep(outputs)
            feed.collect()
            rows += split_rows(outputs, len(part))
        save_outputs(Path(command["out"]), rows, ids)
        return {"first_run_s": first, "n": len(rows)}

    def measure(self, command: dict[str, Any]) -> dict[str, Any]:
        """Warm up, run one scenario, write its trace, say what was noticed."""
        given = msgspec.convert({k: v for k, v in command.items() if k != "do"}, MeasureCommand)
        instances = self._opened()
        scenario, batcher = plugins.make("scenarios", given.scenario), plugins.make("batching", given.batching)
        reference = checking.Reference(Path(given.reference)) if given.reference else None
        plan = self._plan(scenario, given, reference)
        if plan.due_ns is None:
            # Who asks one after another is served by one worker; handing over between several would be timed with it.
            given = msgspec.structs.replace(given, workers=min(given.workers, plan.outstanding))
        instances.feeds_for(given.workers)
        stage("warming up")
        clock = SystemClock(yields=given.workers > 1)
        self._warm_up(batcher, plan, given, clock)
        stage("measuring")
        watched, outcome = self._watched(plan, batcher, given, clock)
        stage("writing the trace")
        settled = steady.of_trace(outcome.trace)
        # Only where an answer issues the next request: elsewhere requests wait for those before them, in or out.
        trace = steady.without_warm_up(outcome.trace, settled) if plan.due_ns is None else outcome.trace
        requests = int((trace.counted().status == OK).sum())
        drawn, doubt = energy.total(watched.meter.readings, watched.meter.packages, requests=requests)
        return {
            "trace_sha256": trace.save(Path(given.out)),
            "n": len(trace),
            "wall_s": outcome.wall_ns * 1e-9,
            "cpu_s": watched.after.cpu_s - watched.before.cpu_s,
            "memory": msgspec.to_builtins(watched.memory),
            "schedule_sha256": plan.sha256,
            "latency": scenario.latency,
            "errors": list(outcome.errors),
            "steady": msgspec.to_builtins(settled),
            "canary_s": watched.canary_s,
            "energy": msgspec.to_builtins(drawn),
            "device_times": msgspec.to_builtins(device.taken_apart(instances.feeds[0], trace)),
            "inputs": given.inputs,
            "recompiled": since(self._compiled),
            "first_calls": msgspec.to_builtins(self._firsts.told()),
            "notes": [
                *plan.notes,
                *instances.notes,
                *([_GAVE_UP] if (trace.status == DROPPED).any() else []),
                *([doubt] if drawn is not None and doubt else []),
            ],
            **_judged(outcome, given, reference, watched, open_loop=_is_open(plan), settled=settled, trace=trace),
        }

    def _watched(
        self, plan: Plan, batcher: Batcher, given: MeasureCommand, clock: Clock
    ) -> tuple[_Watched, loop.Outcome]:
        """The run itself, between two canaries, two snapshots and the readings of the energy counters."""
        instances = self._opened()
        capture = checking.chosen(plan, seed=given.seed, trial=given.trial)
        first_s = canary_s()
        memory.reset_peaks(instances.pids)
        device.peak_bytes(instances.feeds, reset=True)
        with energy.Meter(self._gpus, wanted=given.duration_s >= energy.LEAST_S) as meter:
            before = snapshot(nvml=self._gpus, children=instances.pids)
            drain_ns = round(given.drain_s * 1e9)
            with affinity.restored():
                outcome = loop.run(
                    plan,
                    batcher,
                    instances.feeds_for(given.workers),
                    clock,
                    workers=given.workers,
                    drain_ns=drain_ns,
                    capture=capture,
                )
            after = snapshot(nvml=self._gpus, children=instances.pids)
        for feed in instances.feeds:
            feed.collect()
        held = self._memory()
        watched = _Watched(before=before, after=after, canary_s=(first_s, canary_s()), memory=held, meter=meter)
        return watched, outcome

    def _opened(self) -> Instances:
        if self._instances is None:
            raise VariantError("The measure child was asked to run before it was told to `open`")
        return self._instances

    def _plan(self, scenario: Scenario, given: MeasureCommand, reference: checking.Reference | None) -> Plan:
        """The scenario's plan over the pool: samples with a reference, else the evaluation part, else all."""
        pool = self._samples.evaluation if reference is None else reference.ids
        if not len(pool):
            pool = np.arange(self._samples.count)
        plan = scenario.plan(len(pool), seed=given.seed, trial=given.trial, duration_s=given.duration_s)
        ids = pool[plan.sample_ids]
        if plan.lengths is not None:
            plan, ids = as_long(plan, pool, lengths_of(self._samples))
        if given.inputs == "same":
            ids = np.full_like(ids, ids[plan.warmup])
        return msgspec.structs.replace(plan, sample_ids=ids)

    def _warm_up(self, batcher: Batcher, plan: Plan, given: MeasureCommand, clock: Clock) -> None:
        """Every engine that will be used, side by side as they will run."""
        feeds = self._opened().feeds[: given.workers]
        sizes = sizes_taken(batcher, plan, feeds[0].cap)
        # From the end of the plan: what is counted first should be new to whatever remembers its inputs.
        ids: list[int] = plan.sample_ids[-1024:].tolist()
        warm_up_all(
            feeds,
            sizes,
            self._seen,
            ids,
            clock,
            iterations=given.warmup_iterations,
            s=given.warmup_s,
            batcher=batcher,
            note=self._firsts.note,
        )
        self._ran = True

    def _memory(self) -> Memory:
        instances = self._opened()
        held = [self._gpus.process_bytes(pid) for pid in (os.getpid(), *instances.pids)] if self._gpus else []
        gpu = [size for size in held if size is not None]
        return msgspec.structs.replace(
            instances.opened.peaks,
            peak_run_bytes=memory.together(memory.peak_bytes, instances.pids),
            private_bytes=memory.together(memory.private_bytes, instances.pids),
            gpu_bytes=sum(gpu) if gpu else None,
            gpu_peak_bytes=device.peak_bytes(instances.feeds),
        )


def _judged(
    outcome: loop.Outcome,
    given: MeasureCommand,
    reference: checking.Reference | None,
    watched: _Watched,
    *,
    open_loop: bool,
    settled: Steady,
    trace: Trace,
) -> dict[str, Any]:
    """Check and witnesses of a finished run, as plain data; `trace` is the outcome's without what was cut off."""
    found, not_finite = checking.check(outcome.captured, trace.sample, reference, given.check_limit)
    witnesses, missing = noise.judge(watched.before, watched.after)
    witnesses.append(noise.judge_lag(trace, given.workers, open_loop=open_loop))
    witnesses.append(noise.judge_steady(settled, cut=trace is not outcome.trace))
    failed, unfinished, dropped = (int((trace.status == kind).sum()) for kind in (ERROR, UNFINISHED, DROPPED))
    witnesses.append(noise.judge_answers(failed, unfinished, not_finite, dropped))
    return {
        "check": msgspec.to_builtins(found),
        "witnesses": msgspec.to_builtins(witnesses),
        "witness_missing": missing,
    }


def _is_open(plan: Plan) -> bool:
    """True if requests arrive over time; `offline` has a schedule, but nothing in it to be late for."""
    return plan.due_ns is not None and bool(plan.due_ns[-1] > plan.due_ns[0])


def main() -> None:
    """Answer until told to close."""
    worker = Worker()
    serve({"open": worker.open, "infer": worker.infer, "measure": worker.measure})


if __name__ == "__main__":
    main()
