"""Everything known about one run, and the only file format.

Format history, newest first:
2 (2026-11) steady state, canary, energy, inputs, memory of a GPU, the phase `search`, numerics; version 1 still reads
1 (2026-11) first version: one JSON a run, its trace beside it as .npz

A result is committed by renaming its JSON into place after its .npz is on disk. Reading one needs no plug-in, no torch
and no runtime.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from accel.compilation import DeviceTimes, Effective
from accel.errors import InputError
from accel.model.cost import Cost
from accel.plugins import Named
from accel.recipe import Variant

SCHEMA_VERSION = 2

Phase = Literal["screening", "tuning", "blocks", "search", "load", "confirmation", "measure", "steps"]
Role = Literal["baseline", "repeat", "candidate"]
Status = Literal["ok", "failed", "refused", "wrong", "skipped"]
Level = Literal["valid", "unstable", "invalid"]


class SetUp(msgspec.Struct, frozen=True, kw_only=True):
    """All seconds before the first counted request, each kept apart; null where a step didn't happen.

    load, export, compress and compile happened in the prepare child; open and first_run in the measure child.
    cached: the artefact came from the cache; the seconds are those of the time it was made.
    """

    load_s: float | None = None
    export_s: float | None = None
    compress_s: float | None = None
    compile_s: float | None = None
    import_s: float | None = None
    open_s: float | None = None
    first_run_s: float | None = None
    cached: bool = False

    @property
    def made_s(self) -> float:
        """Seconds that making the artefact took, when it was made."""
        return sum(s for s in (self.load_s, self.export_s, self.compress_s, self.compile_s) if s is not None)

    @property
    def start_s(self) -> float | None:
        """Seconds from a fresh process to the first answer: what a cold start costs once the artefact exists."""
        parts = (self.import_s, self.open_s, self.first_run_s)
        return None if None in parts else sum(p for p in parts if p is not None)


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Peaks of resident memory of the measure child (VmHWM, reset between the three), and what it holds alone.

    gpu_bytes: what the driver says the process holds on its GPUs after the run. gpu_peak_bytes: the most that the
    runtime's own allocator held there during the run, without what the driver and the runtime's libraries take.
    """

    peak_import_bytes: int | None = None
    peak_load_bytes: int | None = None
    peak_run_bytes: int | None = None
    private_bytes: int | None = None
    gpu_bytes: int | None = None
    gpu_peak_bytes: int | None = None


