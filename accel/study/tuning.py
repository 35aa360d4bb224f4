"""Who goes on, and at which batch sizes: the latency-against-batch curve of the baseline and of the survivors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from accel.analysis.conclusion import Row
from accel.errors import VariantError
from accel.plugins import Named
from accel.study.budget import BudgetEnded
from accel.study.lengths import expected_s, fitted
from accel.study.live import Live, Turn
from accel.study.screening import SCREEN_SIZE
from accel.study.speeds import latency_s, memory_bytes, throughput
from accel.units import show_bytes, show_seconds

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_USUAL = 32
"""Beyond this, a size is tried only while the last step still gained something."""
_STRIDE = 2
"""Under `quick` every second size is tried, from screening's up, then those beside the best, and last the small ones,
which matter to requests that arrive alone: the optimum is wide and time is short.
"""
_GAINS, _FALLS = 1.03, 0.97
_OPENING_S = 2.0
_TOO_SLOW = 1.1
_REPLACED_FROM = 3
"""From so many finalists on, the last one's place may be given away."""


def settled(funnel: Funnel) -> list[str]:
    """The finalists as an earlier attempt chose them, and more of them where there is more time now.

    How many there are rests on the time that was left: chosen anew, who was tuned already might be dropped.
    """
    before = funnel.decisions.finalists or ()
    now = [name for name in finalists(funnel) if name not in before]
    chosen = [*before, *now[: max(0, most_finalists(funnel) - len(before))]]
    funnel.decide(finalists=tuple(chosen))
    return [name for name in chosen if not funnel.has_failed(name)]


def most_finalists(funnel: Funnel) -> int:
    """How many the time carries through all blocks."""
    return funnel.budget.finalists(funnel.profile, two_runs_s(funnel))


def placed(funnel: Funnel, chosen: list[str], name: str, *, than: str = "") -> list[str]:
    """The finalists with one more that looked better (`than` whom): in addition where the budget carries it.

    Else it takes the place of the last of three or more; where there are fewer, it stays out.
    """
    if len(chosen) < funnel.budget.finalists(funnel.profile, two_runs_s(funnel), least=len(chosen) + 1):
        return [*chosen, name]
    if len(chosen) >= _REPLACED_FROM:
        funnel.not_bought.append(f"a comparison of `{chosen[-1]}` in blocks: `{name}` looked better")
        return [*chosen[:-1], name]
    whom = f" than `{than}`" if than else ""
    funnel.not_bought.append(f"a comparison of `{name}` in blocks, which looked better{whom}")
    return chosen


def finalists(funnel: Funnel) -> list[str]:
    """The variants that go on: the fastest in batch and the fastest in latency by turns, among those whose guard holds.

    At most `profile.finalists`, without traps and without what is slower than the baseline in both. For memory: the
    smallest, without what is clearly slower than the baseline one at a time. Decided on plain medians of the screening
    runs: these choose who is measured well; they are printed only as the reason of those that don't go on.
    """
    rate, wait = _speeds(funnel)
    base_rate, base_wait = rate.pop(funnel.record.baseline), wait.pop(funnel.record.baseline)
    most = most_finalists(funnel)
    if funnel.record.target == "memory":
        held = {name: memory_bytes(funnel, f"screening-{name}-latency") for name in wait}
        return sorted((n for n in wait if wait[n] <= _TOO_SLOW * base_wait), key=lambda n: held[n])[:most]
    by_rate, by_wait = sorted(rate, key=lambda n: -rate[n]), sorted(wait, key=lambda n: wait[n])
    orders = {
        "batch": by_rate,
        "online": by_wait,
        # Where time carries one finalist alone, it is the best all-rounder.
        "both": sorted(rate, key=lambda n: wait[n] / max(rate[n], 1e-9))
        if most == 1
        else list(_alternate(by_rate[:2], by_wait[:2], by_rate[2:], by_wait[2:])),
    }
    faster = [n for n in orders[funnel.record.target] if rate[n] > base_rate or wait[n] < base_wait]
    return list(dict.fromkeys(faster))[:most]


def _speeds(funnel: Funnel) -> tuple[dict[str, float], dict[str, float]]:
    """Items/s and seconds one at a time by screening, of the baseline and of everyone who may go on."""
    made = {**funnel.decisions.derived, **(funnel.decisions.knobs or {})}
    rows = [r for r in funnel.read().rows if _may_win(r) and not (r.is_baseline or r.variant.trap or r.name in made)]
    names = [funnel.record.baseline, *(r.name for r in rows)]
    rate = {name: throughput(funnel, f"screening-{name}-batch") for name in names}
    return rate, {name: latency_s(funnel, f"screening-{name}-latency") for name in names}


