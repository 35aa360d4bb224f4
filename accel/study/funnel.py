"""The study as a funnel: screen everything, rescue what lost its accuracy, choose and tune the survivors, compare them
in interleaved blocks, measure the winners again afresh. Time is scarce; what it did not buy is said at the end.

Every decision is a function of results on disk, so a killed study that resumes decides the same again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from accel.analysis.conclusion import Conclusion, StudyRecord
from accel.analysis.reading import conclude
from accel.errors import VariantError
from accel.measurement.denormals import Denormals
from accel.recipe import Variant
from accel.rescue.record import Rescue
from accel.result import Result, Status
from accel.study import answers
from accel.study.artefacts import find_prepared, remember
from accel.study.blocks import compare
from accel.study.budget import NOT_BOUGHT, Budget, BudgetEnded
from accel.study.confirming import confirm
from accel.study.decisions import Decisions, Entry
from accel.study.finalists import dismiss, settled, to_tune
from accel.study.folder import StudyFolder
from accel.study.instances import with_instances
from accel.study.knob_rounds import with_knobs
from accel.study.layers import profile_layers
from accel.study.lengths import expected_s, fitted
from accel.study.lengthwise import look_by_length
from accel.study.live import Live, Turn
from accel.study.load_plan import Grid
from accel.study.offered import offer
from accel.study.prepare import Prepared
from accel.study.probing import probe
from accel.study.profiles import Profile
from accel.study.progress import Progress
from accel.study.rescuing import rescue
from accel.study.resting import rest_of
from accel.study.rounds import Rounds, Who
from accel.study.runoff import run_off
from accel.study.scoring import Score
from accel.study.screening import screen
from accel.study.searching import search
from accel.study.steps import measure_steps
from accel.study.tuning import SIZES, tune

_LEAST_LIMIT = 1e-3
_READINGS, _COPY_BYTES_PER_S = 7, 100e6
"""Closing a study takes about seven times as long as reading it once, and copies the winners' artefacts."""


class Services(msgspec.Struct, frozen=True):
    """What the funnel uses of the study: making artefacts and scoring outputs; fakes stand in for it in tests.

    prepare: gets the seconds it may take. infer_timeout_s: for answering all of `evaluation`. patience_s: see `Live`.
    reference_item_s: what the reference takes for one item, before anything is known about the variants.
    rescue: gets the seconds it may take; None: nothing is rescued. confirm: looks at the model itself, where the study
    began with an earlier look. is_made: whether a variant's artefact is there from an earlier study. answers: where the
    original's are kept between studies.
    """

    prepare: Callable[[Variant, float], Prepared]
    score: Callable[[Variant, Path], Score]
    evaluation: list[int]
    reference: Path
    infer_timeout_s: float
    patience_s: float = 60.0
    reference_item_s: float = 0.0
    rescue: Callable[[Variant, float], Rescue] | None = None
    confirm: Callable[[], None] = lambda: None
    is_made: Callable[[Variant], bool] = lambda variant: False
    answers: answers.Place = lambda variant: None


