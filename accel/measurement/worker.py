"""The measure child: loads one runtime and one artefact, then answers `open`, `infer` and `measure` (see `isolation`).

It loads no toolchain and as few packages as can be, so that pools, arenas and peak memory are the engine's own.
"""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from accel import plugins
from accel.batching import Batcher
from accel.compilation import Backend, Engine
from accel.errors import MissingLibrary, VariantError
from accel.measurement import checking, energy, loop, memory, noise, nvml, steady
from accel.measurement.canary import canary_s
from accel.measurement.clock import Clock, SystemClock
from accel.measurement.feeding import Feed
from accel.measurement.outputs import save_outputs, split_rows
from accel.measurement.protocol import serve, stage
from accel.measurement.snapshot import Snapshot, snapshot
from accel.measurement.trace import ERROR, OK, UNFINISHED, Trace
from accel.measurement.warmup import sizes_taken, warm_up
from accel.plugins import Named
from accel.result import Memory, Steady
from accel.samples.store import Samples
from accel.scenarios import Plan, Scenario


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
    """One opened engine with its samples in memory."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._ran = False
        self._seen: set[int] = set()
        self._peaks = Memory()
        self._gpus = nvml.find()

    def open(self, command: dict[str, Any]) -> dict[str, Any]:
        """Import the runtime, then open the artefact; both timed apart, memory peaks apart."""
        backend: Backend = plugins.make("compilation", msgspec.convert(command["backend"], Named))
        stage("reading the samples")
        self._samples = Samples.open(Path(command["samples"])).to_ram()
        stage(f"importing {backend.runtime}")
        memory.reset_peak()
        import_s = _import(backend)
        peak_import = memory.peak_bytes()
        memory.reset_peak()
        stage("opening the model")
        start = time.perf_counter()
        self._engine = engine = backend.open(Path(command["folder"]))
        open_s = time.perf_counter() - start
        self._feed = Feed(engine, self._samples)
        self._peaks = Memory(peak_import_bytes=peak_import, peak_load_bytes=memory.peak_bytes())
        return {
            "import_s": import_s,
            "open_s": open_s,
            "effective": msgspec.to_builtins(engine.effective),
            "sizes": engine.sizes,
            "parallel_runs": engine.parallel_runs,
            "memory": msgspec.to_builtins(self._peaks),
        }

    def infer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Run sample ids in order, in batches of `batch`, and write one row of outputs each."""
        self._opened()
        ids: list[int] = command["ids"]
        step, rows, first = int(command["batch"]), [], None
        stage("running the first inference" if not self._ran else "computing outputs")
        for at in range(0, len(ids), step):
            part = ids[at : at + step]
            start = time.perf_counter()
            outputs = self._feed.call(part)
            if not self._ran:
                first, self._ran = time.perf_counter() - start, True
                stage("computing outputs")
            self._seen.add(self._feed.padded(len(part)))
            rows += split_rows(outputs, len(part))
        save_outputs(Path(command["out"]), rows, ids)
        return {"first_run_s": first, "n": len(rows)}

    def measure(self, command: dict[str, Any]) -> dict[str, Any]:
        """Warm up, run one scenario, write its trace, say what was noticed."""
        given = msgspec.convert({k: v for k, v in command.items() if k != "do"}, MeasureCommand)
        engine = self._opened()
        if given.workers > 1 and not engine.parallel_runs:
            raise VariantError(f"{given.workers} workers were asked for, but this engine runs one batch at a time")
        scenario, batcher = plugins.make("scenarios", given.scenario), plugins.make("batching", given.batching)
        reference = checking.Reference(Path(given.reference)) if given.reference else None
        plan = self._plan(scenario, given, reference)
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
            "inputs": given.inputs,
            "notes": [*plan.notes, *([doubt] if drawn is not None and doubt else [])],
            **_judged(outcome, given, reference, watched, open_loop=_is_open(plan), settled=settled, trace=trace),
        }

    def _watched(
        self, plan: Plan, batcher: Batcher, given: MeasureCommand, clock: Clock
    ) -> tuple[_Watched, loop.Outcome]:
        """The run itself, between two canaries, two snapshots and the readings of the energy counters."""
        capture = checking.chosen(plan, seed=given.seed, trial=given.trial)
        first_s = canary_s()
        memory.reset_peak()
        with energy.Meter(self._gpus, wanted=given.duration_s >= energy.LEAST_S) as meter:
            before = snapshot(nvml=self._gpus)
            drain_ns = round(given.drain_s * 1e9)
            outcome = loop.run(
                plan, batcher, self._feed, clock, workers=given.workers, drain_ns=drain_ns, capture=capture
            )
            after = snapshot(nvml=self._gpus)
        held = self._memory()
        watched = _Watched(before=before, after=after, canary_s=(first_s, canary_s()), memory=held, meter=meter)
        return watched, outcome

    def _opened(self) -> Engine:
        if self._engine is None:
            raise VariantError("The measure child was asked to run before it was told to `open`")
        return self._engine

    def _plan(self, scenario: Scenario, given: MeasureCommand, reference: checking.Reference | None) -> Plan:
        """The scenario's plan over the pool: samples with a reference, else the evaluation part, else all."""
        pool = self._samples.evaluation if reference is None else reference.ids
        if not len(pool):
            pool = np.arange(self._samples.count)
        plan = scenario.plan(len(pool), seed=given.seed, trial=given.trial, duration_s=given.duration_s)
        ids = pool[plan.sample_ids]
        if given.inputs == "same":
            ids = np.full_like(ids, ids[plan.warmup])
        return msgspec.structs.replace(plan, sample_ids=ids)

    def _warm_up(self, batcher: Batcher, plan: Plan, given: MeasureCommand, clock: Clock) -> None:
        sizes = sizes_taken(batcher, plan, self._feed.cap)
        # From the end of the plan: what is counted first should be new to whatever remembers its inputs.
        ids: list[int] = plan.sample_ids[-1024:].tolist()
        warm_up(self._feed, sizes, self._seen, ids, clock, iterations=given.warmup_iterations, s=given.warmup_s)
        self._ran = True

    def _memory(self) -> Memory:
        return msgspec.structs.replace(
            self._peaks,
            peak_run_bytes=memory.peak_bytes(),
            private_bytes=memory.private_bytes(),
            gpu_bytes=None if self._gpus is None else self._gpus.process_bytes(os.getpid()),
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
    failed, unfinished = (int((trace.status == kind).sum()) for kind in (ERROR, UNFINISHED))
    witnesses.append(noise.judge_answers(failed, unfinished, not_finite))
    return {
        "check": msgspec.to_builtins(found),
        "witnesses": msgspec.to_builtins(witnesses),
        "witness_missing": missing,
    }


def _is_open(plan: Plan) -> bool:
    """True if requests arrive over time; `offline` has a schedule, but nothing in it to be late for."""
    return plan.due_ns is not None and bool(plan.due_ns[-1] > plan.due_ns[0])


def _import(backend: Backend) -> float:
    """Seconds that importing the runtime's package takes in this process."""
    start = time.perf_counter()
    try:
        importlib.import_module(backend.runtime)
    except ModuleNotFoundError as error:
        what = f"The backend `{plugins.name_of(backend)}`"
        raise MissingLibrary(error.name or backend.runtime, what, extra=backend.extra) from None
    return time.perf_counter() - start


def main() -> None:
    """Answer until told to close."""
    worker = Worker()
    serve({"open": worker.open, "infer": worker.infer, "measure": worker.measure})


if __name__ == "__main__":
    main()
