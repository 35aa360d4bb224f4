"""Does batching pay for short items as it does for long ones? Where samples differ in length, the winners' curve by
bucket of lengths.

Batches of random items are nearly all as long as the longest, so they say nothing about short ones. These runs take
neighbours in length together (`bucketed`); one run a size then holds batches of every length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from accel.analysis.by_length import by_length
from accel.analysis.conclusion import StudyRecord
from accel.measurement.feeding import lengths_of
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.samples import Samples
from accel.study.budget import BudgetEnded
from accel.study.lengths import call_s
from accel.study.live import Turn
from accel.study.tuning import best_size

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_SIZES = (1, 4, 16)
_BATCHES, _LONGEST_S = 40, 2.0
"""Ten batches a bucket, as far as a slow model allows."""
_AROUND_S, _OPENING_S = 0.8, 4.0
_WARM_CALLS = 4
_SHARE = 0.08
_TRIAL = 45_000


def look_by_length(funnel: Funnel) -> None:
    """Run the winners (the original where it stays) at a few sizes, as far as the budget goes."""
    if funnel.record.signature.batch != "any":
        return
    samples = Samples.open(funnel.folder.samples)
    lengths = lengths_of(samples)
    among = None if lengths is None else lengths[samples.evaluation]
    if lengths is None or among is None or not len(among) or among.min() == among.max():
        return
    if not funnel.budget.fits(_OPENING_S):
        funnel.not_bought += [] if funnel.record.lengths else ["batch sizes by length"]
        return
    conclusion = funnel.read()
    winners = [a.winner for a in (conclusion.batch, conclusion.online) if a is not None]
    for name in dict.fromkeys(winners):
        if funnel.has_failed(name) or any(c.variant == name for c in funnel.record.lengths):
            continue
        turns = {size: _turn(funnel, name, size) for size in sorted({*_SIZES, best_size(funnel, name)})}
        if _made(funnel, name, turns):
            _keep(funnel, name, list(turns), lengths, among)


def _made(funnel: Funnel, name: str, turns: dict[int, Turn]) -> bool:
    """Make the runs that are missing; False if there is no time for them or one fails."""
    todo = [t for t in turns.values() if t.run_id not in funnel.results]
    seconds = _OPENING_S + sum(_expected_s(funnel, name, t) for t in todo)
    if not todo:
        return True
    kept_s = funnel.profile.load_share * funnel.budget.total_s
    if not funnel.budget.fits(seconds, kept_s=kept_s) or seconds > _SHARE * funnel.budget.total_s:
        funnel.not_bought.append(f"the batch sizes of `{name}` by length")
        return False
    funnel.progress.stage(f"{name}: batch sizes by length")
    try:
        with funnel.survives_look(name), funnel.live(name, "lengths") as live:
            for turn in todo:
                funnel.measure(live, turn)
    except BudgetEnded as error:
        funnel.not_bought.append(f"the batch sizes of `{name}` by length: {error.words}")
    return all(t.run_id in funnel.results for t in turns.values())


def _keep(
    funnel: Funnel, name: str, sizes: list[int], lengths: npt.NDArray[np.int64], among: npt.NDArray[np.int64]
) -> None:
    """Into the record: whoever reads the study later may not have its samples, and so not their lengths."""
    runs = {
        size: Trace.load(funnel.folder.runs / str(funnel.results[_run_id(name, size)].trace))
        for size in sizes
        if funnel.results[_run_id(name, size)].validity != "invalid"
    }
    curves = by_length(name, runs, lengths, among)
    record = msgspec.structs.replace(funnel.record, lengths=(*funnel.record.lengths, *curves))
    funnel.record = msgspec.json.decode(msgspec.json.encode(record), type=StudyRecord)
    funnel.folder.write_record(funnel.record)


def _turn(funnel: Funnel, name: str, size: int) -> Turn:
    turn = Turn(
        run_id=_run_id(name, size),
        phase="tuning",
        target=None,
        scenario=Named("offline"),
        batching=Named("bucketed", {"max_size": size, "window": 1024}),
        duration_s=funnel.profile.tune_s,
        trial=_TRIAL + size,
        role="baseline" if name == funnel.record.baseline else "candidate",
    )
    needed_s = _BATCHES * size * call_s(funnel, turn, name)
    return msgspec.structs.replace(turn, duration_s=max(turn.duration_s, min(needed_s, _LONGEST_S)))


def _expected_s(funnel: Funnel, name: str, turn: Turn) -> float:
    return (
        turn.duration_s + _AROUND_S + _WARM_CALLS * int(turn.batching.fields["max_size"]) * call_s(funnel, turn, name)
    )


def _run_id(name: str, size: int) -> str:
    return f"tuning-{name}-lengths-{size}"
