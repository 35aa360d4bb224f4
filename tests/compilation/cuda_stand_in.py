"""What stands for the module `torch` on a machine with a GPU: the real one, whose GPU is the processor and counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Event:
    """A mark: the time of it is what the card's clock says (ms), or nothing while it wasn't recorded."""

    def __init__(self, card: Cuda) -> None:
        self._card, self.at = card, -1.0

    def record(self) -> None:
        self._card.said.append("event")
        self.at = self._card.clock_ms

    def elapsed_time(self, other: Event) -> float:
        assert self._card.said[-1] == "synchronize", "events are read once the device is done"
        return other.at - self.at


class Cuda:
    """`torch.cuda`. said: what was asked of it, in order. clock_ms: moved on by whoever takes time."""

    def __init__(self, available: bool = True) -> None:
        self.said: list[str] = []
        self.clock_ms = 0.0
        self.peak = 1000
        self._available = available

    def is_available(self) -> bool:
        return self._available

    def synchronize(self) -> None:
        self.said.append("synchronize")

    def Event(self, *, enable_timing: bool) -> Event:
        assert enable_timing
        return Event(self)

    def max_memory_allocated(self) -> int:
        return self.peak

    def reset_peak_memory_stats(self) -> None:
        self.peak = 0

    def get_device_properties(self, index: int) -> Any:
        return SimpleNamespace(name="Test GPU", major=9, minor=0)


class Torch:
    """`torch` with a `cuda` of its own; pinned memory is plain memory. locked: bytes of the pinned buffers made."""

    def __init__(self, cuda: Cuda | None = None) -> None:
        import torch

        self._torch = torch
        self.cuda = cuda or Cuda()
        self.locked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)

    def device(self, name: str) -> Any:
        assert name == "cuda"
        return self._torch.device("cpu")

    def empty(self, size: int, *, dtype: Any, pin_memory: bool) -> Any:
        assert pin_memory
        self.locked.append(size)
        return self._torch.empty(size, dtype=dtype)
