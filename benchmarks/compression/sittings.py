"""Timing, everything interleaved: who sits together, for how many blocks, and what fits into the time there is.

A sitting is one backend of one model: its FP32 form twice (A and A') and some candidates, each in a process of its own
that is opened afresh and stopped between its turns; every block has them all in a new random order. A later wave sits
them down again in fresh processes, so that the intervals hold what differs between processes too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from accel.analysis.runs import Run as AnyRun
from accel.analysis.runs import load_runs
from accel.errors import VariantError
from accel.plugins import Named
from accel.result import Result
from accel.study.live import Live, Turn
from accel.study.rounds import Rounds, Who, shuffled
from accel.study.screening import allowed
from benchmarks.compression.rows import Cell, Run, keep, load
from benchmarks.compression.ways import BACKENDS, NONE, TELLING
from benchmarks.subject import Ready, Subject, kept

BLOCKS = 3
SIZE = 8
MOST = 5
"""Candidates of one sitting: more would not fit into the memory of a small machine."""
ORDER = ((True, 0), (True, 1), (False, 0), (True, 2), (False, 1))
"""(telling pairs?, wave): the telling pairs twice before the others once."""
_LEAST_S, _MOST_S, _CALLS = 0.6, 3.0, 8
_OPEN_S = {"inductor": 12.0, "eager": 5.0}
_OTHER_OPEN_S = 2.5
_OVERHEAD_S = 0.4
_LOOK_S = 120.0


class Sitting(msgspec.Struct, frozen=True, kw_only=True):
    """Who is timed beside whom. base, candidates: cells that are ready. size: of the batches."""

    base: Cell
    candidates: tuple[Cell, ...]
    telling: bool
    wave: int
    part: int
    size: int = SIZE

    @property
    def blocks(self) -> range:
        """Numbers that no other sitting of this model and backend has."""
        first = 1000 * self.wave + 100 * (0 if self.telling else 1) + 10 * self.part
        return range(first, first + BLOCKS)

    @property
    def cells(self) -> tuple[Cell, ...]:
        return (self.base, *self.candidates)

    def __str__(self) -> str:
        listed = ", ".join(c.technique for c in self.candidates)
        return f"{self.base.model} on {self.base.backend}, wave {self.wave + 1}: {listed}"


def sittings(cells: dict[str, Sequence[Cell]]) -> Iterator[Sitting]:
    """All of them, the most telling first; cells: by model, in the order of the models."""
    for telling, wave in ORDER:
        for own in cells.values():
            for backend in BACKENDS:
                yield from _of_backend([c for c in own if c.backend == backend], telling, wave)


def _of_backend(cells: Sequence[Cell], telling: bool, wave: int) -> Iterator[Sitting]:
    ready = [c for c in cells if c.outcome == "ready" and not c.failed_runs]
    base = next((c for c in ready if c.technique == NONE), None)
    if base is None:
        return
    told = TELLING.get(base.backend, ())
    others = [c for c in ready if c is not base and (c.technique in told) == telling]
    # A backend without telling pairs still has its FP32 form, which is timed with the others.
    for part in range(0, len(others), MOST):
        chosen = tuple(others[part : part + MOST])
        yield Sitting(base=base, candidates=chosen, telling=telling, wave=wave, part=part // MOST)


def turns(cell: Cell, who: Who, block: int, size: int = SIZE) -> list[Turn]:
    """One request at a time, then batches of `size`; as long as a slow model needs for some calls."""
    item_s = cell.item_s or 0.0
    again = "-again" if who[1] == "repeat" else ""
    shared: dict[str, Any] = {"phase": "blocks", "trial": 1000 + block, "role": who[1], "block": block}
    stem = run_stem(cell) + f"-{block}{again}"
    return [
        Turn(
            run_id=f"{stem}-latency",
            target="latency",
            scenario=Named("single_stream"),
            batching=Named("single"),
            duration_s=_seconds(_CALLS * item_s),
            **shared,
        ),
        Turn(
            run_id=f"{stem}-batch",
            target="batch",
            scenario=Named("offline"),
            batching=Named("fixed", {"size": size}),
            duration_s=_seconds(_CALLS / 2 * size * item_s),
            **shared,
        ),
    ]


def _seconds(wanted: float) -> float:
    return min(max(wanted, _LEAST_S), _MOST_S)


def run_stem(cell: Cell) -> str:
    """What the runs of a cell begin with: those of an artefact that was made anew have another name."""
    return f"compression-{cell.variant}-{cell.key[:8]}"


def expected_s(sitting: Sitting) -> float:
    """How long a sitting takes, as far as one can tell beforehand."""
    total = 0.0
    for cell in (sitting.base, *sitting.cells):
        # A block warms up for three calls at least, each of them as long as a call takes.
        warm_s = 0.3 + 3 * (1 + sitting.size) * (cell.item_s or 0.0)
        timed = turns(cell, (cell.variant, "candidate"), 0, sitting.size)
        block_s = sum(t.duration_s for t in timed) + warm_s + _OVERHEAD_S
        total += _OPEN_S.get(cell.backend, _OTHER_OPEN_S) + BLOCKS * block_s
    return total


def is_done(sitting: Sitting, bench: Subject) -> bool:
    """True if every run of it is on disk."""
    return all(_block_done(sitting, bench, block) for block in sitting.blocks)


def _block_done(sitting: Sitting, bench: Subject, block: int) -> bool:
    runs = bench.folder.runs
    wanted = [t for who in entrants(sitting) for t in turns(_cell_of(sitting, who), who, block)]
    return all(kept(runs, turn.run_id) is not None for turn in wanted)


def entrants(sitting: Sitting) -> list[Who]:
    """A, A' and the candidates."""
    base = sitting.base.variant
    return [(base, "baseline"), (base, "repeat"), *((c.variant, "candidate") for c in sitting.candidates)]


