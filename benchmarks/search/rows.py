"""What the experiment on accel's advice keeps: the grid, what the study picked, and how the two fare side by side."""

from __future__ import annotations

import msgspec

from accel.result import Quality
from benchmarks.batching.rows import Where
from benchmarks.compression.rows import Cell, Timed


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration of the grid: its runs by batch size are its cells; `technique` of the cell is its knob.

    seconds: how long each cell was timed, at least. made_s: what making its artefact took, 0 where another
    configuration's artefact serves. took_s: opening it, answering every sample of the evaluation for the guard, and
    timing it at every size.
    """

    cell: Cell
    seconds: float
    made_s: float
    took_s: float


class Pick(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration at a batch size. value: seconds (latency) or items/s (batch), as seen when it was chosen."""

    variant: str
    size: int
    value: float


class Duel(msgspec.Struct, frozen=True, kw_only=True):
    """The grid's best and the study's pick, measured afresh by turns; empty runs where the two are the same.

    fresh: the pick's outputs on samples that neither study nor grid has seen.
    """

    target: Timed
    best: Pick
    pick: Pick
    same: bool
    best_cell: Cell
    pick_cell: Cell
    fresh: Quality | None = None


class Regret(msgspec.Struct, frozen=True, kw_only=True):
    """One model. unmeasured: how many configurations are ready but weren't timed: with any, the grid's best is the best
    of a part. budget_s: what the study was given; study_s: what it took without its confirmations; confirming_s: of
    these; made_s: what making those of its artefacts took that were in the cache already.
    """

    model: str
    random_weights: bool
    where: Where
    sizes: tuple[int, ...]
    grid: tuple[Tried, ...]
    unmeasured: int = 0
    budget_s: float | None = None
    study_s: float | None = None
    made_s: float | None = None
    confirming_s: float | None = None
    duels: tuple[Duel, ...] = ()
    fresh_samples: int = 0
