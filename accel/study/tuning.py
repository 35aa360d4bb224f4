"""At which batch sizes: the latency-against-batch curve of the baseline and of the finalists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from accel.errors import VariantError
from accel.plugins import Named
from accel.study.budget import BudgetEnded
from accel.study.lengths import expected_s, fitted
from accel.study.live import Live, Turn
from accel.study.screening import SCREEN_SIZE
from accel.study.speeds import throughput

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_USUAL = 32
"""Beyond this, a size is tried only while the last step still gained something."""
_STRIDE = 2
"""Under `quick` every second size is tried, from screening's up until it falls, then those beside the best, then the
small ones, which matter to requests that arrive alone, and larger ones once more: the optimum is wide, time is short,
and large batches take the most of it. Where lengths vary, padding makes small batches the best.
"""
_GAINS, _FALLS = 1.03, 0.97
_OPENING_S = 2.0


def tune(funnel: Funnel, names: list[str]) -> None:
    """The latency-against-batch curve of the baseline and of those: offline runs at several sizes.

    Each gets as much of the time as the others, or a slow original would leave nothing to who might replace it.
    """
    todo = [name for name in (funnel.record.baseline, *names) if next_size(funnel, name, funnel.sizes) is not None]
    for number, name in enumerate(todo):
        if not funnel.budget.allows_tuning(funnel.profile, _OPENING_S):
            funnel.not_bought.append(f"batch sizes of `{name}`")
            continue
        share_s = funnel.budget.tuning_left_s(funnel.profile) / (len(todo) - number)
        until_s = funnel.budget.elapsed_s() + share_s
        funnel.progress.stage(f"{name}: batch sizes")
        try:
            with funnel.survives(name), funnel.live(name, "tuning") as live:
                _tune_sizes(funnel, live, name, until_s)
        except BudgetEnded as error:
            funnel.not_bought.append(f"more batch sizes of `{name}`: {error.words}")
            return


def _tune_sizes(funnel: Funnel, live: Live, name: str, until_s: float) -> None:
    usable, skipped = usable_sizes(funnel, name, live), []
    while (size := next_size(funnel, name, usable)) is not None:
        turn = _tuning_turn(funnel, f"tuning-{name}-batch-{size}", name, size)
        seconds = expected_s(funnel, fitted(funnel, turn, name), name)
        if funnel.budget.elapsed_s() + seconds <= until_s:
            _measure(funnel, live, turn)
            continue
        skipped.append(str(size))
        usable = [s for s in usable if s < size]  # which take less, so that one of them may still fit
    if skipped:
        funnel.not_bought.append(f"more batch sizes of `{name}` ({', '.join(skipped)})")


def next_size(funnel: Funnel, name: str, usable: Sequence[int]) -> int | None:
    """The size to try next by what is measured so far; None once the curve is known well enough.

    Under `quick` every second size upwards until it falls, those beside the best, the small ones, then upwards until it
    falls again; where screening did more one at a time than in batches, from 1. Else every size upwards; all that the
    user named.
    """
    too_large = funnel.decisions.too_large.get(name, (math.inf, ""))[0]
    usable = [s for s in usable if s < too_large]
    if funnel.profile.name != "quick" or funnel.sizes != SIZES:
        return _next_up(funnel, name, usable)
    coarse, known = usable[::_STRIDE], screened_size(funnel, name)
    screened, alone = (throughput(funnel, f"screening-{name}-{target}") for target in ("batch", "latency"))
    up = [s for s in coarse if s > known]
    small = (s for s in coarse if s < known and f"tuning-{name}-batch-{s}" not in funnel.results)
    if alone > _GAINS * screened:
        following = _next_up(funnel, name, usable[:1])
    else:
        following = _next_up(funnel, name, up, screened, falls=1)
    if following is None:
        following = _next_up(funnel, name, _beside_best(funnel, name, usable, known))
    if following is None:
        following = next(small, None)
    return _next_up(funnel, name, up, max(screened, alone)) if following is None else following


def _beside_best(funnel: Funnel, name: str, usable: Sequence[int], known: int) -> list[int]:
    """The size below the best one and the one above it, without the one that screening ran."""
    best = best_size(funnel, name)
    if best not in usable:
        return []
    at = usable.index(best)
    return [s for s in (*usable[max(0, at - 1) : at], *usable[at + 1 : at + 2]) if s != known]


def _next_up(funnel: Funnel, name: str, sizes: Sequence[int], best: float = 0.0, falls: int = 2) -> int | None:
    """Up until it falls so many times running, or (where nobody named the sizes) gains nothing beyond 32.

    best: items/s of what was tried before.
    """
    falling = 0
    for size in sizes:
        run_id = f"tuning-{name}-batch-{size}"
        if run_id not in funnel.results:
            return size
        rate = throughput(funnel, run_id)
        falling = falling + 1 if rate < _FALLS * best else 0
        flat = rate < _GAINS * best
        best = max(best, rate)
        if falling >= falls or (flat and size >= _USUAL and funnel.sizes == SIZES):
            return None
    return None


def _measure(funnel: Funnel, live: Live, turn: Turn) -> None:
    """Time one size; failing where smaller ones ran is no reason to give the variant up."""
    name = live.prepared.variant.name
    try:
        funnel.measure(live, turn)
    except BudgetEnded:
        raise
    except VariantError as error:
        ran = any(f"tuning-{name}-batch-{size}" in funnel.results for size in funnel.sizes)
        if not ran and not 0 < screened_size(funnel, name) < turn.trial:
            raise
        funnel.decide(too_large=funnel.decisions.too_large | {name: (turn.trial, error.reason)})


def usable_sizes(funnel: Funnel, name: str, live: Live) -> list[int]:
    """The sizes to try: what the engine takes, and 1 alone where screening had to fall back to single items."""
    if live.sizes is not None:
        return [s for s in funnel.sizes if s in live.sizes] or list(live.sizes[:1])
    screened = funnel.results.get(f"screening-{name}-batch")
    if screened is not None and screened.batching is not None and screened.batching.fields.get("size") == 1:
        return [1]
    return list(funnel.sizes)


def _tuning_turn(funnel: Funnel, run_id: str, name: str, size: int) -> Turn:
    return Turn(
        run_id=run_id,
        phase="tuning",
        target="batch",
        scenario=Named("offline"),
        batching=Named("fixed", {"size": size}),
        duration_s=funnel.profile.tune_s,
        trial=size,
        role="baseline" if name == funnel.record.baseline else "candidate",
    )


def best_size(funnel: Funnel, name: str) -> int:
    """The batch size with the highest throughput, screening's among them; a smaller one within 2 % is preferred."""
    rates = {
        s: throughput(funnel, f"tuning-{name}-batch-{s}")
        for s in funnel.sizes
        if f"tuning-{name}-batch-{s}" in funnel.results
    }
    size = screened_size(funnel, name)
    if size and size not in rates and (not rates or size in funnel.sizes):
        rates[size] = throughput(funnel, f"screening-{name}-batch")
    return min((s for s, rate in rates.items() if rate >= 0.98 * max(rates.values())), default=SCREEN_SIZE)


def best_rate(funnel: Funnel, name: str) -> float:
    """Items per second at the best batch size; 0 if no batch ran."""
    return max(
        throughput(funnel, f"screening-{name}-batch"),
        *(throughput(funnel, f"tuning-{name}-batch-{size}") for size in funnel.sizes),
    )


def screened_size(funnel: Funnel, name: str) -> int:
    """The batch size that screening ran at; 0 if it ran none."""
    screened = funnel.results.get(f"screening-{name}-batch")
    if screened is None:
        return 0
    return int(screened.batching.fields.get("size", SCREEN_SIZE)) if screened.batching else SCREEN_SIZE
