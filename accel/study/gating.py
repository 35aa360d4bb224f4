"""From limits and two studies to judgements: which artefacts meet, how long they run, what each limit came to."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.analysis import Estimate, guard
from accel.analysis.conclusion import Row
from accel.analysis.gate import MIN_BLOCKS, Judgement, Limit, Measured, decide, exact, judge, show_limit, unsettled
from accel.analysis.metrics import NAMES
from accel.analysis.percentiles import required
from accel.errors import InputError, VariantError
from accel.measurement.outputs import load_ids, load_outputs
from accel.result import Quality
from accel.samples import Samples
from accel.study.gate import NEW, OLD, SHARE, Duel, Fought, Say, Side, batch_ask, latency_ask, seconds_for
from accel.study.kept import Kept, may_open
from accel.study.racing import Ask
from accel.study.study import Study
from accel.units import show_seconds

_TIMED = ("p50", "p90", "p99", "memory", "throughput")
_START_S = 1.5
_FEWEST_ANSWERS = 64
_ANSWERING = 0.1
_BATCHES = 10
_TOO_LONG_S = 3600.0


class Corner(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a meeting: a study, its variant, and the artefact that it kept of it."""

    study: Study
    kept: Kept

    @property
    def row(self) -> Row:
        """What its study knows about it."""
        return self.study.conclusion.row(self.kept.variant.name)


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """An old and a new artefact, which target they are for ("batch", "online", "both") and the limits between them."""

    target: str
    old: Corner
    new: Corner
    limits: tuple[Limit, ...]

    @property
    def names(self) -> tuple[str, str]:
        """The variants' names, old and new."""
        return self.old.kept.variant.name, self.new.kept.variant.name