def dismiss(funnel: Funnel, chosen: list[str]) -> None:
    """Note why each of the others doesn't go on, with its screening beside the baseline's."""
    rate, wait = _speeds(funnel)
    base = funnel.record.baseline
    for name in wait:
        if name == base or name in chosen:
            continue
        slower = rate[name] <= rate[base] and wait[name] >= wait[base]
        beside = (
            f"{show_seconds(wait[name])} one at a time against {show_seconds(wait[base])} of `{base}`, "
            f"{rate[name]:.3g} items/s against {rate[base]:.3g}"
        )
        if funnel.record.target == "memory":
            mine, theirs = (show_bytes(round(m)) for m in _held(funnel, name, base))
            beside = f"{mine} at its peak against {theirs} of `{base}`, {beside}"
        what = "slower than the original" if slower else f"not among the {len(chosen)} that the budget could race"
        funnel.leave(name, f"screened out as {what}: {beside}" if slower else f"screened, {what}: {beside}")


def _held(funnel: Funnel, *names: str) -> list[float]:
    held = [memory_bytes(funnel, f"screening-{name}-latency") for name in names]
    return [h if math.isfinite(h) else 0.0 for h in held]


def two_runs_s(funnel: Funnel) -> float:
    """What the baseline's two screening runs took, warm-up and all: the next ones will take about as long."""
    runs = (funnel.results.get(f"screening-{funnel.record.baseline}-{target}") for target in ("latency", "batch"))
    return sum(run.wall_s or 0.0 for run in runs if run is not None)


def to_tune(funnel: Funnel, finalists: list[str]) -> list[str]:
    """The finalists, and who was the fastest in batches where the time carries another one: it may still be picked."""
    if funnel.record.target not in ("batch", "both"):
        return finalists
    rate, _ = _speeds(funnel)
    fastest = max(rate, key=lambda name: rate[name])
    return finalists if fastest == funnel.record.baseline else [*dict.fromkeys([*finalists, fastest])]


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
    usable = usable_sizes(funnel, name, live)
    while (size := next_size(funnel, name, usable)) is not None:
        turn = _tuning_turn(funnel, f"tuning-{name}-batch-{size}", name, size)
        seconds = expected_s(funnel, fitted(funnel, turn, name), name)
        if funnel.budget.elapsed_s() + seconds > until_s:
            funnel.not_bought.append(f"batches of {size} and more of `{name}`")
            return
        _measure(funnel, live, turn)


def next_size(funnel: Funnel, name: str, usable: Sequence[int]) -> int | None:
    """The size to try next by what is measured so far; None once the curve is known well enough.

    Under `quick` every second size upwards, those beside the best, then the small ones, else every size; all that the
    user named.
    """
    too_large = funnel.decisions.too_large.get(name, (math.inf, ""))[0]
    usable = [s for s in usable if s < too_large]
    if funnel.profile.name != "quick" or funnel.sizes != SIZES:
        return _next_up(funnel, name, usable)
    coarse, known = usable[::_STRIDE], _screened_size(funnel, name)
    screened = throughput(funnel, f"screening-{name}-batch")
    following = _next_up(funnel, name, [s for s in coarse if s > known], screened)
    if following is None and (best := best_size(funnel, name)) in usable:
        at = usable.index(best)
        beside = [s for s in (*usable[max(0, at - 1) : at], *usable[at + 1 : at + 2]) if s != known]
        following = _next_up(funnel, name, beside)
    small = (s for s in coarse if s < known and f"tuning-{name}-batch-{s}" not in funnel.results)
    return next(small, None) if following is None else following


def _next_up(funnel: Funnel, name: str, sizes: Sequence[int], best: float = 0.0) -> int | None:
    """Up until it falls twice or (where nobody named the sizes) gains nothing beyond 32.

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
        if falling >= 2 or (flat and size >= _USUAL and funnel.sizes == SIZES):
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
        if not ran and not 0 < _screened_size(funnel, name) < turn.trial:
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
    size = _screened_size(funnel, name)
    if size and size not in rates and (not rates or size in funnel.sizes):
        rates[size] = throughput(funnel, f"screening-{name}-batch")
    return min((s for s, rate in rates.items() if rate >= 0.98 * max(rates.values())), default=SCREEN_SIZE)


def best_rate(funnel: Funnel, name: str) -> float:
    """Items per second at the best batch size; 0 if no batch ran."""
    return max(
        throughput(funnel, f"screening-{name}-batch"),
        *(throughput(funnel, f"tuning-{name}-batch-{size}") for size in funnel.sizes),
    )


def _screened_size(funnel: Funnel, name: str) -> int:
    """The batch size that screening ran at; 0 if it ran none."""
    screened = funnel.results.get(f"screening-{name}-batch")
    if screened is None:
        return 0
    return int(screened.batching.fields.get("size", SCREEN_SIZE)) if screened.batching else SCREEN_SIZE


def _may_win(row: Row) -> bool:
    if row.status != "ok" or row.quality is None:
        return False
    return row.quality.outcome != "fails"


def _alternate(*groups: list[str]) -> Iterator[str]:
    """The first two groups by turns, then the last two by turns."""
    for pair in (groups[:2], groups[2:]):
        for i in range(max((len(g) for g in pair), default=0)):
            yield from (g[i] for g in pair if i < len(g))
