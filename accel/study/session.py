"""One study from its arguments to its conclusion: what `accel.bench` does, in the order in which it happens."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import msgspec

from accel.analysis.conclusion import StudyRecord
from accel.errors import NothingMeasured
from accel.measurement.machine import detect
from accel.model import Source
from accel.recipe import Variant
from accel.result import write_atomically
from accel.study import answers, looks, missing
from accel.study.beginning import Changed, FirstLook
from accel.study.budget import Budget, BudgetEnded, patience_s
from accel.study.cache import key, shrink
from accel.study.context import Context
from accel.study.first_record import first_record
from accel.study.folder import StudyFolder
from accel.study.funnel import Funnel, Services
from accel.study.judging import Judge
from accel.study.live import memory_limit_bytes
from accel.study.looking import describe_source
from accel.study.options import Options, as_begun
from accel.study.peaks import with_peaks
from accel.study.prepare import Prepared, Workshop
from accel.study.progress import Progress
from accel.study.reference import Reference
from accel.study.rescuer import Rescuer, seen_before
from accel.units import show_seconds

_LEAST_CALLS = 40
"""About as many calls as the first look at a variant takes."""


class Session:
    """Owns the folder, the workshop and the funnel of one study."""

    def __init__(self, options: Options, folder: StudyFolder, progress: Progress) -> None:
        if folder.record_path.exists():
            options = as_begun(options, folder.record(), folder.root)
        self.options = options
        self.folder = folder
        self.progress = progress
        self.machine = detect()
        self.budget = Budget(options.budget_s, spent_s=folder.spent_s())
        self._yardstick: Reference | None = None
        self._context_path = folder.model / "context.json"

    def run(self) -> StudyRecord:
        """Begin or resume, go through the funnel, and close the record whatever ends it.

        Raises InputError for wrong input, NothingMeasured if not even the baseline ran; Ctrl-C ends the study early
        and marks it interrupted.
        """
        try:
            return self._run(anew=False)
        except Changed:
            # What was measured so far was of another model, and nothing was made for this one.
            self.progress.stage("the model has changed since it was last looked at: starting anew")
            self.folder.forget()
            return self._run(anew=True)

    def _run(self, *, anew: bool) -> StudyRecord:
        try:
            record, context = self._begin(anew=anew)
        except BudgetEnded as error:
            raise NothingMeasured(self._too_short(error)) from None
        workshop = self._workshop(context.source)
        interrupted = False
        funnel: Funnel | None = None
        try:
            reference = self._reference(record, workshop, context)
            Judge(self.folder, record, context, left_s=self.budget.cut_s).try_metric()
            funnel = self._funnel(record, workshop, context, reference)
            funnel.run()
            funnel.record = with_peaks(funnel.record, self.machine, self.budget, self.progress.stage)
            funnel.keep_artefacts()
        except KeyboardInterrupt:
            interrupted = True
        except BudgetEnded as error:
            self._close(record, funnel, interrupted=False)
            raise NothingMeasured(self._too_short(error)) from None
        record = self._close(funnel.record if funnel else record, funnel, interrupted)
        if not interrupted and not any(r.status == "ok" for r in self.folder.results().values()):
            raise NothingMeasured(self._why_nothing(record))
        return record

    # --- beginning ---------------------------------------------------------------------------------------------

    def plan(self) -> StudyRecord:
        """Everything up to the list of variants; nothing is timed."""
        record, context = self._begin()
        try:
            self._confirm(context)
        except Changed:
            self.folder.forget()
            record, _ = self._begin(anew=True)
        return record

    def _begin(self, *, anew: bool = False) -> tuple[StudyRecord, Context]:
        if self.folder.record_path.exists():
            context = msgspec.json.decode(self._context_path.read_bytes(), type=Context)
            self.folder.sweep()
            goes_on = {"finished_unix_ns": None, "interrupted": False, "budget_s": self.options.budget_s}
            if self.options.price_per_h is not None:
                goes_on["price_per_h"] = self.options.price_per_h
            return msgspec.structs.replace(self.folder.record(), **goes_on), context
        self.folder.clear()
        self.folder.create(resume=True)
        options = self.options
        source = describe_source(options, self.folder)
        self.progress.stage("looking at the model")
        begun = self._first_look().begin(source, anew=anew)
        seen, metric = begun.seen, begun.metric
        source = msgspec.convert(seen["source"], Source)
        record = first_record(options, self.machine, source, seen, metric)
        context = Context(
            source=source,
            identity=seen["identity"],
            samples_sha256=seen["samples"]["sha256"],
            metric=metric,
            labelled=seen["samples"]["labelled"],
            load_s=seen["load_s"],
            sizes=options.sizes,
            knobs=options.defaults,
            look=begun.look,
            confirmed=begun.confirmed,
        )
        self._write_context(context)
        self.folder.write_record(record)
        return record, context

    def _first_look(self) -> FirstLook:
        return FirstLook(self.options, self.folder, self.machine, self._workshop, self._on_stage("the model"))

    def _confirm(self, context: Context) -> None:
        """Where the study began with an earlier look, look now; before anything is prepared, and once."""
        if context.confirmed:
            return
        self._first_look().confirm(context.identity, context.samples_sha256)
        context.confirmed = True
        self._write_context(context)

    def _write_context(self, context: Context) -> None:
        write_atomically(self._context_path, msgspec.json.encode(context))

    def _workshop(self, source: Source, folder: StudyFolder | None = None) -> Workshop:
        timeout_s = max(60.0, min(1800.0, 0.4 * self.options.budget_s))
        return Workshop(
            folder or self.folder,
            source,
            memory_limit_bytes=memory_limit_bytes(),
            timeout_s=timeout_s,
            left_s=self.budget.cut_s,
        )

    def _on_stage(self, who: str) -> Callable[[str], None]:
        return lambda text: self.progress.stage(f"{who}: {text}")

    # --- reference and services --------------------------------------------------------------------------------

    def _reference(self, record: StudyRecord, workshop: Workshop, context: Context) -> Reference:
        """The yardstick of every output, made once, before anything is timed."""
        self.progress.stage("reference outputs")
        self._yardstick = Reference(
            self.folder,
            record,
            context,
            self.options.profile,
            self.budget,
            lambda variant: self._prepare(variant, workshop, context, record),
            self._answers(context, budget_s=record.budget_s),
        )
        self._yardstick.answer()
        self._write_context(context)
        return self._yardstick

    def _prepare(
        self,
        variant: Variant,
        workshop: Workshop,
        context: Context,
        record: StudyRecord,
        longest_s: float = math.inf,
    ) -> Prepared:
        refusal = missing.why_not(variant, record.facts, self.machine)
        if refusal is not None:
            raise refusal
        if not self._is_made(variant, workshop, context):
            self._confirm(context)
        seen = seen_before(record, context)
        cache_key, on_stage = self._key(variant, context), self._on_stage(variant.name)
        return workshop.prepare(variant, cache_key, seen, on_stage, longest_s=longest_s)

    def _is_made(self, variant: Variant, workshop: Workshop, context: Context) -> bool:
        cache_key = self._key(variant, context)
        return cache_key is not None and workshop.has(variant, cache_key)

    def _key(self, variant: Variant, context: Context) -> str | None:
        """Of an artefact in the cache; None where nothing can vouch for the model."""
        if context.identity is None:
            return None
        return key(
            variant,
            model_sha256=context.identity,
            calibration_sha256=context.samples_sha256,
            machine=self.machine,
        )

    def _answers(self, context: Context, **told: Any) -> answers.Place:
        """Where answers of an artefact are kept between studies."""
        return lambda variant: answers.place_of(self._key(variant, context), variant, context.samples_sha256, told)

    def _funnel(self, record: StudyRecord, workshop: Workshop, context: Context, reference: Reference) -> Funnel:
        services = Services(
            prepare=lambda variant, longest_s: self._prepare(variant, workshop, context, record, longest_s),
            score=Judge(self.folder, record, context, left_s=self.budget.cut_s).score,
            rescue=Rescuer(self.folder, record, context, workshop, reference, self._on_stage),
            evaluation=list(context.reference_ids),
            reference=reference.outputs,
            infer_timeout_s=patience_s(record.budget_s, context.reference_s),
            patience_s=patience_s(record.budget_s, context.reference_s),
            reference_item_s=context.reference_s / max(1, len(context.reference_ids)),
            confirm=lambda: self._confirm(context),
            is_made=lambda variant: self._is_made(variant, workshop, context),
            answers=self._answers(context, ids=context.reference_ids),
        )
        return Funnel(
            record,
            self.folder,
            self.options.profile,
            self.budget,
            services,
            self.progress,
            sizes=context.sizes,
            knobs=context.knobs,
        )

    # --- ending ------------------------------------------------------------------------------------------------

    def _close(self, record: StudyRecord, funnel: Funnel | None, interrupted: bool) -> StudyRecord:
        elapsed = self.budget.elapsed_s()
        self.folder.write_spent(elapsed)
        record = msgspec.structs.replace(
            record,
            finished_unix_ns=time.time_ns(),
            elapsed_s=elapsed,
            interrupted=interrupted,
            not_bought=tuple(funnel.not_bought) if funnel else (),
        )
        self.folder.write_record(record)
        context = msgspec.json.decode(self._context_path.read_bytes(), type=Context)
        if context.look is not None and context.confirmed:
            looks.keep_forms(context.look, self.folder)
        shrink()
        return record

    def _too_short(self, error: BudgetEnded) -> str:
        """That not even the original could be measured, and with how much time it probably could."""
        item_s = self._yardstick.item_s if self._yardstick is not None else 0.0
        enough_s = 10 * math.ceil((2 * self.budget.elapsed_s() + _LEAST_CALLS * item_s) / 10)
        return (
            f"The budget of {show_seconds(self.budget.total_s)} ended while {error.doing}, before your model itself "
            f"was measured. About {enough_s} s are needed for it alone: use --budget {enough_s}s or more."
        )

    def _why_nothing(self, record: StudyRecord) -> str:
        failed = [r for r in self.folder.results().values() if r.status != "ok"]
        first = next((r for r in failed if r.variant.name == record.baseline), failed[0] if failed else None)
        if first is None:
            return f"Nothing was measured within the budget of {record.budget_s:.0f} s. Raise --budget."
        reason = f"No variant could be measured. `{first.variant.name}`: {first.reason}".rstrip(".")
        return f"{reason}. {first.next_step}".strip()
