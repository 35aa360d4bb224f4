"""The GPU's library behind a stand-in: what it tells, what it doesn't, and no library at all."""

from __future__ import annotations

import sys
from pathlib import Path

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


def test_chip_and_driver_are_told_by_newer_libraries() -> None:
    library = StandIn()
    library.nvmlSystemGetCudaDriverVersion = lambda: 12080  # type: ignore[attr-defined]
    library.nvmlDeviceGetCudaComputeCapability = lambda device: (9, 0)  # type: ignore[attr-defined]
    assert Nvml(library).gpus()[0].capability == "9.0"
    assert Nvml(library).gpus()[0].cuda == "12.8"
    assert Nvml(StandIn()).gpus()[0].cuda is None


def test_without_the_package_the_drivers_command_names_the_gpus(tmp_path: Path) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(
        "#!/bin/sh\n"
        'case "$1" in --query-gpu*) echo "NVIDIA H200, 143771, 580.159.04, 9.0"\n'
        'echo "Other, [N/A], 580.159.04, [N/A]";;\n'
        '*) echo "| NVIDIA-SMI 580.159.04   Driver Version: 580.159.04   CUDA Version: 13.0  |";; esac\n'
    )
    command.chmod(0o755)
    assert nvml._told_by_command(str(command)) == (
        Gpu(name="NVIDIA H200", memory_bytes=143771 << 20, driver="580.159.04", capability="9.0", cuda="13.0"),
        Gpu(name="Other", driver="580.159.04", cuda="13.0"),
    )
    command.write_text("#!/bin/sh\nexit 9\n")
    assert nvml._told_by_command(str(command)) == ()
    assert nvml._told_by_command(str(tmp_path / "absent")) == ()
