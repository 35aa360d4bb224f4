"""Is the funnel's pick as good as the best of a full grid, and how much of the grid's time did it take?

    python -m benchmarks.search.regret prepare [--models digits,minilm] [--minutes 60]
    python -m benchmarks.search.regret measure [--models digits,minilm] [--minutes 10] [--budget 2m] [--blocks 5]

`prepare` makes the grid's artefacts and the reference answers for fresh samples; it may run on a busy machine.
`measure` wants a quiet one, and does what is missing, in this order: the grid (each configuration once), an ordinary
study of the recipe (which gets 15 % of the time that measuring the grid took, if no budget is named), then the study's
pick beside the grid's best, by turns in fresh processes, and the pick's answers to samples that neither has seen. Both
go on where they were; reports/hardware/search-*.json is written after each. With --kept-grid the grid is the one in
that file instead, so that a changed search can be held against it in minutes, on a processor of the same kind.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import msgspec

from accel.errors import AccelError
from accel.measurement.cgroup import usable_cores
from accel.recipe import Variant
from accel.result import Quality
from accel.units import seconds as parse_seconds
from benchmarks.batching.rows import Where
from benchmarks.compression.bench import Bench
from benchmarks.compression.rows import Cell, Timed, load, read, write
from benchmarks.compression.sittings import Clock
from benchmarks.compression.table import say
from benchmarks.knobs.rows import FOLDER
from benchmarks.knobs.ways import BACKENDS, same
from benchmarks.race import Race, go_on, of_accel, runs_of
from benchmarks.search import fresh, grid
from benchmarks.search.picks import best_of, pick_of, times_of
from benchmarks.search.rows import Duel, Regret, Tried
from benchmarks.search.study import finished, studied
from benchmarks.subject import Subject, place

KIND = "search"
SHARE, LEAST_S = 0.145, 60.0
"""Of the grid's time, what the study gets, and the least that a study makes sense with. At most 15 % is wanted, and a
study may finish what it has begun when its time is up.
"""
BLOCKS = 5
_SECONDS = 1.5
_FRESH = Path(fresh.__file__)
_TARGETS: tuple[Timed, ...] = ("batch", "latency")


class Advice:
    """One recipe: its grid, its study, and the two side by side.

    short: as briefly as it goes, for a trial. kept: the grid as it was measured before, to be taken as it is.
    """

    def __init__(
        self,
        model: str,
        *,
        budget: str | None = None,
        blocks: int = BLOCKS,
        targets: Sequence[Timed] = _TARGETS,
        seconds: float = grid.SECONDS,
        short: bool = False,
        kept: Mapping[str, tuple[Tried, ...]] | None = None,
    ) -> None:
        self.bench = Bench(model, place() / KIND / Path(model).stem)
        self.model, self.budget, self.blocks = self.bench.model, budget, blocks
        self.sizes, self.targets = grid.sizes_of(self.model), targets
        self.seconds, self.race_s = (0.05, 0.1) if short else (seconds, _SECONDS)
        self.kept = (kept or {}).get(self.model, ())

    def listed(self) -> list[tuple[Variant, str]]:
        """The grid's configurations."""
        record = self.bench.record
        baseline = next(v for v in record.variants if v.name == record.baseline)
        images = any(len(tensor.shape) == 4 for tensor in record.signature.inputs)
        crossed = grid.CROSSED.get(self.model, "")
        return grid.configurations(usable_cores(), baseline, images=images, crossed=crossed)

    def prepare(self, *, longest_s: float, until_s: float, backends: Sequence[str], again: bool = False) -> None:
        """Every artefact of the grid, or of some backends, and the reference answers to the fresh samples."""
        listed = [(v, label) for v, label in self.listed() if label == "baseline" or v.backend.name in backends]
        say(f"{self.model}: {len(self.bench.refused(listed))} of {len(listed)} configurations are refused")
        for variant, label in listed:
            if time.perf_counter() > until_s:
                say("the time is up; the same command goes on here")
                return
            cell = self.bench.of(variant, label, longest_s=longest_s, again=again)
            say(f"{self.model:10} {variant.name:60} {cell.outcome} {cell.reason[:100]}")
        self.fresh()

    def cells(self) -> list[Cell]:
        """The configurations that are prepared, the baseline first."""
        return [cell for v, _ in self.listed() if (cell := load(self.bench.root, v.name)) is not None]

    def tried(self) -> list[Tried]:
        """The configurations that were measured."""
        if self.kept:
            return list(self.kept)
        found = [t for c in self.cells() if (t := grid.kept(self.bench, c, self.sizes)) is not None]
        folders = [self.bench.prepared(t.cell.variant).prepared.folder for t in found]
        named = [(t.cell.variant, folder, t.made_s) for t, folder in zip(found, folders, strict=True)]
        once = grid.made_once(named)
        return [msgspec.structs.replace(t, made_s=once[t.cell.variant]) for t in found]

    # --- measuring -------------------------------------------------------------------------------------------------

    def untimed(self) -> list[Cell]:
        """The configurations that are ready and weren't measured yet; a kept grid is whole."""
        ready = [] if self.kept else [cell for cell in self.cells() if cell.outcome == "ready"]
        return [cell for cell in ready if grid.kept(self.bench, cell, self.sizes, self.seconds) is None]

    def measure(self, clock: Clock) -> bool:
        """What is missing, as far as the time goes; True if nothing is left."""
        if not self._gridded(clock) or studied(KIND, self.model, self._budget_s(), clock, say) is None:
            return False
        done = [self._raced(duel, clock) for duel in self.duels() if duel.target in self.targets]
        return all(done)

    def _budget_s(self) -> float:
        """What was asked for, or its share of the time that measuring the grid took."""
        if self.budget is not None:
            return parse_seconds(self.budget, "--budget")
        return max(LEAST_S, SHARE * sum(tried.took_s for tried in self.tried()))

    def _gridded(self, clock: Clock) -> bool:
        missing = self.untimed()
        if not missing:
            return True
        evaluation = len(self.bench.context.reference_ids)
        times = [grid.expected_s(c, self.sizes, evaluation, self.seconds) for c in missing]
        say(f"{self.model}: {len(missing)} configurations to go, about {sum(times):.0f} s")
        for cell, expected in zip(missing, times, strict=True):
            if not clock.fits(expected):
                say(f"not measured, for want of time: {cell.variant} and more of the grid of {self.model}")
                return False
            before = clock.left_s
            found = grid.measure(self.bench, cell, self.sizes, self.seconds)
            clock.took(expected, before - clock.left_s)
            say(f"{self.model} {cell.variant}: {found.took_s:.1f} s {found.cell.failed_runs[:80]}")
        return True

    def duels(self) -> list[Duel]:
        """Grid's best and study's pick by target, with the runs that are there."""
        study, tried = finished(KIND, self.model), self.tried()
        if study is None or not tried:
            return []
        known = {v.name: v for v, _ in self.listed()} | {v.name: v for v in study.record.variants}
        found = []
        for target in _TARGETS:
            best, pick = best_of(tried, target), pick_of(study.conclusion, target)
            if best is None or pick is None:
                continue
            one, two = known[best.variant], known[pick.variant]
            is_same = same(one, two) and best.size == pick.size
            cells = [self._cell(target, role, v) for role, v in (("best", one), ("pick", two))]
            duel = Duel(target=target, best=best, pick=pick, same=is_same, best_cell=cells[0], pick_cell=cells[1])
            race = self._race(duel)
            found.append(
                msgspec.structs.replace(
                    duel,
                    best_cell=msgspec.structs.replace(cells[0], runs=runs_of(race, "best")),
                    pick_cell=msgspec.structs.replace(cells[1], runs=runs_of(race, "pick")),
                    fresh=self._fresh_quality(two),
                )
            )
        return found

    def _cell(self, target: Timed, role: str, variant: Variant) -> Cell:
        """A side of a duel under a name of its own, since both may be one variant at two sizes."""
        return self.bench.of(
            msgspec.structs.replace(variant, name=f"{role}-{target}-{variant.name}"[:120]),
            role,
            longest_s=900.0,
            stale=False,
        )

    def _race(self, duel: Duel) -> Race:
        """Of these two at these sizes: another pick or another best is another race."""
        sides = []
        for name, cell, chosen in (("best", duel.best_cell, duel.best), ("pick", duel.pick_cell, duel.pick)):
            if cell.outcome == "ready":
                ready = self.bench.prepared(cell.variant)
                sides.append(of_accel(name, self.bench, ready, duel.target, chosen.size, self.race_s))
        stem = f"{duel.best.variant}-{duel.best.size}-{duel.pick.variant}-{duel.pick.size}"
        folder = self.bench.root / "duels" / f"{duel.target}-{stem}"[:200]
        blocks = 0 if duel.same or len(sides) < 2 else self.blocks
        return Race(name=f"{self.model}, {duel.target}", folder=folder, sides=tuple(sides), blocks=blocks)

    def _raced(self, duel: Duel, clock: Clock) -> bool:
        race = self._race(duel)
        if race.blocks:
            say(f"{race.name}: `{duel.pick.variant}` beside `{duel.best.variant}` ({clock.left_s:.0f} s left)")
            go_on(race, clock, say)
        self._judge_fresh(duel, clock)
        return not any(True for _ in race.missing())

    # --- fresh samples ---------------------------------------------------------------------------------------------

    def fresh(self) -> Subject:
        """The recipe with samples that nobody has seen, and the reference's answers to them."""
        root = self.bench.root.with_name(f"{self.model}-fresh")
        return Subject(self.model, root, budget="4h", samples=f"{_FRESH}:{self.model}")

    def _judge_fresh(self, duel: Duel, clock: Clock) -> None:
        path = self._fresh_path(duel.pick.variant)
        if path.is_file() or duel.pick_cell.outcome != "ready" or clock.left_s < 30:
            return
        prepared = self.bench.prepared(duel.pick_cell.variant).prepared
        quality = self.fresh()._compared(prepared).quality
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(msgspec.json.encode(quality))

    def _fresh_path(self, variant: str) -> Path:
        return self.bench.root / "fresh" / f"{variant}.json"

    def _fresh_quality(self, variant: Variant) -> Quality | None:
        path = self._fresh_path(variant.name)
        return msgspec.json.decode(path.read_bytes(), type=Quality) if path.is_file() else None

    def record(self) -> Regret:
        """Everything that is known."""
        study = finished(KIND, self.model)
        times = times_of(study) if study is not None else {}
        fresh_root = self.bench.root.with_name(f"{self.model}-fresh") / "study.json"
        return Regret(
            model=self.model,
            random_weights=self.bench.record.source.random_weights,
            where=Where.here(),
            budget_s=None if study is None else study.record.budget_s,
            sizes=self.sizes,
            grid=tuple(self.tried()),
            unmeasured=len(self.untimed()),
            duels=tuple(self.duels()),
            fresh_samples=len(self.fresh().context.reference_ids) if fresh_root.is_file() else 0,
            **times,
        )