class Steady(msgspec.Struct, frozen=True, kw_only=True):
    """Did the service times settle? (rules 16, 17).

    label: flat; warmup (the last stretch is the fastest, only it is steady); slowdown (it got slower); none (it never
    settled); short (too few calls to tell). changes: indices of counted calls where the level changed. n: how many
    calls were looked at. used_from: the first call of the steady stretch. change: by which share of the fastest level
    the slowest lies above it; 0 if flat.
    """

    label: Literal["flat", "warmup", "slowdown", "none", "short"]
    changes: tuple[int, ...] = ()
    n: int = 0
    used_from: int = 0
    change: float = 0.0


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """Energy over a window of the run, from counters (rule 42); a Result has none where no counter can be read.

    gross_j: everything drawn. idle_w: what the machine drew at rest before. net_j: gross minus idle.
    source: "rapl" or "nvml". joules_per_request: gross over the counted requests.
    """

    gross_j: float
    window_s: float
    source: str
    idle_w: float | None = None
    net_j: float | None = None
    joules_per_request: float | None = None


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was watched during a run: `value` against the limits of the witness table."""

    id: str
    value: float
    warn: float | None
    unstable: float | None
    invalid: float | None
    level: Literal["ok", "warn", "unstable", "invalid"]
    sentence: str


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How good the outputs are, against the reference and (with labels) against the truth.

    outcome: passes, fails or unresolved by the 95 % interval; unmeasured says why in `reason`.
    rule: the guard that decided, in words. needed: how many samples would settle an unresolved outcome.
    value, low, high: the task metric with its 95 % interval; drop: reference minus value, with its interval.
    agreement: share of samples with the same top class as the reference, with its interval.
    """

    outcome: Literal["passes", "fails", "unresolved", "unmeasured"]
    rule: str
    reason: str = ""
    samples: int = 0
    metric: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reference_value: float | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    agreement: float | None = None
    agreement_low: float | None = None
    agreement_high: float | None = None
    sqnr_db: float | None = None
    sqnr_p1_db: float | None = None
    sqnr_min_db: float | None = None
    cosine: float | None = None
    cosine_min: float | None = None
    max_abs_error: float | None = None
    not_finite: int = 0
    needed: int | None = None
    synthetic: bool = False
    random_weights: bool = False


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Timed outputs compared with the reference: a seeded part of them, against twice the error seen in scoring."""

    checked: int
    mismatched: int
    limit: float
    largest: float


class Calibrated(msgspec.Struct, frozen=True, kw_only=True):
    """What calibration saw while it looked for the ranges of a quantized model's tensors.

    items: calibration items that were run. few: too few of them for ranges to be trusted.
    constant: inputs that never varied over all items. unused: tensors whose range is a single value or was never
    reached, so that their 8 bits hold nothing.
    """

    items: int
    constant: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    few: bool = False


class OperatorPrecision(msgspec.Struct, frozen=True, kw_only=True):
    """How many operators of one type compute in low precision, and why the others don't.

    type: the operator's name in the graph's own language (Conv, MatMul, GroupConvolution, ...).
    low: how many run in 8 bits or fewer. left: reason in words -> how many stayed in float; the counts of `left` add
    up to total - low. names: some of those left, by name.
    """

    type: str
    total: int
    low: int
    left: dict[str, int] = {}
    names: tuple[str, ...] = ()


class Numerics(msgspec.Struct, frozen=True, kw_only=True):
    """What a built artefact computes in which precision, read from the artefact itself; null where not knowable.

    operators: those that multiply (and what else was quantized), the most frequent first.
    unfused: Q/DQ pairs that the runtime left standing: rounded to 8 bits and computed in float. unfused_around: of
    these, operator type behind the pair -> how many. conversions: steps between operators that only change dtype or
    layout, quantize and dequantize steps between 8-bit and float operators among them.
    weight_bytes, activation_bytes: bytes by dtype name; activations of one run, where all shapes are known.
    islands: float operators that multiply and stand between operators in low precision, by type and name.
    between: all float operators that read what operators in low precision wrote, type -> how many.
    source: how this was read. notes: what couldn't be read, and why.
    """

    operators: tuple[OperatorPrecision, ...]
    unfused: int | None = None
    unfused_around: dict[str, int] = {}
    conversions: int | None = None
    weight_bytes: dict[str, int] = {}
    activation_bytes: dict[str, int] | None = None
    islands: tuple[str, ...] = ()
    between: dict[str, int] = {}
    source: str
    calibration: Calibrated | None = None
    notes: tuple[str, ...] = ()


class FirstCall(msgspec.Struct, frozen=True, kw_only=True):
    """The first call at a batch size in a process against the fastest later one seen before the timed part."""

    size: int
    first_s: float
    later_s: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about one run of one variant in one scenario.

    process: "fresh" (own process for this run) or "within-process" (parked between its turns).
    trace, trace_sha256: the .npz beside this file; null when nothing was timed.
    witness_missing: sources this machine doesn't have; never treated as zero.
    canary_s: seconds of a fixed piece of work right before and right after the run, in the same process.
    device_times: one batch of the usual size taken apart after the run, where the engine has a device of its own.
    inputs: "same" repeats one sample, to expose caching; "unique" walks through the pool.
    numerics: what computes in which precision; null where it wasn't read, and in results of before it existed.
    cost: what a call of this artefact costs, where compressions made it another than the source.
    recompiled: graphs that torch compiled from opening the engine to the end of this run; null where it compiles none.
    first_calls: batch sizes that this process met since its last run, with what their first call took.
    """

    run_id: str
    study_id: str
    phase: Phase
    variant: Variant
    role: Role
    status: Status
    schema_version: int = SCHEMA_VERSION
    created_unix_ns: int = 0
    block: int | None = None
    position: int | None = None
    target: Literal["batch", "online", "latency"] | None = None
    scenario: Named | None = None
    batching: Named | None = None
    latency: Literal["from schedule", "closed loop"] | None = None
    reason: str = ""
    next_step: str = ""
    log_tail: str = ""
    process: Literal["fresh", "within-process"] | None = None
    effective: Effective | None = None
    set_up: SetUp | None = None
    quality: Quality | None = None
    memory: Memory | None = None
    cpu_s: float | None = None
    artefact_bytes: int | None = None
    numerics: Numerics | None = None
    cost: Cost | None = None
    trace: str | None = None
    trace_sha256: str | None = None
    schedule_sha256: str | None = None
    seed: int | None = None
    trial: int | None = None
    wall_s: float | None = None
    witnesses: tuple[Witness, ...] = ()
    witness_missing: tuple[str, ...] = ()
    validity: Level = "valid"
    check: Check | None = None
    steady: Steady | None = None
    canary_s: tuple[float, float] | None = None
    energy: Energy | None = None
    device_times: DeviceTimes | None = None
    inputs: Literal["unique", "same"] = "unique"
    env_id: str = ""
    notes: tuple[str, ...] = ()
    recompiled: int | None = None
    first_calls: tuple[FirstCall, ...] = ()

    def save(self, folder: Path) -> Path:
        """Commit to `folder/RUN_ID.json`; the trace must be there already."""
        path = folder / f"{self.run_id}.json"
        write_atomically(path, msgspec.json.format(msgspec.json.encode(self), indent=1))
        return path

    @classmethod
    def load(cls, path: Path) -> Result:
        """Read one result of any version; raises InputError with the path and the field that is wrong."""
        try:
            data = msgspec.json.decode(path.read_bytes())
            version = data.get("schema_version") if isinstance(data, dict) else None
            if not isinstance(version, int) or version > SCHEMA_VERSION:
                raise InputError(
                    f"The result `{path}` has schema version `{version}`, but this accel reads up to "
                    f"{SCHEMA_VERSION}. Update accel."
                )
            return msgspec.convert(data, cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"The result `{path}` can't be read: {error}. Delete it and use --resume.") from None


def write_atomically(path: Path, data: bytes) -> None:
    """Temporary file, fsync, rename: after a crash the file is either old or new, never half."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