class Gated(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits of a meeting came to; notes are sentences about how it went, such as outputs that differ."""

    judgements: tuple[Judgement, ...]
    notes: tuple[str, ...] = ()


def check_trust(meetings: Sequence[Meeting], *, trust_file: bool) -> None:
    """InputError where opening an artefact could run code, unless its user vouches for it."""
    for corner in (c for m in meetings for c in (m.old, m.new)):
        if not trust_file and not may_open(corner.kept):
            raise InputError(
                f"`{corner.study.folder}` keeps an artefact of the backend `{corner.kept.variant.backend.name}`, which "
                "may hold pickles or native code that run as you when it is opened. If you made this study, or trust "
                "who did, allow it with --trust-file (trust_file=True)."
            )


def gate(
    meetings: Sequence[Meeting], *, rerun: bool, budget_s: float, out: Path | None, say: Say, seed: int = 0
) -> list[Gated]:
    """Judge every meeting; with `rerun` the artefacts are measured again here, in `budget_s` seconds in all.

    out: where the runs are kept; None keeps none.
    """
    found = []
    begun = time.monotonic()
    place: AbstractContextManager[str] = (
        nullcontext(str(out)) if out is not None else tempfile.TemporaryDirectory(prefix="accel-gate-")
    )
    with place as root:
        for number, meeting in enumerate(meetings):
            left = (budget_s - (time.monotonic() - begun)) / (len(meetings) - number)
            one = _Gate(meeting, Path(root) / meeting.target, left, say, seed)
            found.append(one.run() if rerun else one.stored("it wasn't measured again, as asked"))
    return found


class _Gate:
    """One meeting on its way to judgements."""

    def __init__(self, meeting: Meeting, place: Path, budget_s: float, say: Say, seed: int) -> None:
        self._meeting, self._place, self._budget_s, self._say, self._seed = meeting, place, budget_s, say, seed
        self._begun = time.monotonic()
        self._notes: list[str] = []

    def run(self) -> Gated:
        """Measure what has to be measured, then judge each limit."""
        limits = self._meeting.limits
        timed = [limit for limit in limits if limit.metric in _TIMED]
        fought = Fought(measured={}, blocks=0, block_s=0.0)
        if not timed and all(limit.metric != "accuracy" for limit in limits):
            return Gated(judgements=tuple(self._judged(limit, fought, None) for limit in limits))
        try:
            duel = self._duel(timed)
        except InputError as error:  # a third party's backend isn't installed, or the artefact is gone
            return self.stored(f"the artefact can't be opened here: {error}")
        self._say(f"{self._meeting.target}: comparing the outputs of both")
        if not duel.answer(self._ids()):
            return self.stored(_why(duel.failed))
        quality = self._compare_outputs(duel)
        if timed:
            fought = duel.fight(self._budget_s - (time.monotonic() - self._begun), self._say)
        if fought.failed:
            return self.stored(_why(fought.failed))
        return Gated(
            judgements=tuple(self._judged(limit, fought, quality) for limit in limits),
            notes=tuple(self._notes + [m.note for m in fought.measured.values() if m.note]),
        )

    def stored(self, reason: str) -> Gated:
        """Nothing was measured here: what has no scatter is judged all the same, the rest is information."""
        found = []
        for limit in self._meeting.limits:
            if limit.metric == "size":
                found.append(self._size(limit))
            else:
                found.append(self._unsettled(limit, reason))
        return Gated(judgements=tuple(found), notes=tuple(self._notes))

    def _judged(self, limit: Limit, fought: Fought, quality: Quality | None) -> Judgement:
        names, target = self._meeting.names, self._meeting.target
        if limit.metric == "size":
            return self._size(limit)
        if limit.metric == "accuracy" and quality is not None:
            return self._accuracy(limit, quality)
        if limit.metric == "rate":
            reason = "the rate within the SLO isn't measured again here, which takes a search of its own"
            return self._unsettled(limit, reason, "Limit p99 or throughput instead, or run both studies here.")
        measured = fought.measured[limit]
        found = judge(limit, measured, target=target, old=names[0], new=names[1], block_s=fought.block_s)
        if measured.ratio is None and limit.quantile is not None and measured.blocks >= MIN_BLOCKS:
            return msgspec.structs.replace(found, settle=self._carrying(limit.quantile))
        return found

    def _carrying(self, p: float) -> str:
        """Which budget would hold enough requests for a percentile that wasn't carried."""
        run_s = 1.15 * required(p) * self._slower_s()
        needed_s = 3 * MIN_BLOCKS * (run_s + self._start_s()) / SHARE
        if needed_s > _TOO_LONG_S:
            return f"It would take about {show_seconds(needed_s)}: limit a lower percentile."
        return f"--budget {math.ceil(needed_s / 60)}m would hold enough requests."

    def _size(self, limit: Limit) -> Judgement:
        sizes = [float(corner.kept.artefact_bytes) for corner in (self._meeting.old, self._meeting.new)]
        return exact(limit, *sizes, target=self._meeting.target, names=self._meeting.names)

    def _unsettled(self, limit: Limit, reason: str, settle: str = "") -> Judgement:
        return unsettled(
            limit,
            reason + self._stored_numbers(limit),
            target=self._meeting.target,
            names=self._meeting.names,
            settle=settle,
            stored=True,
        )

    def _stored_numbers(self, limit: Limit) -> str:
        old, new = (_stored(corner.row, limit.metric) for corner in (self._meeting.old, self._meeting.new))
        if old is None or new is None or not old:
            return ""
        return f" (stored numbers: {100 * (new / old - 1):+.1f} %, information only)"

    # --- outputs -----------------------------------------------------------------------------------------------

    def _samples(self) -> Samples:
        return Samples.open(self._meeting.new.study.folder / "samples")

    def _ids(self) -> list[int]:
        """As many of the new study's evaluation samples as a tenth of the time allows, and 64 at least."""
        samples = self._samples()
        pool = samples.evaluation if len(samples.evaluation) else np.arange(samples.count)
        each = sum(_median_s(corner.row) for corner in (self._meeting.old, self._meeting.new))
        count = max(_FEWEST_ANSWERS, int(_ANSWERING * self._budget_s / each))
        return [int(i) for i in pool[:count]]

    def _compare_outputs(self, duel: Duel) -> Quality:
        """The new one's outputs against the old one's, for the same samples; a note if they differ much."""
        record, samples = self._meeting.new.study.record, self._samples()
        paths = [duel.folder.reference / f"{name}.npz" for name in (NEW, OLD)]
        ids = load_ids(paths[0])
        metric = record.metric if record.metric in NAMES else None
        labels = None if samples.labels is None or record.metric not in (*NAMES, None) else samples.labels[ids]
        limit = next((-li.change for li in self._meeting.limits if li.metric == "accuracy"), record.accuracy_drop)
        given: dict[str, Any] = {"random_weights": record.source.random_weights, "synthetic": record.synthetic}
        new, old = (load_outputs(path) for path in paths)
        quality = guard.score(new, old, labels, metric, accuracy_drop=max(limit, 1e-6), **given)
        if quality.outcome == "fails":
            self._notes.append(f"The outputs of old and new differ on the same samples: {quality.reason}.")
        return quality

    def _accuracy(self, limit: Limit, quality: Quality) -> Judgement:
        record = self._meeting.new.study.record
        if quality.drop is None or quality.drop_low is None or quality.drop_high is None:
            own = record.metric is not None and record.metric not in NAMES
            reason = "the study's own metric isn't run here" if own else "there are no labels to tell it by"
            return self._unsettled(limit, reason)
        change = Estimate(
            value=0.0 - quality.drop,
            low=-quality.drop_high,
            high=-quality.drop_low,
            n=quality.samples,
            unit="",
            method=f"the same {quality.samples} samples answered by both, paired",
        )
        outcome = decide(limit, -quality.drop_high, -quality.drop_low)
        ends = f"{100 * change.value:+.2f} pp [{-100 * quality.drop_high:+.2f}, {-100 * quality.drop_low:+.2f}]"
        return Judgement(
            limit=limit,
            target=self._meeting.target,
            old=self._meeting.names[0],
            new=self._meeting.names[1],
            outcome=outcome,
            measured=Measured(ratio=change, old=quality.reference_value, new=quality.value, blocks=1),
            evidence="re-run",
            sentence=f"{limit.metric} {ends}: the limit is {show_limit(limit)}",
            settle=f"More labelled samples would settle it; {quality.samples} are too few."
            if outcome == "can't tell"
            else "",
        )

    # --- the duel ----------------------------------------------------------------------------------------------

    def _duel(self, limits: Sequence[Limit]) -> Duel:
        old, new = (corner.study.folder / "samples" for corner in (self._meeting.old, self._meeting.new))
        if Samples.open(old).sha256 != Samples.open(new).sha256:
            self._notes.append("The samples of the two studies differ; both artefacts were measured on the new one's.")
        sides = [
            Side(
                prepared=corner.kept.prepared(corner.study.folder),
                asks=tuple(self._asks(corner, limits)),
                check_limit=corner.kept.check_limit,
            )
            for corner in (self._meeting.old, self._meeting.new)
        ]
        return Duel(sides[0], sides[1], limits, place=self._place, samples=new, seed=self._seed)

    def _asks(self, corner: Corner, limits: Sequence[Limit]) -> Iterator[Ask]:
        metrics = {limit.metric for limit in limits}
        latency = bool(metrics & {"p50", "p90", "p99"}) or metrics == {"memory"}
        asks = latency + ("throughput" in metrics)
        if latency:
            needed = max((required(li.quantile) for li in limits if li.quantile), default=20)
            budget_s, start_s = self._budget_s, self._start_s()
            yield latency_ask(seconds_for(needed, self._slower_s(), budget_s=budget_s, asks=asks, start_s=start_s))
        if "throughput" in metrics:
            size = corner.row.batch_size or corner.kept.batch_size or 1
            rate = corner.row.throughput
            batch_s = size / rate.value if rate is not None and rate.value > 0 else 0.0
            yield batch_ask(
                size, seconds_for(_BATCHES, batch_s, budget_s=self._budget_s, asks=asks, start_s=self._start_s())
            )

    def _slower_s(self) -> float:
        return max(_median_s(c.row) for c in (self._meeting.old, self._meeting.new))

    def _start_s(self) -> float:
        known = [c.row.set_up.start_s for c in (self._meeting.old, self._meeting.new) if c.row.set_up is not None]
        return max([s for s in known if s is not None], default=1.0) + _START_S


def _why(failed: dict[str, VariantError]) -> str:
    which, error = next(iter(failed.items()))
    step = f" {error.next_step}" if error.next_step else ""
    return f"the {which} artefact can't run here: {error.reason.rstrip('.')}.{step}"


def _median_s(row: Row) -> float:
    return max(row.p50.value, 1e-5) if row.p50 is not None else 0.01


def _stored(row: Row, metric: str) -> float | None:
    found: Estimate | None
    if metric == "memory":
        return row.memory_bytes
    if metric == "accuracy":
        return None
    found = (row.online.rate if row.online else None) if metric == "rate" else getattr(row, metric)
    return None if found is None else found.value