def measure(all_: Sequence[Advice], *, minutes: float, reports: Path) -> None:
    """Model after model; one that the time doesn't allow is passed over for what still fits."""
    clock = Clock(60 * minutes)
    for advice in all_:
        try:
            advice.measure(clock)
        except AccelError as error:
            say(f"{advice.model}: {error}")
        say(str(write(advice.record(), f"search-{advice.model}", reports)))


def kept_grids(reports: Path) -> dict[str, tuple[Tried, ...]]:
    """By model, the whole grids that were measured on a processor like this one, with as many cores."""
    here = Where.here()
    whole = [one for one in read(Regret, f"{KIND}-*.json", reports) if not one.unmeasured]
    return {one.model: one.grid for one in whole if (one.where.cpu, one.where.cores) == (here.cpu, here.cores)}


def begun(models: Sequence[str], kept: Container[str] = ()) -> list[str]:
    """Those that something is prepared of, or whose grid is there."""
    return [m for m in models if m in kept or (place() / KIND / Path(m).stem / "cells").is_dir()]


def advices(models: Sequence[str], **given: object) -> list[Advice]:
    """Models, as far as they can be looked at; why one can't is said."""
    found = []
    for model in models:
        try:
            found.append(Advice(model, **given))  # type: ignore[arg-type]
        except AccelError as error:
            say(f"{model}: {error}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("prepare", "measure", "collect"))
    parser.add_argument("--models", default=",".join(grid.MODELS), help="recipes, separated by commas")
    parser.add_argument("--minutes", type=float, help="measure: 10 by default; prepare: as long as it takes")
    parser.add_argument("--longest", type=float, default=300.0, help="seconds that making one artefact may take")
    parser.add_argument("--budget", help="measure: of each study; else 15 %% of its grid")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="measure: of pick beside best")
    parser.add_argument("--targets", default=",".join(_TARGETS), help="measure: which picks meet the grid's best")
    parser.add_argument("--seconds", type=float, default=grid.SECONDS, help="measure: of each cell of the grid")
    parser.add_argument("--kept-grid", action="store_true", help="measure: against the grids in --reports")
    parser.add_argument("--short", action="store_true", help="measure: tiny times, to try the machinery; no figures")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="prepare: those alone")
    parser.add_argument("--again", action="store_true", help="prepare: try once more what failed")
    parser.add_argument("--reports", type=Path, default=FOLDER, help="folder of the JSON files")
    given = parser.parse_args(arguments)
    models = [m for m in given.models.split(",") if m]
    if given.what == "prepare":
        until_s = time.perf_counter() + 60 * (math.inf if given.minutes is None else given.minutes)
        for advice in advices(models):
            chosen = given.backends.split(",")
            advice.prepare(longest_s=given.longest, until_s=until_s, backends=chosen, again=given.again)
        return 0
    targets = tuple(given.targets.split(","))
    asked = {"budget": given.budget, "blocks": given.blocks, "targets": targets, "seconds": given.seconds}
    kept = kept_grids(given.reports) if given.kept_grid else {}
    all_ = advices(begun(models, kept), short=given.short, kept=kept, **asked)
    minutes = 0.0 if given.what == "collect" else 10.0 if given.minutes is None else given.minutes
    measure(all_, minutes=minutes, reports=given.reports)
    return 0


if __name__ == "__main__":
    sys.exit(main())
