"""Which execution providers and devices are here besides those that are tuned? Each runtime is asked in a process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import msgspec

from accel.compilation._devices import KNOWN, Device

_MODULE = "accel.compilation._devices"


def devices(runtimes: Iterable[str], gpus: int, timeout_s: float = 120.0) -> tuple[Device, ...]:
    """What the runtimes say, in their order; those that can't be asked, or that break when they are, say nothing.

    gpus: how many NVIDIA GPUs are visible.
    """
    asked = {
        name: subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", _MODULE, name, str(gpus)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for name in dict.fromkeys(runtimes)
        if name in KNOWN
    }
    return tuple(device for process in asked.values() for device in _answer(process, timeout_s))


def _answer(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[Device, ...]:
    try:
        said, _ = process.communicate(timeout=timeout_s)
        return msgspec.json.decode(said, type=tuple[Device, ...]) if process.returncode == 0 else ()
    except (subprocess.TimeoutExpired, msgspec.DecodeError):
        return ()
    finally:
        process.kill()
        process.wait()


def lines(found: Iterable[Device]) -> list[str]:
    """One line for each way that is tuned or there; what only another build or another machine has, by its reason."""
    told, absent = [], dict[tuple[str, str], list[str]]()
    for device in found:
        if device.runs:
            told.append(f"ok  {device.runtime} {device.name}: {device.by}")
        else:
            absent.setdefault((device.runtime, device.why), []).append(device.name)
    for (runtime, why), names in absent.items():
        told.append(f"--  {runtime} {', '.join(n.removesuffix('ExecutionProvider') for n in names)}: {why}")
    return told
