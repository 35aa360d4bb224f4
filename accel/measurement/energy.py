"""How much energy did a run draw? Counters of the processor (RAPL) and of GPUs (NVML) over the run's window (rule 42).

A machine without readable counters, as most virtual ones, has no answer: None, never an estimate.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Self

import msgspec

from accel.measurement import cgroup
from accel.measurement.cgroup import read
from accel.measurement.nvml import GpuReading, Nvml
from accel.result import Energy

LEAST_S, LEAST_UPDATES = 10.0, 100
"""A shorter window, or one in which a counter moved less often, gives no number."""
POLL_S = 0.05
"""How often the counters are read: 100 updates need that in a window of 10 s, and a wrap (a minute or more) shows."""
APART = 0.10
"""By how much the GPU's counter and its integrated power may differ."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """All counters at one moment. rapl_uj: microjoules by package; gpus: as NVML tells them."""

    at_ns: int
    rapl_uj: Mapping[str, int]
    gpus: tuple[GpuReading, ...] = ()


def ranges_uj(root: Path = cgroup.ROOT) -> dict[str, int]:
    """Where each package's counter wraps; one that doesn't say or may not be read is left out, so it is never used."""
    found: dict[str, int] = {}
    # `intel-rapl:0` is a package; `intel-rapl:0:1` is a part of it and would be counted twice.
    for folder in sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]*")):
        text = (read(folder / "max_energy_range_uj") or "").strip()
        if folder.name.count(":") == 1 and text.isdigit() and int(text) > 0 and read(folder / "energy_uj"):
            found[folder.name] = int(text)
    return found


def reading(packages: Mapping[str, int], nvml: Nvml | None, root: Path = cgroup.ROOT) -> Reading:
    """Read every counter now."""
    texts = {name: (read(root / "sys/class/powercap" / name / "energy_uj") or "").strip() for name in packages}
    return Reading(
        at_ns=time.perf_counter_ns(),
        rapl_uj={name: int(text) for name, text in texts.items() if text.isdigit()},
        gpus=() if nvml is None else nvml.read(),
    )


def grown_uj(values: Sequence[int], wraps_at: int) -> tuple[int, int]:
    """(microjoules, updates) over readings of a counter that starts anew at `wraps_at`.

    Readings must come often enough that it can't wrap twice in between.

    >>> grown_uj([90, 95, 5, 5, 20], 100)
    (30, 3)
    """
    steps = [b - a if b >= a else b + wraps_at - a for a, b in pairwise(values)]
    return sum(steps), sum(s > 0 for s in steps)


def total(
    readings: Sequence[Reading], packages: Mapping[str, int], *, requests: int, idle_w: float | None = None
) -> tuple[Energy | None, str]:
    """The energy between the first and the last reading, and why there is none or what is doubtful about it ("").

    A counter must have told its value at every reading to be counted. Processor and GPU are added up (source
    "rapl+nvml"); net needs `idle_w`, what the machine drew at rest.
    """
    found = [*_of_processor(readings, packages), *_of_gpus(readings)]
    if not found:
        return None, "no counter of energy can be read"
    window_s = (readings[-1].at_ns - readings[0].at_ns) * 1e-9
    updates = min(moved for _, _, moved in found)
    if window_s < LEAST_S or updates < LEAST_UPDATES:
        return None, (
            f"energy needs {LEAST_S:.0f} s and {LEAST_UPDATES} updates of each counter; "
            f"this run had {window_s:.1f} s and {updates}"
        )
    gross_j = sum(joules for _, joules, _ in found)
    energy = Energy(
        gross_j=gross_j,
        window_s=window_s,
        source="+".join(dict.fromkeys(source for source, _, _ in found)),
        idle_w=idle_w,
        net_j=None if idle_w is None else gross_j - idle_w * window_s,
        joules_per_request=gross_j / requests if requests else None,
    )
    return energy, "; ".join(filter(None, (_cross_check(readings, i) for i in range(len(readings[0].gpus)))))


def _of_processor(readings: Sequence[Reading], packages: Mapping[str, int]) -> Iterator[tuple[str, float, int]]:
    """("rapl", joules, updates) of each package."""
    for name, wraps_at in packages.items():
        values = [r.rapl_uj[name] for r in readings if name in r.rapl_uj]
        if len(values) == len(readings) > 1:
            grown, updates = grown_uj(values, wraps_at)
            yield "rapl", grown * 1e-6, updates


def _of_gpus(readings: Sequence[Reading]) -> Iterator[tuple[str, float, int]]:
    """("nvml", joules, updates) of each GPU that counts its energy."""
    for i in range(len(readings[0].gpus) if readings else 0):
        values = [v for r in readings if (v := r.gpus[i].energy_mj) is not None]
        if len(values) == len(readings) > 1:
            yield "nvml", (values[-1] - values[0]) * 1e-3, sum(b > a for a, b in pairwise(values))


def _cross_check(readings: Sequence[Reading], gpu: int) -> str:
    """Power integrated over the readings (trapezoids) against the counter's joules; "" unless both are known."""
    first, last = readings[0].gpus[gpu].energy_mj, readings[-1].gpus[gpu].energy_mj
    powers = [(r.at_ns * 1e-9, p * 1e-3) for r in readings if (p := r.gpus[gpu].power_mw) is not None]
    if first is None or last is None or last <= first or len(powers) < len(readings):
        return ""
    joules = (last - first) * 1e-3
    integral = sum((t1 - t0) * (p0 + p1) / 2.0 for (t0, p0), (t1, p1) in pairwise(powers))
    apart = abs(integral / joules - 1.0)
    return f"GPU {gpu}: counted energy and integrated power differ by {apart:.0%}" if apart > APART else ""


class Meter:
    """Reads the counters every 50 ms while a `with` block runs, from a thread of its own; none without counters."""

    def __init__(self, nvml: Nvml | None, root: Path = cgroup.ROOT, *, wanted: bool = True) -> None:
        self.packages = ranges_uj(root) if wanted else {}
        self._gpus = nvml if wanted and nvml is not None and any(g.energy_mj is not None for g in nvml.read()) else None
        self._root = root
        self._end = Event()
        self._thread: Thread | None = None
        self.readings: list[Reading] = []

    def __enter__(self) -> Self:
        if self.packages or self._gpus is not None:
            self.readings.append(self._read())
            self._thread = Thread(target=self._poll, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self.readings.append(self._read())

    def _read(self) -> Reading:
        return reading(self.packages, self._gpus, self._root)

    def _poll(self) -> None:
        while not self._end.wait(POLL_S):
            self.readings.append(self._read())
