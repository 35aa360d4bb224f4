"""One variant in one measure child: open it, let it answer, time it; every timed run becomes a committed Result."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import psutil

from accel import plugins
from accel.compilation import DeviceTimes, Effective
from accel.measurement.affinity import THREAD_VARIABLES
from accel.measurement.cgroup import usable_cores
from accel.measurement.denormals import Denormals
from accel.measurement.isolation import Child, environment
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Check, Energy, FirstCall, Level, Memory, Phase, Result, Role, SetUp, Steady, Witness
from accel.study.asking import ask_within
from accel.study.folder import StudyFolder
from accel.study.prepare import Prepared
from accel.study.profiles import Profile

Target = Literal["batch", "online", "latency"]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One run to make: which scenario with which batching, how long, and what it is called.

    trial: feeds the seeds; the same trial gives every variant of a block the same schedule and sample order.
    target: None for a look at something beside the race, which no comparison uses.
    inputs: "same" repeats one sample. warmup_iterations, warmup_s: None means the profile's.
    drain_s: how long after its load a server run may still answer; None: as long as it lasts, 10 s at least.
    """

    run_id: str
    phase: Phase
    target: Target | None
    scenario: Named
    batching: Named
    duration_s: float
    trial: int
    role: Role = "candidate"
    block: int | None = None
    position: int | None = None
    inputs: Literal["unique", "same"] = "unique"
    warmup_iterations: int | None = None
    warmup_s: float | None = None
    drain_s: float | None = None


def memory_limit_bytes() -> int:
    """What a child may hold before it is stopped: 85 % of what is free now, so that the machine itself stays alive."""
    return int(psutil.virtual_memory().available * 0.85)


class Live:
    """A measure child with one artefact opened in it; a context manager that ends the child.

    Raises ChildFailed (a VariantError) from every method when the child crashes, hangs, runs out of memory or says why
    it can't. patience_s: how long beyond the expected it may be silent before it counts as hung. left_s: seconds until
    the study has to stop; what isn't answered by then raises BudgetEnded. denormals: what becomes of numbers below the
    smallest normal one; the same for all that are compared.
    """

    def __init__(
        self,
        prepared: Prepared,
        folder: StudyFolder,
        profile: Profile,
        *,
        seed: int,
        tag: str,
        patience_s: float = 60.0,
        left_s: Callable[[], float] = lambda: math.inf,
        denormals: Denormals = "zero",
    ) -> None:
        self.prepared = prepared
        self._folder = folder
        self._profile = profile
        self._seed = seed
        self._patience_s = patience_s
        self._left_s = left_s
        self.first_run_s: float | None = None
        backend = plugins.make("compilation", prepared.variant.backend)
        self._child = Child(
            "accel.measurement.worker",
            env=several(prepared.variant) | backend.env() | {"ACCEL_ARTEFACT": prepared.folder},
            log=folder.log / f"{prepared.variant.name}-{tag}.log",
            cwd=folder.log,
            memory_limit_bytes=memory_limit_bytes(),
        )
        try:
            self._opened = ask_within(
                self._child,
                {
                    "do": "open",
                    "backend": msgspec.to_builtins(prepared.variant.backend),
                    "folder": prepared.folder,
                    "samples": str(folder.samples),
                    "instances": prepared.variant.instances,
                    "placement": prepared.variant.placement,
                    "denormals": denormals,
                },
                timeout_s=2 * patience_s,
                left_s=left_s(),
            )
        except BaseException:
            self._child.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        self._child.close()

    def park(self) -> None:
        """Stop it (its threads and all) until its next turn."""
        self._child.park()

    def resume(self) -> None:
        """Let it go on."""
        self._child.resume()

    def stall(self, after_s: float, for_s: float) -> None:
        """Freeze the child once in its next run, `after_s` after measuring begins; `stalled_s` says how long it was."""
        self._child.stall(after_s, for_s)

    @property
    def stalled_s(self) -> float | None:
        """How long the last freeze was; None while there was none."""
        return self._child.stalled_s

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """The batch sizes the engine takes; None means any."""
        sizes = self._opened.get("sizes")
        return None if sizes is None else tuple(sizes)

    @property
    def effective(self) -> Effective:
        """What really runs."""
        return msgspec.convert(self._opened["effective"], Effective)

    @property
    def set_up(self) -> SetUp:
        """The preparing child's seconds with this child's own."""
        return msgspec.structs.replace(
            self.prepared.set_up,
            import_s=self._opened["import_s"],
            open_s=self._opened["open_s"],
            first_run_s=self.first_run_s,
        )

    def answer(self, ids: list[int], batch: int, out: Path, *, timeout_s: float) -> float:
        """Run the samples `ids` in batches and write their outputs; gives the seconds it took."""
        start = time.perf_counter()
        command = {"do": "infer", "ids": ids, "batch": batch, "out": str(out)}
        reply = ask_within(self._child, command, timeout_s=timeout_s, left_s=self._left_s())
        if reply.get("first_run_s") is not None:
            self.first_run_s = reply["first_run_s"]
        return time.perf_counter() - start

    def run(
        self, turn: Turn, *, reference: Path | None, check_limit: float, common: Callable[[dict[str, Any]], Result]
    ) -> Result:
        """Time one turn and commit its Result; `common` fills in what is the study's, not the run's."""
        begun = time.perf_counter()
        trace = self._folder.runs / f"{turn.run_id}.npz"
        timeout_s = self._patience_s + 6 * turn.duration_s
        reply = ask_within(
            self._child, self._command(turn, trace, reference, check_limit), timeout_s=timeout_s, left_s=self._left_s()
        )
        result = common(
            {
                **self._of_turn(turn),
                "status": "ok",
                "process": "fresh" if self._profile.fresh or turn.phase == "confirmation" else "within-process",
                "effective": self.effective,
                "set_up": self.set_up,
                "artefact_bytes": self.prepared.artefact_bytes,
                "numerics": self.prepared.numerics,
                "cost": self.prepared.cost,
                "notes": (*self.prepared.notes, *reply.get("notes", ())),
                "trace": trace.name,
                "trace_sha256": reply["trace_sha256"],
                "schedule_sha256": reply["schedule_sha256"],
                "latency": reply["latency"],
                "memory": msgspec.convert(reply["memory"], Memory),
                "steady": msgspec.convert(reply.get("steady"), Steady | None),
                "canary_s": msgspec.convert(reply.get("canary_s"), tuple[float, float] | None),
                "energy": msgspec.convert(reply.get("energy"), Energy | None),
                "device_times": msgspec.convert(reply.get("device_times"), DeviceTimes | None),
                "recompiled": reply.get("recompiled"),
                "first_calls": msgspec.convert(reply.get("first_calls", ()), tuple[FirstCall, ...]),
                "cpu_s": reply["cpu_s"],
                "wall_s": time.perf_counter() - begun,
                "witnesses": msgspec.convert(reply["witnesses"], tuple[Witness, ...]),
                "witness_missing": tuple(reply["witness_missing"]),
                "validity": worst(reply["witnesses"]),
                "check": msgspec.convert(reply["check"], Check | None),
                "reason": "; ".join(reply.get("errors", [])[:2]),
            }
        )
        result = _judge_check(result)
        result.save(self._folder.runs)
        return result

    def _command(self, turn: Turn, trace: Path, reference: Path | None, check_limit: float) -> dict[str, Any]:
        profile = self._profile
        iterations, warmup_s = turn.warmup_iterations, turn.warmup_s
        command = {
            "do": "measure",
            "scenario": msgspec.to_builtins(turn.scenario),
            "batching": msgspec.to_builtins(turn.batching),
            "seed": self._seed,
            "trial": turn.trial,
            "duration_s": turn.duration_s,
            "warmup_iterations": profile.warmup_iterations if iterations is None else iterations,
            "warmup_s": profile.warmup_s if warmup_s is None else warmup_s,
            "workers": self.prepared.variant.instances,
            "drain_s": max(10.0, turn.duration_s) if turn.drain_s is None else turn.drain_s,
            "out": str(trace),
            "reference": None if reference is None else str(reference),
            "check_limit": check_limit,
        }
        return command if turn.inputs == "unique" else command | {"inputs": turn.inputs}

    def _of_turn(self, turn: Turn) -> dict[str, Any]:
        return {
            "run_id": turn.run_id,
            "phase": turn.phase,
            "variant": self.prepared.variant,
            "role": turn.role,
            "block": turn.block,
            "position": turn.position,
            "target": turn.target,
            "scenario": turn.scenario,
            "batching": turn.batching,
            "seed": self._seed,
            "trial": turn.trial,
            "inputs": turn.inputs,
        }


