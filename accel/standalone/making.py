"""Makes one compressed model and its original for the same runtime, lets both answer, and compares the answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from accel import plugins
from accel.compilation import Effective
from accel.compilation._artefact import Artefact
from accel.compression import is_probe
from accel.errors import InputError, VariantError
from accel.measurement.isolation import ChildFailed
from accel.measurement.machine import detect
from accel.model import Facts
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Quality
from accel.samples import Samples
from accel.study.budget import Budget, BudgetEnded
from accel.study.folder import StudyFolder
from accel.study.given import Given
from accel.study.judging import score_in_child
from accel.study.live import Live, memory_limit_bytes
from accel.study.looking import describe_source, given_of, look
from accel.study.missing import why_not
from accel.study.options import Options
from accel.study.prepare import Prepared, Workshop
from accel.study.refusal import refusal
from accel.study.scoring import Score, Terms
from accel.units import show_seconds

_ANSWER_S = 60.0
"""About how long the original may take to answer the evaluation samples; it answers fewer of them if it is slower."""
_LEAST = 64
_BATCH = 8
_ORIGINAL, _COMPRESSED = "original", "compressed"

OnStage = Callable[[str], None]


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What came out; both artefacts still lie in the study's folder.

    file: the model's name in its artefact's folder. effective: what ran while it was judged.
    """

    compressed: Prepared
    original: Prepared
    quality: Quality
    effective: Effective
    notes: tuple[str, ...]
    file: str


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at the model and the samples told."""

    reply: dict[str, Any]
    metric: Given

    @property
    def facts(self) -> Facts:
        return msgspec.convert(self.reply["facts"], Facts)

    @property
    def synthetic(self) -> bool:
        return bool(self.reply["samples"]["synthetic"])

    @property
    def told(self) -> dict[str, Any]:
        """What a prepare child need not find out again."""
        return {key: self.reply[key] for key in ("signature", "facts", "load_s")}


class _Making:
    """One folder, one clock and one workshop for all steps."""

    def __init__(self, options: Options, place: Path, on_stage: OnStage) -> None:
        self._options, self._on_stage = options, on_stage
        self._folder = StudyFolder(place)
        self._folder.create(resume=False)
        self._budget = Budget(options.budget_s)
        on_stage("looking at the model")
        source = describe_source(options, self._folder)
        self._workshop = Workshop(
            self._folder,
            source,
            memory_limit_bytes=memory_limit_bytes(),
            timeout_s=math.inf,
            left_s=self._budget.cut_s,
        )

    def seen(self) -> _Seen:
        """Look at the model and the samples; InputError if something is wrong with them."""
        given = given_of(self._options, self._folder)
        reply = look(self._options, self._folder, self._workshop, self._on_stage, given)
        return _Seen(reply=reply, metric=given["metric"])

    def prepared(self, variant: Variant, seen: _Seen) -> Prepared:
        """Make one artefact; VariantError in a whole sentence if it can't be made."""
        tag = f"{variant.name}-prepare"
        try:
            return self._workshop.prepare(
                variant, None, seen.told, lambda text: self._on_stage(f"{variant.name}: {text}")
            )
        except BudgetEnded:
            raise
        except VariantError as error:
            said = _failed(variant, error, self._folder.log / f"{tag}.log")
            raise VariantError(said, error.next_step) from None

    def answered(self, prepared: Prepared, ids: list[int] | None) -> tuple[list[int], Effective]:
        """Let it answer `ids`, or (None) as many evaluation samples as it can in about a minute; which it did."""
        from accel.study.profiles import profile

        out = self._folder.reference / f"{prepared.variant.name}.npz"
        seed, left_s = self._options.seed, self._budget.cut_s
        with Live(prepared, self._folder, profile("quick"), seed=seed, tag="answers", left_s=left_s) as live:
            if ids is None:
                ids = [int(i) for i in Samples.open(self._folder.samples).evaluation]
                ids = ids[: _affordable(live, ids, out)]
            live.answer(ids, _batch(live, ids), out, timeout_s=math.inf)
            return ids, live.effective

    def score(self, ids: list[int], seen: _Seen, *, probe: bool) -> Score:
        """Compared in a child, since the metric may be the user's own function."""
        terms = Terms(
            accuracy_drop=self._options.accuracy_drop,
            compressed=True,
            random_weights=seen.reply["random_weights"],
            synthetic=seen.synthetic,
            metric=None,
            probe=probe,
        )
        outputs = self._folder.reference / f"{_COMPRESSED}.npz", self._folder.reference / f"{_ORIGINAL}.npz"
        left_s = self._budget.cut_s()
        try:
            return score_in_child(self._folder, "answers", *outputs, ids, seen.metric, terms, left_s=left_s)
        except ChildFailed as error:
            raise refusal(error, "Scoring", self._folder.log / "answers-score.log") from None

    def notes(self, ids: list[int], seen: _Seen, prepared: Prepared) -> tuple[str, ...]:
        """What was noticed on the way, each once."""
        total = seen.reply["samples"]["evaluation"]
        cut = () if len(ids) == total else (f"judged by {len(ids)} of {total} evaluation samples, to take no longer",)
        found = (*seen.reply["samples"]["notes"], *seen.reply["notes"], *prepared.notes, *cut, *_told(prepared))
        return tuple(dict.fromkeys(found))