class Funnel:
    """Runs one study to its end, or as far as the budget goes."""

    def __init__(
        self,
        record: StudyRecord,
        folder: StudyFolder,
        profile: Profile,
        budget: Budget,
        services: Services,
        progress: Progress,
        *,
        sizes: tuple[int, ...] = (),
        knobs: bool = True,
    ) -> None:
        self.record = record
        self.folder = folder
        # Without requests that arrive there is no load curve to keep time for.
        self.profile = (
            profile if record.target in ("online", "both") else msgspec.structs.replace(profile, load_share=0.0)
        )
        self.budget = budget
        self.services = services
        self.progress = progress
        self.sizes = sizes or SIZES
        self.knobs = knobs
        # A run whose evidence is gone is made again; see `StudyFolder.vouches`.
        self.results = {i: r for i, r in folder.results().items() if folder.vouches(r)}
        self._forget_cut_ones()
        self.decisions = Decisions.load(folder.root)
        self.not_bought: list[str] = []
        self._prepared: dict[str, Prepared] = {}
        self.answered: dict[str, str] = {}
        self.item_s: dict[str, float] = {record.baseline: services.reference_item_s}
        self.rest = rest_of(profile)

    def _forget_cut_ones(self) -> None:
        """A variant that only the end of the budget stopped gets its chance again."""
        for run_id, result in list(self.results.items()):
            if result.status == "skipped" and result.reason.startswith(NOT_BOUGHT):
                del self.results[run_id]
                (self.folder.runs / f"{run_id}.json").unlink(missing_ok=True)

    def run(self) -> None:
        """Screen, rescue, run off, tune, compare, search, confirm, look closer, draw load curves.

        Each skips what is finished. Raises BudgetEnded if the time was up before the baseline was measured.
        """
        screen(self)
        if not self.baseline_ok():
            return
        rescue(self)
        chosen: list[str] = []
        if self.decisions.blocks is None:
            run_off(self)
            chosen = settled(self)
            dismiss(self, chosen)
            if self.record.target != "memory":
                tune(self, to_tune(self, chosen))
            chosen = with_instances(self, chosen)
            chosen = with_knobs(self, chosen) if self.knobs else chosen
            self._come_back(chosen)
        compare(self, chosen)
        search(self)
        confirm(self)
        measure_steps(self)
        probe(self)
        look_by_length(self)
        profile_layers(self)
        offer(self)

    def decide(
        self,
        **settled: tuple[Entry, ...]
        | tuple[Grid, ...]
        | tuple[float, ...]
        | tuple[str, ...]
        | dict[str, tuple[int, str]]
        | dict[str, str],
    ) -> None:
        """Settle a field of the decisions, for this attempt and for those that resume it."""
        self.decisions = msgspec.structs.replace(self.decisions, **settled).save(self.folder.root)

    def leave(self, name: str, reason: str) -> None:
        """Note why a variant goes no further, with the numbers that this was decided on."""
        self.record = msgspec.structs.replace(self.record, left={**(self.record.left or {}), name: reason})
        self.folder.write_record(self.record)

    def _come_back(self, names: Sequence[str]) -> None:
        """Who races after all, where an attempt had less time, went no less far than the others."""
        left = self.record.left or {}
        if left.keys() & set(names):
            stayed = {name: reason for name, reason in left.items() if name not in names}
            self.record = msgspec.structs.replace(self.record, left=stayed)
            self.folder.write_record(self.record)

    def keep_artefacts(self) -> None:
        """Make the baseline's or a winner's artefact again if it is gone (a cleaned cache), so that it can be kept."""
        conclusion = self.read()
        winners = [
            answer.winner for answer in (conclusion.batch, conclusion.online, conclusion.memory) if answer is not None
        ]
        for name in dict.fromkeys([self.record.baseline, *winners]):
            if find_prepared(self.folder.root, name) is None:
                self._prepared.pop(name, None)
                # A failure here must not turn a measured variant into a failed one: there is just nothing to keep.
                with contextlib.suppress(VariantError):
                    self.prepared(self.variant(name))

    def read(self) -> Conclusion:
        """What the results so far say. How long that takes is kept free at the end, where it is done again."""
        begun = time.perf_counter()
        conclusion = conclude(self.record, list(self.results.values()), self.folder.runs)
        largest = max((p.artefact_bytes for p in self._prepared.values()), default=0)
        self.budget.keep_for_closing(_READINGS * (time.perf_counter() - begun) + largest / _COPY_BYTES_PER_S)
        return conclusion

    def has_failed(self, name: str) -> bool:
        """True if the variant is out of the race."""
        return any(r.status != "ok" and r.variant.name == name for r in self.results.values())

    def baseline_ok(self) -> bool:
        """True if the baseline could be timed: without it there is nothing to compare with."""
        first = self.results.get(f"screening-{self.record.baseline}-latency")
        return first is not None and first.status == "ok"

    def prepared(self, variant: Variant) -> Prepared:
        """The variant's artefact, made or found once a study."""
        if variant.name not in self._prepared:
            is_new = self.decisions.blocks is None and variant.name != self.record.baseline
            longest_s = self.budget.preparing_s() if is_new else self.budget.cut_s()
            parent = self.decisions.derived.get(variant.name)
            self._prepared[variant.name] = (
                self.services.prepare(variant, longest_s)
                if parent is None
                else msgspec.structs.replace(self.prepared(self.variant(parent)), variant=variant)
            )
            remember(self.folder.root, self._prepared[variant.name])
        prepared = self._prepared[variant.name]
        if variant.name not in self.decisions.too_large:
            return prepared
        size, reason = self.decisions.too_large[variant.name]
        note = f"fails at batches of {size} ({reason}), so smaller ones are used"
        return msgspec.structs.replace(prepared, notes=(*prepared.notes, note))

    def variant(self, name: str) -> Variant:
        """A variant of this study by its name."""
        return next(v for v in self.record.variants if v.name == name)

    def live(self, name: str, tag: str, denormals: Denormals = "zero") -> Live:
        """A variant opened in a measure child of its own; the caller closes it."""
        prepared = self.prepared(self.variant(name))
        return self.opened(prepared, tag, denormals)

    def opened(self, prepared: Prepared, tag: str, denormals: Denormals = "zero") -> Live:
        """An artefact opened in a measure child, which is cut when the time is up."""
        return Live(
            prepared,
            self.folder,
            self.profile,
            seed=self.record.seed,
            tag=tag,
            patience_s=self.services.patience_s,
            left_s=self.budget.cut_s,
            denormals=denormals,
        )

    def take_turn(self, rounds: Rounds, who: Who, turns: Sequence[Turn]) -> None:
        """Those of an entrant's turns that are still to be made; who failed before takes none."""
        todo = [t for t in turns if t.run_id not in self.results]
        if not todo or self.has_failed(who[0]):
            return
        with self.survives(who[0]), rounds.turn(who) as live:
            for turn in todo:
                self.measure(live, turn)
        self.progress.time(self.budget.elapsed_s(), self.budget.total_s)

    def measure(self, live: Live, turn: Turn, scored: Score | None = None) -> None:
        """Time one turn; its Result is on disk when this returns. Raises BudgetEnded if there is no time for it."""
        name = live.prepared.variant.name
        turn = fitted(self, turn, name)
        if expected_s(self, turn, name) > self.budget.cut_s():
            raise BudgetEnded(f"`{name}` waited for its turn")
        limit = _LEAST_LIMIT
        screened = self.results.get(f"screening-{live.prepared.variant.name}-latency")
        if scored is not None:
            limit = max(_LEAST_LIMIT, 2 * scored.largest_error)
        elif screened is not None and screened.check is not None:
            limit = screened.check.limit

        def common(fields: dict[str, Any]) -> Result:
            if scored is not None:
                fields["quality"] = scored.quality
            return Result(
                study_id=self.record.study_id,
                created_unix_ns=time.time_ns(),
                env_id=self.record.env_id,
                **fields,
            )

        result = live.run(turn, reference=self.services.reference, check_limit=limit, common=common)
        self.add(result)

    def add(self, result: Result) -> None:
        """Take a committed result in and tell whoever watches."""
        self.results[result.run_id] = result
        self.folder.write_spent(self.budget.elapsed_s())
        self.progress.done(result.variant.name, result)
        self.progress.time(self.budget.elapsed_s(), self.budget.total_s)

    @contextlib.contextmanager
    def survives(self, name: str) -> Iterator[None]:
        """A variant that fails after screening becomes a row with its reason; the study goes on without it."""
        try:
            yield
        except BudgetEnded:
            raise
        except VariantError as error:
            self.commit_failure(self.variant(name), error, "failed")

    @contextlib.contextmanager
    def survives_look(self, name: str) -> Iterator[None]:
        """What fails in a look beside the race is left out; the variant has been measured already."""
        try:
            yield
        except BudgetEnded:
            raise
        except VariantError as error:
            self.not_bought.append(f"a closer look at `{name}`: {error.reason}")

    def commit_failure(
        self,
        variant: Variant,
        error: VariantError,
        status: Status,
        scored: Score | None = None,
        live: Live | None = None,
    ) -> None:
        """A variant that can't go on becomes a row with its reason."""
        screened = f"screening-{variant.name}-batch" in self.results
        result = Result(
            run_id=f"{'later' if screened else 'screening'}-{variant.name}",
            study_id=self.record.study_id,
            phase="blocks" if screened else "screening",
            variant=variant,
            role="baseline" if variant.name == self.record.baseline else "candidate",
            status=status,
            created_unix_ns=time.time_ns(),
            reason=error.reason,
            next_step=error.next_step,
            log_tail=getattr(error, "log_tail", ""),
            env_id=self.record.env_id,
            quality=None if scored is None else scored.quality,
            effective=None if live is None else live.effective,
            set_up=None if live is None else live.set_up,
            numerics=None if live is None else live.prepared.numerics,
        )
        result.save(self.folder.runs)
        self.add(result)