def _cell_of(sitting: Sitting, who: Who) -> Cell:
    return next(c for c in sitting.cells if c.variant == who[0])


def sit(sitting: Sitting, bench: Subject, readies: dict[str, Ready], *, fresh: bool = False) -> dict[str, str]:
    """Make the blocks that aren't there, whole; gives why a candidate dropped out, by variant.

    Raises VariantError if the FP32 form itself fails: without it there is nothing to compare with.
    """
    dropped: dict[str, str] = {}
    cells = {c.variant: c for c in sitting.cells}

    def opened(who: Who) -> Live:
        live = bench.live(readies[who[0]].prepared, f"sitting-{who[1]}")
        cells[who[0]] = msgspec.structs.replace(cells[who[0]], item_s=looked(live, bench, sitting.size))
        return live

    with Rounds(opened, fresh=fresh) as rounds:
        for block in sitting.blocks:
            if _block_done(sitting, bench, block):
                continue
            left = [who for who in entrants(sitting) if who[0] not in dropped]
            for who in shuffled(left, seed=bench.record.seed, block=block):
                try:
                    _take(rounds, who, cells, bench, readies[who[0]], block, sitting.size)
                except VariantError as error:
                    if who[1] != "candidate":
                        raise
                    dropped[who[0]] = error.reason
    return dropped


def _take(
    rounds: Rounds, who: Who, cells: dict[str, Cell], bench: Subject, ready: Ready, block: int, size: int
) -> None:
    with rounds.turn(who) as live:
        for turn in turns(cells[who[0]], who, block, allowed(live.sizes, size)):
            live.run(turn, reference=bench.reference, check_limit=ready.check_limit, common=bench.result)


def looked(live: Live, bench: Subject, size: int = SIZE) -> float:
    """Seconds an item takes now, in a batch: what was seen while preparing may have been seen on a busy machine."""
    size = allowed(live.sizes, size)
    ids, out = list(bench.context.reference_ids)[:size], bench.folder.log / "look.npz"
    return min(live.answer(ids, size, out, timeout_s=_LOOK_S) for _ in range(2)) / max(1, len(ids))


def with_runs(cell: Cell, bench: Subject) -> Cell:
    """The cell with every run of it that is on disk."""
    folder = bench.folder.runs
    results = [Result.load(path) for path in sorted(folder.glob(f"{run_stem(cell)}-*.json"))]
    runs, _ = load_runs(results, folder)
    found = tuple(one for run in runs if (one := as_run(run)) is not None)
    effective = next((r.effective for r in reversed(results) if r.effective is not None), None)
    rates = [r.value for r in found if r.target == "batch"]
    item_s = 1 / statistics.median(rates) if rates else cell.item_s
    return msgspec.structs.replace(cell, runs=found, effective=effective, item_s=item_s)


def as_run(run: AnyRun) -> Run | None:
    """The one number of a run; None where it has none, such as one in which nothing was answered."""
    result = run.result
    if result.target not in ("latency", "batch") or result.block is None:
        return None
    alone = result.target == "latency"
    value = run.median_s if alone else run.throughput
    if not 0 < value < float("inf"):
        return None
    return Run(
        target=result.target,
        block=result.block,
        role=result.role,
        value=value,
        level=result.validity,
        size=1 if alone else run.size,
        flags=tuple(w.id for w in result.witnesses if w.level in ("unstable", "invalid")),
    )


class Clock:
    """What is left of the time, and how long things really take: what was expected is corrected by what happened."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._now, self._end = now, now() + seconds
        self._expected = self._took = 10.0

    @property
    def left_s(self) -> float:
        return self._end - self._now()

    def fits(self, expected_s: float) -> bool:
        """True if there is probably enough time."""
        return expected_s * self._took / self._expected <= self.left_s

    def took(self, expected_s: float, seconds: float) -> None:
        """Learn."""
        self._expected += expected_s
        self._took += seconds


def spend(
    listed: Sequence[Sitting],
    clock: Clock,
    *,
    done: Callable[[Sitting], bool],
    go: Callable[[Sitting], None],
    said: Callable[[str], None] = print,
) -> list[Sitting]:
    """Every sitting that fits, in order; one that doesn't is passed over for smaller ones. Gives those left out."""
    left = []
    for sitting in listed:
        if done(sitting):
            continue
        expected = expected_s(sitting)
        if not clock.fits(expected):
            left.append(sitting)
            continue
        before = clock.left_s
        said(f"{sitting} ({before:.0f} s left)")
        go(sitting)
        clock.took(expected, before - clock.left_s)
    return left


def settle(sitting: Sitting, bench: Subject, dropped: dict[str, str]) -> None:
    """Write the runs of a sitting into its cells, and why one dropped out."""
    for variant in {c.variant for c in sitting.cells}:
        cell = load(bench.folder.root, variant)
        if cell is not None:
            cell = with_runs(cell, bench)
            keep(bench.folder.root, msgspec.structs.replace(cell, failed_runs=dropped.get(variant, cell.failed_runs)))
