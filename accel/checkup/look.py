"""What can run here, what this machine can do, how noisy it is now, what is missing?"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import msgspec
import numpy as np

from accel import plugins
from accel.checkup.devices import devices
from accel.compilation import not_installed
from accel.compilation._devices import Device
from accel.measurement import noise
from accel.measurement.machine import Machine, detect
from accel.measurement.snapshot import snapshot
from accel.result import Witness
from accel.units import show_bytes

# What a set of instruction-set flags is good for, the first that is there counts: (flags, meaning, else).
_CAN: tuple[tuple[set[str], str, str], ...] = (
    ({"avx512_vnni", "avx_vnni", "asimddp", "amx_int8"}, "8-bit dot products: INT8 can pay", "no 8-bit dot products"),
    ({"avx512_bf16", "amx_bf16", "bf16"}, "bfloat16 arithmetic", "no bfloat16 arithmetic"),
    ({"amx_tile"}, "matrix tiles (AMX)", "no matrix tiles (AMX)"),
    ({"avx512f", "sve"}, "512-bit or scalable vectors", "no 512-bit vectors"),
)
_PROBE = "import importlib, sys; importlib.import_module(sys.argv[1])"


class BackendState(msgspec.Struct, frozen=True, kw_only=True):
    """Can a backend run? `problem` is "" if so, else why not; `get` says how to get it, if it can be got."""

    name: str
    runtime: str
    version: str
    problem: str = ""
    get: str = ""


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """A short look at how quiet the machine is.

    spread: how much longer the slowest hundredth of equal pieces of work took than the median piece, as a fraction.
    witnesses, missing: as in every measured run.
    """

    seconds: float
    spread: float
    witnesses: tuple[Witness, ...]
    missing: tuple[str, ...]


class Checkup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `accel doctor` found."""

    machine: Machine
    backends: tuple[BackendState, ...]
    noise: Noise
    devices: tuple[Device, ...] = ()

    @property
    def can_run(self) -> bool:
        """True if at least one backend can run."""
        return any(not backend.problem for backend in self.backends)


def examine(noise_s: float = 1.0) -> Checkup:
    """Look at this machine; takes a few seconds, since each runtime is imported once in a process of its own."""
    machine = detect()
    states = backends(machine, import_problem)
    runtimes = [state.runtime for state in states if not state.problem]
    return Checkup(
        machine=machine, backends=states, noise=listen(noise_s), devices=devices(runtimes, len(machine.gpus or ()))
    )


def backends(machine: Machine, problem_of: Callable[[str], str]) -> tuple[BackendState, ...]:
    """The state of every backend but `null`, which measures the harness; `problem_of(package)` is "" if it imports."""
    states = []
    for name in plugins.names("compilation"):
        cls = plugins.load("compilation", name)
        if cls.runtime == "numpy":
            continue
        absent = getattr(cls, "needs_gpu", False) and not machine.gpus
        problem = "needs an NVIDIA GPU, and none is visible here" if absent else problem_of(cls.runtime)
        missing = not_installed(cls, f"the backend `{name}`")
        get = missing.install if problem and not absent else ""
        version = machine.packages.get(cls.runtime, "")
        states.append(BackendState(name=name, runtime=cls.runtime, version=version, problem=problem, get=get))
    return tuple(states)


def import_problem(package: str, timeout_s: float = 120.0) -> str:
    """Why a package can't be imported, or ""; tried in a process of its own, since a broken runtime may crash."""
    if find_spec(package) is None:
        return "not installed"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-c", _PROBE, package],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return f"installed, but importing it took more than {timeout_s:.0f} s"
    if done.returncode == 0:
        return ""
    last = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
    return f"installed, but it can't be imported ({last})"


def listen(seconds: float, now_ns: Callable[[], int] = time.perf_counter_ns) -> Noise:
    """Do equal pieces of work for `seconds` and watch what disturbs them."""
    before = snapshot()
    end = now_ns() + int(seconds * 1e9)
    pieces: list[int] = []
    while not pieces or now_ns() < end:
        start = now_ns()
        sum(range(20_000))
        pieces.append(now_ns() - start)
    witnesses, missing = noise.judge(before, snapshot())
    median, late = np.quantile(np.asarray(pieces, np.int64), (0.5, 0.99))
    spread = float(late / max(median, 1.0) - 1.0)
    return Noise(seconds=seconds, spread=spread, witnesses=tuple(witnesses), missing=tuple(missing))


def abilities(machine: Machine) -> list[str]:
    """What the processor's instruction sets mean for inference, in words."""
    here = set(machine.flags)
    return [meaning if flags & here else otherwise for flags, meaning, otherwise in _CAN]


def advice(found: Checkup) -> list[str]:
    """What to do next, the most useful first; empty if all is well."""
    told = [f"`{b.name}` can't run: {b.problem}. Get it with: {b.get}" for b in found.backends if b.problem and b.get]
    told += [w.sentence for w in found.noise.witnesses if w.level != "ok"]
    if found.noise.spread > 0.1:
        told.append(
            f"Equal pieces of work differed by {100 * found.noise.spread:.0f} % just now: other work is running. "
            "Stop it, or measure with --profile shared."
        )
    machine = found.machine
    if machine.limited:
        threads = f"{machine.cores} thread{'' if machine.cores == 1 else 's'}"
        told.append(f"Give runtimes {threads} here: {machine.limited}.")
    if machine.governor not in (None, "performance"):
        told.append(f"The frequency governor is `{machine.governor}`; `performance` makes times repeat better.")
    if machine.memory_bytes is not None and machine.memory_bytes < 2e9:
        told.append(f"There are only {show_bytes(machine.memory_bytes)} of memory; larger models may not fit.")
    return told
