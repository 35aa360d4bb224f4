"""The GPU's library behind a stand-in: what it tells, what it doesn't, and no library at all."""

from __future__ import annotations

import sys

import pytest

from accel.measurement import nvml
from accel.measurement.nvml import Gpu, GpuReading, Nvml, slowed_by
from tests.measurement.nvml_stand_in import StandIn


def test_what_a_gpu_tells() -> None:
    library = Nvml(StandIn())
    assert library.gpus() == (Gpu(name="Test GPU", memory_bytes=8 << 30, driver="550.1"),)
    assert library.read() == (GpuReading(clock_mhz=1500, reasons=0, energy_mj=1000, power_mw=50_000),)
    assert library.process_bytes(7) == 100


def test_what_it_does_not_tell_is_none() -> None:
    library = Nvml(StandIn(lacks=("memory", "clock", "energy", "power", "reasons", "processes")))
    assert library.gpus()[0].memory_bytes is None
    assert library.read() == (GpuReading(),)
    assert library.process_bytes(7) is None
    assert Nvml(StandIn()).process_bytes(8) is None


@pytest.mark.parametrize("lacks", ["init", "device"])
def test_no_driver_or_no_device_is_no_library(monkeypatch: pytest.MonkeyPatch, lacks: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", StandIn(lacks=(lacks,)))  # type: ignore[arg-type]
    assert nvml.find() is None
    monkeypatch.setitem(sys.modules, "pynvml", StandIn())  # type: ignore[arg-type]
    assert nvml.find() is not None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # type: ignore[arg-type]
    assert nvml.find() is None


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (0x00, []),
        (0x01, []),
        (0x07, []),
        (0x08, ["hardware slowdown"]),
        (0x24, ["software thermal slowdown"]),
        (0xC0, ["hardware thermal slowdown", "power brake"]),
    ],
)
def test_masks(mask: int, words: list[str]) -> None:
    assert slowed_by(mask) == words
