"""The machine's peaks, from the cache or measured now in a child of their own."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

import accel.compilation
from accel.analysis.conclusion import StudyRecord
from accel.measurement import affinity
from accel.measurement.isolation import Child, ChildFailed
from accel.measurement.machine import Machine, env_id
from accel.measurement.peaks import Peak, Peaks
from accel.result import write_atomically
from accel.study.asking import ask_within
from accel.study.budget import Budget, BudgetEnded
from accel.study.cache import cache_root, source_sha256

SECONDS = 15.0
_SHARE, _LEAST_S, _STARTING_S = 0.05, 8.0, 5.0
"""Of the budget at most; with less time than this it isn't worth it; what starting the child adds."""
_MEASURING = ("bandwidth", "products", "rounds")
_AROUND = 2.0
"""A child that takes longer than this many times what it was told is given up."""


def kept(machine: Machine) -> Peaks | None:
    """What was measured here before, with the same software; None if nothing was."""
    with contextlib.suppress(OSError, msgspec.DecodeError):  # not measured yet, or by an older version
        return msgspec.json.decode(_place(machine).read_bytes(), type=Peaks)
    return None


def measured(
    machine: Machine,
    *,
    seconds: float = SECONDS,
    left_s: float | None = None,
    tell: Callable[[str], None] | None = None,
) -> Peaks:
    """Measure in about `seconds`; the machine must be at rest.

    Raises ChildFailed if the child breaks, BudgetEnded if it is cut after `left_s`.
    """
    begun = time.monotonic()
    threads = sorted({1, machine.cores})
    with tempfile.TemporaryDirectory(prefix="accel-peaks-") as place:
        # numpy's library works on one thread: `accel.measurement.products` starts its own.
        env = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENVINO_TELEMETRY_DISABLE": "1"}
        with Child("accel.study.peaks_child", env=env, log=Path(place) / "peaks.log", cwd=Path(place)) as child:
            reply = ask_within(
                child,
                {
                    "do": "measure",
                    "threads": threads,
                    "seconds": seconds,
                    "caches": machine.caches_bytes,
                    "l3_count": _l3_count(machine),
                    "memory_bytes": machine.memory_bytes,
                    "bf16": machine.has_bf16,
                },
                timeout_s=30.0 + _AROUND * seconds,
                left_s=30.0 + _AROUND * seconds if left_s is None else left_s,
                on_stage=tell,
            )
    return Peaks(
        entries=msgspec.convert(reply["entries"], tuple[Peak, ...]),
        missing=reply["missing"],
        env_id=env_id(machine),
        cores=machine.cores,
        seconds=time.monotonic() - begun,
        caches_bytes=machine.caches_bytes,
        l3_count=_l3_count(machine),
        measured_unix_ns=time.time_ns(),
    )


def renewed(
    machine: Machine,
    *,
    seconds: float = SECONDS,
    left_s: float | None = None,
    tell: Callable[[str], None] | None = None,
) -> Peaks:
    """Measure, and keep the higher of this and what was kept before; raises as `measured`."""
    found = measured(machine, seconds=seconds, left_s=left_s, tell=tell).merged(kept(machine))
    keep(found, machine)
    return found


def with_peaks(record: StudyRecord, machine: Machine, budget: Budget, tell: Callable[[str], None]) -> StudyRecord:
    """The record with the machine's peaks: kept ones, else measured now if that is a small part of the budget.

    A study whose cost isn't known has nothing to hold against them. A child that fails leaves them unknown.
    """
    if record.peaks is not None or record.cost is None or record.cost.macs == 0:
        return record
    found = kept(machine)
    seconds = min(SECONDS, _SHARE * budget.total_s)
    if found is None and seconds >= _LEAST_S and budget.fits(seconds + _STARTING_S):
        tell("the machine's peaks")
        with contextlib.suppress(ChildFailed, BudgetEnded):
            found = renewed(machine, seconds=seconds, left_s=budget.cut_s(), tell=tell)
    return msgspec.structs.replace(record, peaks=found)


def keep(found: Peaks, machine: Machine) -> None:
    """For the next study on this machine; a cache that can't be written costs nothing but time."""
    with contextlib.suppress(OSError):
        path = _place(machine)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, msgspec.json.format(msgspec.json.encode(found), indent=1))


def _place(machine: Machine) -> Path:
    return cache_root().parent / "peaks" / f"{env_id(machine)}-{machine.cores}-{_source()[:12]}.json"


def _source() -> str:
    """Of the code that measures: of what was measured in another way, the higher value would stay for good."""
    libraries = (f"compilation/{path.name}" for path in Path(accel.compilation.__file__).parent.glob("_peaks_*.py"))
    return source_sha256("study/peaks_child.py", *(f"measurement/{name}.py" for name in _MEASURING), *libraries)


def _l3_count(machine: Machine) -> int:
    """How many L3 the usable processors have together; 1 where the system doesn't tell."""
    sets = machine.topology.l3 if machine.topology is not None else None
    usable = set(machine.affinity or affinity.usable())
    return max(1, sum(bool(usable & set(group)) for group in sets or ()))
