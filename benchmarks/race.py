"""Sides that take turns, every run in a process of its own and committed by itself: who was cut goes on where it was.

The first side runs twice in each block (A and A'), so that it is known how far apart two measurements of one thing lie.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from accel.analysis.runs import load_runs
from accel.errors import VariantError
from accel.plugins import Named
from accel.result import Role, write_atomically
from accel.study.live import Turn
from accel.study.rounds import shuffled
from accel.study.screening import allowed
from benchmarks.compression.rows import Cell, Run, Timed
from benchmarks.compression.sittings import Clock, as_run, looked
from benchmarks.subject import Ready, Subject

_FIRST_GUESS_S = 8.0
_CALLS, _LONGEST_S = 8, 6.0


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes turns. name: part of its files' names; go: (block, role) -> one run in a fresh process.

    blocks: who takes long to start sits in the first ones alone; None: in all. `go` raises VariantError if it can't.
    """

    name: str
    go: Callable[[int, Role], Run]
    blocks: int | None = None


class Race(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be run: the sides of one target; folder: where their runs lie."""

    name: str
    folder: Path
    sides: tuple[Side, ...]
    blocks: int

    def entrants(self, block: int, *, seed: int = 0) -> list[tuple[Side, Role]]:
        """Everybody in the block's own random order; the first side twice."""
        first, *others = self.sides
        listed: list[tuple[Side, Role]] = [(first, "baseline"), (first, "repeat")]
        return shuffled([*listed, *((side, "candidate") for side in others)], seed=seed, block=block)

    def missing(self) -> Iterator[tuple[int, Side, Role]]:
        """What is still to be run, in order."""
        for block in range(self.blocks):
            for side, role in self.entrants(block):
                sits = side.blocks is None or block < side.blocks
                if sits and not run_path(self.folder, side.name, block, role).is_file():
                    yield block, side, role


def run_path(folder: Path, name: str, block: int, role: Role) -> Path:
    """Where one run is kept."""
    return folder / f"{re.sub(r'[^A-Za-z0-9._+-]+', '_', name)}--{block}-{role}.json"


def go_on(race: Race, clock: Clock, said: Callable[[str], None]) -> dict[str, str]:
    """Make what is missing as far as the time goes; gives why a side dropped out, by name.

    Raises VariantError if the first side fails: without it there is nothing to compare with.
    """
    race.folder.mkdir(parents=True, exist_ok=True)
    dropped: dict[str, str] = {}
    longest_s = _FIRST_GUESS_S
    for block, side, role in race.missing():
        if side.name in dropped:
            continue
        if clock.left_s < longest_s:
            said(f"not measured, for want of time: {race.name} from block {block + 1} of {race.blocks}")
            break
        begun = time.perf_counter()
        try:
            run = side.go(block, role)
        except VariantError as error:
            if side is race.sides[0]:
                raise
            dropped[side.name] = error.reason
            said(f"  {side.name} dropped out: {error.reason}")
            continue
        write_atomically(run_path(race.folder, side.name, block, role), msgspec.json.encode(run))
        longest_s = max(longest_s, time.perf_counter() - begun)
    return dropped


def runs_of(race: Race, name: str) -> tuple[Run, ...]:
    """Every run of a side that is there."""
    roles: tuple[Role, ...] = ("baseline", "repeat", "candidate")
    paths = [run_path(race.folder, name, b, role) for b in range(race.blocks) for role in roles]
    return tuple(msgspec.json.decode(path.read_bytes(), type=Run) for path in paths if path.is_file())


def of_accel(name: str, subject: Subject, ready: Ready, target: Timed, size: int, seconds: float) -> Side:
    """An artefact run by accel's own loop: stacking, padding and copying are inside the timed span."""

    def go(block: int, role: Role) -> Run:
        with subject.live(ready.prepared, f"race-{name}") as live:
            batch = 1 if target == "latency" else allowed(live.sizes, size)
            item_s = looked(live, subject, batch)
            turn = Turn(
                run_id=f"race-{name}-{target}-{block}-{role}",
                phase="blocks",
                target=target,
                scenario=Named("single_stream" if target == "latency" else "offline"),
                batching=Named("single") if target == "latency" else Named("fixed", {"size": batch}),
                duration_s=min(max(seconds, _CALLS * batch * item_s), max(seconds, _LONGEST_S)),
                trial=1000 + block,
                role=role,
                block=block,
            )
            result = live.run(turn, reference=subject.reference, check_limit=ready.check_limit, common=subject.result)
        (found, *_), _ = load_runs([result], subject.folder.runs)
        run = as_run(found)
        if run is None:
            raise VariantError(f"`{name}` answered nothing in its run")
        return run

    return Side(name=name, go=go)


def cell_of(race: Race, name: str, common: Cell) -> Cell:
    """A side as a row: `common` with its runs."""
    return msgspec.structs.replace(common, runs=runs_of(race, name))
