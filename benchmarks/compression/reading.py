"""From recorded runs to ratios with intervals and verdicts, as a study reads its blocks; nothing is measured here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from accel.analysis import Estimate, estimates
from accel.analysis.comparison import Pair, aa_floor, aa_suspicious, counting
from accel.analysis.conclusion import Comparison
from accel.analysis.paired import Floor, judged
from benchmarks.compression.rows import Cell, Run, Timed
from benchmarks.compression.ways import NONE

MIN_EFFECT = 0.05
"""The smallest difference that counts where processes are parked between their turns, as in accel's profile `quick`."""
FRESH_EFFECT = 0.03
"""The same where every run has a process of its own."""
_SEED = 0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A cell with what its runs say. latency: seconds, one request at a time; rate: items a second in batches.

    against: how many times as fast as the base, by target; nothing where there are fewer than three common blocks.
    """

    cell: Cell
    latency: Estimate | None
    rate: Estimate | None
    against: dict[Timed, Comparison] = {}

    @property
    def best(self) -> Comparison | None:
        """The larger of the two ratios."""
        return max(self.against.values(), key=lambda c: c.ratio.value, default=None)


def lines(cells: Sequence[Cell]) -> list[Line]:
    """One line a cell, in their order; each compared with the uncompressed cell of its backend."""
    found: dict[str, dict[Timed, Comparison]] = {}
    for backend in dict.fromkeys(c.backend for c in cells):
        own = [c for c in cells if c.backend == backend]
        base = next((c for c in own if c.technique == NONE), None)
        if base is not None:
            found |= compared(base, [c for c in own if c is not base], min_effect=MIN_EFFECT)
    return [line(cell, found.get(cell.variant, {})) for cell in cells]


def line(cell: Cell, against: dict[Timed, Comparison]) -> Line:
    """A cell with its own figures."""
    return Line(
        cell=cell, latency=_figure(cell, "latency", "s"), rate=_figure(cell, "batch", "items/s"), against=against
    )


def compared(base: Cell, others: Sequence[Cell], *, min_effect: float) -> dict[str, dict[Timed, Comparison]]:
    """By variant and target: how many times as fast as `base`; all of them are compared at once (Holm)."""
    found: dict[str, dict[Timed, Comparison]] = {c.variant: {} for c in others}
    targets: tuple[Timed, ...] = ("latency", "batch")
    for target in targets:
        floor = floor_of(base, target, min_effect=min_effect)
        delta = counting(min_effect, floor.value)
        paired = {c.variant: pairs(base, c, target) for c in others}
        for variant, comparison in judged(paired, target, floor, delta=delta).items():
            found[variant][target] = comparison
    return found


def pairs(base: Cell, ours: Cell, target: Timed) -> list[Pair]:
    """One pair a block in which both ran; runs that a witness calls invalid are left out."""
    theirs, again, mine = (_by_block(c, target, r) for c, r in ((base, "base"), (base, "repeat"), (ours, "")))
    found = []
    for block in sorted(theirs.keys() & mine.keys()):
        sides = [theirs[block], mine[block], *([again[block]] if block in again else [])]
        found.append(
            Pair(
                block=block,
                base=theirs[block].value,
                candidate=mine[block].value,
                repeat=again[block].value if block in again else None,
                stable=all(s.level == "valid" for s in sides),
            )
        )
    return found


def _by_block(cell: Cell, target: Timed, role: str) -> dict[int, Run]:
    usable = [r for r in cell.runs if r.target == target and r.level != "invalid"]
    return {r.block: r for r in usable if (r.role == "repeat") == (role == "repeat")}


def floor_of(base: Cell, target: Timed, *, min_effect: float) -> Floor:
    """What A and A' showed: how far apart two measurements of the same thing lie."""
    first, second = _by_block(base, target, "base"), _by_block(base, target, "repeat")
    both = [(first[b], second[b]) for b in sorted(first.keys() & second.keys())]
    logs = [math.log(b.value / a.value) for a, b in both if a.level == b.level == "valid"]
    if not logs:
        return Floor()
    return Floor(
        value=aa_floor(logs, _SEED),
        shift=abs(sum(logs) / len(logs)),
        suspicious=aa_suspicious(logs, math.log1p(min_effect)),
    )


def _figure(cell: Cell, target: Timed, unit: str) -> Estimate | None:
    values = [r.value for r in cell.runs if r.target == target and r.level != "invalid"]
    return estimates.across_runs(values, unit=unit) if values else None


def at_least_as_fast(found: Comparison) -> bool | None:
    """True if surely not slower by more than what counts, False if surely slower, None if that isn't settled."""
    low, high = found.ratio.low, found.ratio.high
    if found.ratio.validity != "valid":
        return None
    if found.verdict in ("FASTER", "EQUIVALENT") or (low is not None and low >= 1 / found.delta):
        return True
    if found.verdict == "SLOWER" or (high is not None and high < 1 / found.delta):
        return False
    return None


def reaches(found: Comparison, wanted: float) -> bool | None:
    """True if the whole interval lies above what was wanted, False if all of it lies below, else None."""
    low, high = found.ratio.low, found.ratio.high
    if low is None or high is None or found.ratio.validity != "valid":
        return None
    return True if low >= wanted else False if high < wanted else None


def disturbed(cells: Iterable[Cell]) -> tuple[int, int]:
    """(runs that a witness flagged, all runs)."""
    runs = [r for c in cells for r in c.runs]
    return sum(r.level != "valid" for r in runs), len(runs)