def several(variant: Variant) -> dict[str, str]:
    """Variables for a child with several instances: pools that wait asleep, and as wide as one's share of the cores.

    What burns a core while it waits takes it from another instance. Who set OMP_WAIT_POLICY or fewer threads keeps it.
    """
    if variant.instances == 1:
        return {}
    env = {} if "OMP_WAIT_POLICY" in os.environ else {"OMP_WAIT_POLICY": "PASSIVE"}
    if variant.placement == "shared":
        return env
    share = max(1, math.ceil(usable_cores() / variant.instances))
    usual = environment({})
    return env | {name: str(min(int(usual[name]), share)) for name in THREAD_VARIABLES}


def worst(witnesses: list[dict[str, Any]]) -> Level:
    """The verdict over all witnesses of a run: the worst level that isn't a mere warning."""
    levels = {w["level"] for w in witnesses}
    if "invalid" in levels:
        return "invalid"
    return "unstable" if "unstable" in levels else "valid"


def _judge_check(result: Result) -> Result:
    """Fast because wrong is not fast: a mismatch among the timed outputs makes the run invalid (rule 40)."""
    if result.check is None or result.check.mismatched == 0:
        return result
    reason = (
        f"{result.check.mismatched} of {result.check.checked} checked outputs were farther from the reference while "
        f"timed ({result.check.largest:.3g}) than in scoring (limit {result.check.limit:.3g})"
    )
    return msgspec.structs.replace(result, validity="invalid", reason=reason)


def items_per_second(trace: Trace) -> float:
    """Counted, answered requests over the time from the first one's due to the last one's end (rule 28)."""
    done = trace.counted().ok()
    if len(done) == 0:
        return 0.0
    return float(len(done) / ((done.finished.max() - done.due.min()) * 1e-9))


def script_folders() -> list[str]:
    """Folders a live object's module may have to be imported from in a child: the script's own, never the cwd alone."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return [os.fspath(Path(main).resolve().parent)] if main else []
