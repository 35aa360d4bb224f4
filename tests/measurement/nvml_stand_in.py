"""What stands for the module `pynvml`: one GPU that counts, with some values it doesn't tell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class NotSupported(Exception):
    """The kind that the real package raises."""


class StandIn:
    """One device. `energy_mj` and `reasons` may be set between two readings; `lacks` names what isn't supported."""

    NVML_CLOCK_SM = 1

    def __init__(self, *, lacks: tuple[str, ...] = ()) -> None:
        self.energy_mj, self.reasons, self.clock_mhz, self.power_mw = 1000, 0, 1500, 50_000
        self.lacks = lacks

    def _tell(self, name: str, value: Any) -> Any:
        if name in self.lacks:
            raise NotSupported(name)
        return value

    def nvmlInit(self) -> None:
        self._tell("init", None)

    def nvmlDeviceGetCount(self) -> int:
        return 0 if "device" in self.lacks else 1

    def nvmlDeviceGetHandleByIndex(self, i: int) -> int:
        return i

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"550.1"

    def nvmlDeviceGetName(self, _: int) -> str:
        return "Test GPU"

    def nvmlDeviceGetMemoryInfo(self, _: int) -> Any:
        return self._tell("memory", SimpleNamespace(total=8 << 30))

    def nvmlDeviceGetClockInfo(self, _: int, kind: int) -> Any:
        return self._tell("clock", self.clock_mhz)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _: int) -> Any:
        return self._tell("reasons", self.reasons)

    def nvmlDeviceGetTotalEnergyConsumption(self, _: int) -> Any:
        return self._tell("energy", self.energy_mj)

    def nvmlDeviceGetPowerUsage(self, _: int) -> Any:
        return self._tell("power", self.power_mw)

    def nvmlDeviceGetComputeRunningProcesses(self, _: int) -> Any:
        rows = [SimpleNamespace(pid=7, usedGpuMemory=100), SimpleNamespace(pid=8, usedGpuMemory=None)]
        return self._tell("processes", rows)
