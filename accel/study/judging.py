"""Scores every variant of a study against its reference; the user's own metric runs in a child, not in the parent."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from accel.analysis.conclusion import StudyRecord
from accel.compression import is_probe
from accel.measurement.isolation import Child, ChildFailed
from accel.recipe import Variant
from accel.samples import Samples
from accel.study.asking import ask_within
from accel.study.context import Context
from accel.study.folder import StudyFolder
from accel.study.given import Given, metric_of
from accel.study.refusal import refusal
from accel.study.scoring import Score, Terms, score

_LONGEST_SCORE_S = 300.0


class Judge:
    """Knows the reference's outputs, the labels and the metric of one study."""

    def __init__(
        self,
        folder: StudyFolder,
        record: StudyRecord,
        context: Context,
        *,
        left_s: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._left_s = left_s
        self._folder, self._record, self._context = folder, record, context
        self._reference = folder.reference / "outputs.npz"

    def score(self, variant: Variant, candidate: Path) -> Score:
        """Quality of a variant's stored outputs; raises ChildFailed where the user's metric fails."""
        terms = terms_of(self._record, compressed=bool(variant.compression), probe=is_probe(variant.compression))
        if self._context.metric.is_own:
            return self._in_child(variant.name, candidate, terms)
        samples = Samples.open(self._folder.samples)
        ids = np.asarray(self._context.reference_ids, np.int64)
        labels = None if samples.labels is None else np.asarray(samples.labels)[ids]
        metric = metric_of(self._context.metric) or ("accuracy" if labels is not None else None)
        return score(candidate, self._reference, labels, metric, terms)

    def try_metric(self) -> None:
        """The user's own metric on the reference's outputs: if it fails even there, no variant is to blame.

        Raises InputError or NothingMeasured that says so.
        """
        if not self._context.metric.is_own or self._folder.results():
            return
        try:
            self._in_child("metric", self._reference, terms_of(self._record, compressed=False))
        except ChildFailed as error:
            raise refusal(error, "Trying the metric", self._folder.log / "metric-score.log") from None

    def _in_child(self, name: str, candidate: Path, terms: Terms) -> Score:
        ids, metric = list(self._context.reference_ids), self._context.metric
        left_s = self._left_s()
        return score_in_child(self._folder, name, candidate, self._reference, ids, metric, terms, left_s=left_s)


def score_in_child(
    folder: StudyFolder,
    name: str,
    candidate: Path,
    reference: Path,
    ids: list[int],
    metric: Given,
    terms: Terms,
    *,
    left_s: float,
) -> Score:
    """Quality of stored outputs of the samples `ids`, scored where a metric of the user's own can do no harm.

    The log is NAME-score.log. Raises ChildFailed, or BudgetEnded after `left_s`.
    """
    command = {
        "do": "score",
        "samples": str(folder.samples),
        "ids": ids,
        "metric": msgspec.to_builtins(metric),
        "candidate": str(candidate),
        "reference": str(reference),
        "terms": msgspec.to_builtins(terms),
    }
    log = folder.log / f"{name}-score.log"
    with Child("accel.study.prepare_child", env={}, log=log, cwd=folder.log) as child:
        return msgspec.convert(ask_within(child, command, timeout_s=_LONGEST_SCORE_S, left_s=left_s), Score)


def terms_of(record: StudyRecord, *, compressed: bool, probe: bool = False) -> Terms:
    """What the guard needs to know of a study."""
    return Terms(
        accuracy_drop=record.accuracy_drop,
        compressed=compressed,
        random_weights=record.source.random_weights,
        synthetic=record.synthetic,
        metric=record.metric,
        probe=probe,
    )
