"""What the suite keeps of each cell, a variant of a model: its batch half and its online half, as plain data.

One JSON file a cell beside the runs it was read from, so that an interrupted suite goes on where it was; the page is
made from them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from accel.plugins import Named
from accel.result import Level, Quality, write_atomically
from benchmarks.batching.rows import Span, Where


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Items a second of each round at the best size. by_size: (size, items/s) of short looks."""

    size: int
    items_per_s: tuple[float, ...]
    by_size: tuple[tuple[int, float], ...]
    validity: tuple[Level, ...]
    results: tuple[str, ...]


class Online(msgspec.Struct, frozen=True, kw_only=True):
    """One request at a time, then as many a second as the limit allows.

    alone_s: median latency of each single_stream round. p, slo_s: the limit; wanted_p: the recipe's own percentile.
    max_qps: the lower 90 % bound of where the limit is met (1/s), 0: at no rate; crossing: that point. there_p50_s,
    there_s: median and limit's quantile of each fresh trial at max_qps, whose Results `fresh` names.
    """

    alone_s: tuple[float, ...]
    p: float
    wanted_p: float
    slo_s: float
    policy: Named
    max_qps: float
    crossing: Span
    flags: tuple[str, ...]
    level: Level
    trials: int
    there_p50_s: tuple[float, ...]
    there_s: tuple[float, ...]
    validity: tuple[Level, ...]
    results: tuple[str, ...]
    fresh: tuple[str, ...] = ()
    verdict: str = ""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of one model; reason: why it can't be used, then the halves are missing."""

    model: str
    variant: str
    original: bool
    random_weights: bool
    where: Where
    quality: Quality | None = None
    reason: str = ""
    batch: Batch | None = None
    online: Online | None = None


def path_of(folder: Path, variant: str) -> Path:
    """Where a cell lies."""
    return folder / "cells" / f"{variant}.json"


def load(folder: Path, variant: str) -> Cell | None:
    """A kept cell, or None."""
    path = path_of(folder, variant)
    return msgspec.json.decode(path.read_bytes(), type=Cell) if path.is_file() else None


def keep(folder: Path, cell: Cell) -> None:
    """Commit a cell; the half that this one doesn't have is taken from an earlier one."""
    earlier = load(folder, cell.variant)
    if earlier is not None and not cell.reason:
        cell = msgspec.structs.replace(cell, batch=cell.batch or earlier.batch, online=cell.online or earlier.online)
    path = path_of(folder, cell.variant)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(cell), indent=1))
