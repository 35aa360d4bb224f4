"""What is kept of a run on a GPU: there Results and what became of each variant, at home one file a network."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from accel import plugins
from accel.compilation import DeviceTimes, Effective
from accel.measurement.nvml import Gpu
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Level, Quality, Role
from benchmarks.batching.rows import REPORTS, Where

FOLDER = REPORTS / "gpu"
SIZES = (1, 8, 64)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one variant: ready (it was timed), refused (it can't run here), failed or late; and why."""

    variant: Variant
    outcome: Literal["ready", "refused", "failed", "late"]
    reason: str = ""
    next_step: str = ""
    log_tail: str = ""


class Sitting(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one network that isn't in its Results. `gpu`: None in a rehearsal on the processor.

    seconds: that all of it took, opening included. rehearsal: the processor stood in for the GPU.
    """

    model: str
    where: Where
    gpu: Gpu | None
    packages: dict[str, str]
    seconds: float
    rehearsal: bool
    outcomes: tuple[Outcome, ...]


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One timed run: items a second, and the median time of one batch (s), copies there and back included."""

    block: int
    role: Role
    items_per_s: float
    batch_s: float
    level: Level


class Cell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One variant at one batch size. device_times: that of the median block by compute time."""

    variant: str
    size: int
    runs: tuple[Run, ...]
    effective: Effective | None = None
    quality: Quality | None = None
    device_times: DeviceTimes | None = None
    gpu_peak_bytes: int | None = None
    open_s: float | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One network: its sitting and its cells, the first variant of `sitting` the base of all ratios."""

    sitting: Sitting
    cells: tuple[Cell, ...]


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    backend: dict[str, Any]
    models: tuple[str, ...] = ()


def variants(model: str, *, rehearsal: bool) -> list[Variant]:
    """What is tried on a network, the base first."""
    text = tomllib.loads(Path(__file__).with_name("variants.toml").read_text("utf-8"))
    listed = msgspec.convert(text["rehearsal" if rehearsal else "gpu"], list[_Row])
    return [
        Variant(name=row.name, backend=_named(row.backend)) for row in listed if not row.models or model in row.models
    ]


def _named(table: dict[str, Any]) -> Named:
    return plugins.parse("compilation", table)
