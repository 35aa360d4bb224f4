"""The yardstick of every output: what the source answers in FP32 on one thread, for the part that a question is about.

Its answers on the evaluation part are made once, before anything is timed; those on the validation part only when a
rescue asks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from accel.analysis.conclusion import StudyRecord
from accel.errors import NothingMeasured, VariantError
from accel.measurement.outputs import load_ids
from accel.recipe import Variant
from accel.samples import Samples
from accel.study import defaults
from accel.study.answers import Answered, Place, find, keep
from accel.study.budget import Budget, BudgetEnded
from accel.study.context import Context
from accel.study.folder import StudyFolder
from accel.study.live import Live
from accel.study.prepare import Prepared
from accel.study.profiles import Profile

_SECONDS = 15.0
_LEAST_EVALUATION = 64
_PROBING_SHARE = 0.1


class Reference:
    """Makes and keeps the reference's outputs of one study; `item_s`: what one answer took, 0 before it is known."""

    def __init__(
        self,
        folder: StudyFolder,
        record: StudyRecord,
        context: Context,
        profile: Profile,
        budget: Budget,
        prepare: Callable[[Variant], Prepared],
        answers: Place = lambda variant: None,
    ) -> None:
        self._folder, self._record, self._context = folder, record, context
        self._profile, self._budget, self._prepare = profile, budget, prepare
        self._place = answers(defaults.reference(record.source.kind, record.facts.forms))
        self.outputs = folder.reference / "outputs.npz"
        self.item_s = 0.0

    def answer(self) -> None:
        """The evaluation part, unless it is there; which ids and how long they took stand in the context then.

        Raises NothingMeasured if the model doesn't run, BudgetEnded.
        """
        if self.outputs.exists() and self._context.reference_ids:
            return
        if (kept := find(self._place, self.outputs)) is not None:
            self.item_s = kept.item_s
            self._context.reference_s, self._context.reference_ids = kept.seconds, kept.ids
            return
        try:
            self._in_batches(self._answer_evaluation)
        except BudgetEnded:
            raise
        except VariantError as error:
            sentences = (f"The model itself doesn't run: {error.reason}".rstrip("."), error.next_step)
            raise NothingMeasured(". ".join(s for s in sentences if s).rstrip(".") + ".") from None

    def validation(self, most_s: float) -> tuple[Path, tuple[int, ...]]:
        """Where the answers on the validation part lie, and whose they are: as many as `most_s` seconds buy.

        Spread evenly over the part, so that an order among the samples doesn't choose. Raises VariantError.
        """
        out = self._folder.reference / "validation.npz"
        if not out.exists():
            part = Samples.open(self._folder.samples).validation
            item_s = self._context.reference_s / max(1, len(self._context.reference_ids))
            count = min(len(part), max(1, int(most_s / max(item_s, 1e-9))))
            ids = [int(part[i]) for i in np.linspace(0, len(part) - 1, count).round().astype(int)]
            longest_s = max(60.0, 4 * most_s)
            self._in_batches(lambda live, batch: live.answer(ids, min(batch, count), out, timeout_s=longest_s))
        return out, tuple(int(i) for i in load_ids(out))

    def _in_batches(self, ask: Callable[[Live, int], object]) -> None:
        """Ask the reference in batches of 8, and one by one where it can't take such."""
        prepared = self._prepare(defaults.reference(self._record.source.kind, self._record.facts.forms))
        for batch in (8, 1):
            try:
                with self._live(prepared, f"reference-{batch}") as live:
                    ask(live, live.sizes[-1] if live.sizes else batch)
                return
            except BudgetEnded:
                raise
            except VariantError as error:
                if batch == 1 or getattr(error, "cause", "") == "hang":
                    raise

    def _live(self, prepared: Prepared, tag: str) -> Live:
        return Live(
            prepared,
            self._folder,
            self._profile,
            seed=self._record.seed,
            tag=tag,
            patience_s=self._longest_s / 2,
            left_s=self._budget.cut_s,
        )

    @property
    def _longest_s(self) -> float:
        return max(60.0, min(300.0, self._record.budget_s))

    def _answer_evaluation(self, live: Live, batch: int) -> None:
        """As many evaluation samples as a fair share of the time allows."""
        out, longest_s = self.outputs, self._longest_s
        ids = [int(i) for i in Samples.open(self._folder.samples).evaluation]
        # The first answer of all sets things up; the second says what one costs.
        item_s = [live.answer(ids[:1], 1, out, timeout_s=longest_s) for _ in range(2)][1]
        probe = ids[: max(batch, 8)]
        if 2 * len(probe) * item_s < self._budget.left_s() * _PROBING_SHARE:
            item_s = min(live.answer(probe, batch, out, timeout_s=longest_s) for _ in range(2)) / len(probe)
        most = reference_count(item_s, self._record.budget_s, self._budget.left_s())
        self.item_s = item_s
        chosen = ids[:most]
        self._context.reference_s = live.answer(chosen, min(batch, most), out, timeout_s=1800.0)
        self._context.reference_ids = tuple(chosen)
        answered = Answered(ids=tuple(chosen), seconds=self._context.reference_s, item_s=item_s)
        keep(self._place, out, answered)


def reference_count(item_s: float, budget_s: float, left_s: float) -> int:
    """How many samples the reference answers at `item_s` seconds each.

    15 s of a budget of 5 minutes, more of a larger one; at least 64 where they take no more than a sixth of what is
    left, and always two.
    """
    share_s = min(_SECONDS * max(1.0, budget_s / 300), 0.1 * budget_s)
    least = min(_LEAST_EVALUATION, int(left_s / 6 / max(item_s, 1e-9)))
    return max(2, least, int(share_s / max(item_s, 1e-9)))
