"""Strategy 2: make a model runnable, with the backend's hardware knobs as fields. One file a backend.

`build` runs in a prepare child and may use any toolchain; `open` runs in a measure child and loads one runtime and the
artefact, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import MissingLibrary

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

Arrays = dict[str, npt.NDArray[Any]]
"""Named arrays, the batch on axis 0."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a combination isn't tried, and what to do instead."""

    reason: str
    next_step: str = ""


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """What really ran, read back from the runtime wherever it can be asked.

    provider: who computed, with ", cuda" behind it on a GPU.
    """

    precision: str
    threads: int
    provider: str
    detail: dict[str, str] = {}

    @property
    def on_gpu(self) -> bool:
        """True if a GPU computed: threads and peaks of the processor say nothing about it."""
        return self.provider.endswith(", cuda")


class DeviceTimes(msgspec.Struct, frozen=True, kw_only=True):
    """One batch taken apart on a device of its own: the inputs' way there, the computation, the outputs' way back.

    Medians in seconds over `repeats` runs of `rows` items, asked for apart from the measured run, whose latency holds
    all three and the harness's own work besides. source: which clock, and what it can't see.
    """

    rows: int
    repeats: int
    to_device_s: float
    compute_s: float
    to_host_s: float
    source: str


class Engine(Protocol):
    """A runnable thing, closed after use. `run` returns when the device is done.

    sizes: the batch sizes it takes, ascending; None means any.
    parallel_runs: True if `run` may be called from several threads at once.
    run: named input arrays (batch, ...) -> named output arrays (batch, ...), on the host.
    apart (optional): the same inputs, and how often -> DeviceTimes, for an engine on a device of its own.
    device_peak_bytes (optional): the most the device's memory held since it was last asked with reset=True.
    """

    sizes: tuple[int, ...] | None
    parallel_runs: bool
    effective: Effective

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays: ...

    def close(self) -> None: ...


class Backend(Protocol):
    """The contract of a backend: a frozen struct whose fields are its knobs.

    runs: the model forms it can build from, the best first ("torch", "onnx", "openvino", "callable").
    runtime: the Python package a measure child needs.
    extra: the accel-bench extra that installs it.
    install (optional): the command that installs it, where neither the extra nor the package's own name does.
    slow_to_build (optional, False if absent): its compiler takes a minute or so; tried only while there is time.
    shares_process (optional, True if absent): several engines of it may live and run side by side in one process.
    takes_turns (optional, False if absent): much of a run is Python, so that several in one process would take turns.
    plain (optional, False if absent): `open` reads data only, no pickle and no native code, so an artefact from
        elsewhere may be opened without --trust-file.
    build_fields (optional, every field if absent): the fields that shape what `build` writes or what is read from it
        while preparing. Variants that differ in other fields alone share one artefact.
    needs_gpu (optional, False if absent): there is no such backend on the processor.
    profile (optional): (folder, inputs, seconds) -> `_profile.Layers`, where the time of an artefact goes by its
        runtime's own profiler; runs in a child of its own.
    env: environment variables a child must have *before* the runtime is imported.
    fits: None, or why it isn't tried for this model on this machine.
    build: write a self-contained artefact into an empty folder; raises VariantError.
    open: load what `build` wrote.
    script: lines of Python that define `predict(inputs: dict) -> dict` from the folder `here` (a `pathlib.Path`),
        using the runtime and numpy alone; used for the saved winner's run.py.
    """

    runs: ClassVar[tuple[str, ...]]
    runtime: ClassVar[str]
    extra: ClassVar[str | None]

    def env(self) -> dict[str, str]: ...

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None: ...

    def build(self, model: Model, folder: Path) -> None: ...

    def open(self, folder: Path) -> Engine: ...

    def script(self, folder: Path) -> str: ...


def on_gpu(backend: Backend) -> bool:
    """True if it computes on a GPU: there is no other way, or its field `device` says so."""
    return bool(getattr(backend, "needs_gpu", False)) or getattr(backend, "device", "cpu") != "cpu"


def not_installed(backend: Backend | type[Backend], what: str, package: str | None = None) -> MissingLibrary:
    """That `package` (by default the runtime's own) is missing, with the line that installs the backend."""
    line = getattr(backend, "install", None)
    return MissingLibrary(package or backend.runtime, what, extra=backend.extra, line=line)


def threads_or(default: int, asked: int) -> int:
    """The thread count to use: what was asked for, or (0) the number the process may really use."""
    return asked if asked > 0 else max(1, default)


def as_named(names: tuple[str, ...], values: Any) -> Arrays:
    """Pair a runtime's output list with its names, as numpy arrays."""
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
