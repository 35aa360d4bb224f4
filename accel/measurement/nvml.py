"""What NVIDIA's management library says about the GPUs here; nothing at all where it or a GPU is absent.

The package is `nvidia-ml-py` (module `pynvml`), optional and imported only when asked; without it `nvidia-smi`, which
comes with the driver, at least names the GPUs. Every value that a GPU or driver doesn't tell is None.
"""

from __future__ import annotations

import importlib
import re
import subprocess
from collections.abc import Callable
from typing import Any

import msgspec

SLOWED = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Bits of nvmlDeviceGetCurrentClocksThrottleReasons that mean that heat or the power supply slowed the clock.

Idle (0x01), clocks set by the user (0x02) and the power cap (0x04), which is how most GPUs run under load, are none."""

_CSV = "--format=csv,noheader,nounits"
_PATIENCE_S = 20.0


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU as the fingerprint names it.

    capability: the chip's generation ("9.0"). cuda: up to which CUDA version the driver goes ("13.0").
    """

    name: str
    memory_bytes: int | None = None
    driver: str | None = None
    capability: str | None = None
    cuda: str | None = None


class GpuReading(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU at one moment: SM clock, throttle reasons (bit mask), energy since the driver was loaded, power."""

    clock_mhz: int | None = None
    reasons: int | None = None
    energy_mj: int | None = None
    power_mw: int | None = None


class Nvml:
    """An open library. `library` is the module `pynvml` or what stands for it in tests."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._devices = [library.nvmlDeviceGetHandleByIndex(i) for i in range(library.nvmlDeviceGetCount())]

    def gpus(self) -> tuple[Gpu, ...]:
        """Name, memory and driver of each GPU."""
        lib = self._library
        driver = _text(_ask(lib.nvmlSystemGetDriverVersion))
        cuda = _ask(lambda: lib.nvmlSystemGetCudaDriverVersion())
        return tuple(
            Gpu(
                name=_text(_ask(lib.nvmlDeviceGetName, d)) or "unknown",
                memory_bytes=getattr(_ask(lib.nvmlDeviceGetMemoryInfo, d), "total", None),
                driver=driver,
                capability=_dotted(_ask(lambda d=d: lib.nvmlDeviceGetCudaComputeCapability(d))),
                cuda=None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            )
            for d in self._devices
        )

    def read(self) -> tuple[GpuReading, ...]:
        """What each GPU says now."""
        lib = self._library
        return tuple(
            GpuReading(
                clock_mhz=_ask(lib.nvmlDeviceGetClockInfo, d, lib.NVML_CLOCK_SM),
                reasons=_ask(lib.nvmlDeviceGetCurrentClocksThrottleReasons, d),
                energy_mj=_ask(lib.nvmlDeviceGetTotalEnergyConsumption, d),
                power_mw=_ask(lib.nvmlDeviceGetPowerUsage, d),
            )
            for d in self._devices
        )

    def process_bytes(self, pid: int) -> int | None:
        """GPU memory held by a process over all GPUs; None where no GPU names it (as inside most containers)."""
        lib = self._library
        running = [p for d in self._devices for p in _ask(lib.nvmlDeviceGetComputeRunningProcesses, d) or []]
        held = [p.usedGpuMemory for p in running if p.pid == pid and p.usedGpuMemory is not None]
        return sum(held) if held else None

    def temperature_c(self) -> float | None:
        """The hottest GPU's temperature in degrees Celsius; None where none tells."""
        known = [_ask(self._library.nvmlDeviceGetTemperature, d, 0) for d in self._devices]
        return max((float(t) for t in known if t is not None), default=None)


def find() -> Nvml | None:
    """The library of this machine, ready to be asked; None without the package, a driver or a GPU."""
    try:
        library = importlib.import_module("pynvml")
        library.nvmlInit()
        opened = Nvml(library)
    except Exception:
        # The package raises kinds of its own for a missing driver, no permission and no device: all mean "no GPU".
        return None
    return opened if opened._devices else None


def gpus() -> tuple[Gpu, ...]:
    """Every GPU here, from the library or else from `nvidia-smi`; empty where neither finds one."""
    library = find()
    return library.gpus() if library is not None else _told_by_command()


def _told_by_command(command: str = "nvidia-smi") -> tuple[Gpu, ...]:
    try:
        listed = _output(command, "--query-gpu=name,memory.total,driver_version,compute_cap", _CSV)
        head = _output(command)
    except (OSError, subprocess.SubprocessError):
        return ()
    cuda = re.search(r"CUDA Version:\s*([\d.]+)", head)
    rows = [[cell.strip() for cell in line.split(",")] for line in listed.splitlines() if line.count(",") == 3]
    return tuple(
        Gpu(
            name=name,
            memory_bytes=int(memory) << 20 if memory.isdigit() else None,
            driver=driver,
            capability=capability if re.fullmatch(r"\d+\.\d+", capability) else None,
            cuda=cuda[1] if cuda else None,
        )
        for name, memory, driver, capability in rows
    )


def _output(*command: str) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
    )
    return done.stdout


def _dotted(value: tuple[int, int] | None) -> str | None:
    return None if value is None else f"{value[0]}.{value[1]}"


def slowed_by(reasons: int) -> list[str]:
    """The reasons in a throttle mask that make a run doubtful, in words.

    >>> slowed_by(0x44)
    ['hardware thermal slowdown']
    """
    return [name for bit, name in SLOWED.items() if reasons & bit]


def _ask(call: Callable[..., Any], *given: Any) -> Any:
    try:
        return call(*given)
    except Exception:
        # "Not supported" is an exception of the package: the value isn't there.
        return None


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
