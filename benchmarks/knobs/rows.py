"""What the experiments on backends, knobs, peers and search keep for good: a JSON file a model in reports/hardware/."""

from __future__ import annotations

import msgspec

from benchmarks.batching.rows import REPORTS, Where
from benchmarks.compression.rows import Cell, Timed

FOLDER = REPORTS / "hardware"


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """One model's backends and knobs; the first cell is the recipe's baseline, and `technique` is the knob in words.

    size: of the batches that throughput was measured in.
    """

    model: str
    random_weights: bool
    where: Where
    size: int
    cells: tuple[Cell, ...]


class Contest(msgspec.Struct, frozen=True, kw_only=True):
    """accel's winner for one target, then the others; `technique` of a cell is its name on the page.

    size: of the batches, where it isn't one request at a time. details: by name, the settings that really ran.
    """

    target: Timed
    size: int
    cells: tuple[Cell, ...]
    details: dict[str, dict[str, str]] = {}


class Rivals(msgspec.Struct, frozen=True, kw_only=True):
    """One model run by accel and by others."""

    model: str
    random_weights: bool
    where: Where
    contests: tuple[Contest, ...]