def make(options: Options, variant: Variant, place: Path, on_stage: OnStage) -> Made:
    """Both artefacts in the new folder `place`, and the quality of `variant`, which is called "compressed".

    Raises InputError for wrong input and refused pairs, VariantError where a toolchain or the model fails.
    """
    try:
        making = _Making(options, place, on_stage)
        seen = making.seen()
        _refuse(variant, seen)
        original = making.prepared(Variant(name=_ORIGINAL, backend=Named(variant.backend.name)), seen)
        compressed = making.prepared(variant, seen)
        on_stage("comparing with the original")
        ids, _ = making.answered(original, None)
        ids, effective = making.answered(compressed, ids)
        score = making.score(ids, seen, probe=is_probe(variant.compression))
    except BudgetEnded as error:
        raise InputError(
            f"The budget of {show_seconds(options.budget_s)} ended while {error.doing}. Give a larger `budget`."
        ) from None
    if score.wrong is not None:
        raise VariantError(f"The compressed model answers wrongly: {score.wrong}.")
    return Made(
        compressed=compressed,
        original=original,
        quality=score.quality,
        effective=effective,
        notes=making.notes(ids, seen, compressed),
        file=Artefact.load(Path(compressed.folder)).file,
    )


def _refuse(variant: Variant, seen: _Seen) -> None:
    """InputError for what can be seen to be impossible or pointless before anything is made."""
    refused = why_not(variant, seen.facts, detect())
    if refused is not None:
        raise InputError(f"{refused.reason.rstrip('.')}. {refused.next_step}".strip())
    for named in variant.compression:
        if seen.synthetic and plugins.load("compression", named.name).needs_samples:
            raise InputError(
                f"`{named.name}` learns from real inputs, but no samples were given. Give `samples`, or use a "
                "technique that needs none, such as `quantize_dynamic`."
            )


def _told(prepared: Prepared) -> tuple[str, ...]:
    """The precision that a runtime was told to compute in, where its own default may be another."""
    backend = plugins.make("compilation", prepared.variant.backend)
    settings = getattr(backend, "settings", None)
    told = {} if settings is None else settings(Artefact.load(Path(prepared.folder)).precision)
    hints = [f"{key}={value}" for key, value in told.items() if "PRECISION" in key]
    return tuple(f"judged with {hint}; say the same when you load it, the default may be another" for hint in hints)


def _failed(variant: Variant, error: VariantError, log: Path) -> str:
    what = " + ".join(f"`{c.name}`" for c in variant.compression) or "The model itself"
    where = f"The details are in `{log}`." if "Traceback (most" in getattr(error, "log_tail", "") else ""
    said = f"{what} failed for the backend `{variant.backend.name}`: {error.reason.rstrip('.')}."
    return " ".join(s for s in (said, error.next_step, where) if s)


def _batch(live: Live, ids: list[int]) -> int:
    """A usual batch, or the size the model is fixed to."""
    return min(_BATCH, len(ids)) if live.sizes is None else live.sizes[-1]


def _affordable(live: Live, ids: list[int], out: Path) -> int:
    """How many samples it answers in about a minute; at least 64."""
    few = ids[: max(_batch(live, ids), 2)]
    # The first answer of all sets things up; the second says what one costs.
    took = [live.answer(few, _batch(live, few), out, timeout_s=math.inf) for _ in range(2)][1]
    return max(_LEAST, int(_ANSWER_S / max(took / len(few), 1e-9)))
