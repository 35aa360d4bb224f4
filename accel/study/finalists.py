"""Who goes on: the finalists of screening, who joins them later, and why the others don't."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from accel.study.budget import turn_s
from accel.study.contenders import Speeds, screened_speeds, speeds, told
from accel.study.speeds import memory_bytes
from accel.units import show_bytes, show_seconds

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

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
    runs and the run-off: these choose who is measured well; they are printed only as the reason of those that don't go
    on.
    """
    ordered, _, _ = in_order(funnel)
    return ordered[: most_finalists(funnel)]


def in_order(funnel: Funnel) -> tuple[list[str], Speeds, Speeds]:
    """Everyone who may go on, who comes first first; with the items/s and the seconds one at a time of each."""
    rate, wait = speeds(funnel)
    base_rate, base_wait = rate.pop(funnel.record.baseline), wait.pop(funnel.record.baseline)
    if funnel.record.target == "memory":
        held = {name: memory_bytes(funnel, f"screening-{name}-latency") for name in wait}
        small = sorted((n for n in wait if wait[n] <= _TOO_SLOW * base_wait), key=lambda n: held[n])
        return small, rate, wait
    by_rate, by_wait = sorted(rate, key=lambda n: -rate[n]), sorted(wait, key=lambda n: wait[n])
    orders = {
        "batch": by_rate,
        "online": by_wait,
        # Where time carries one finalist alone, it is the best all-rounder.
        "both": sorted(rate, key=lambda n: wait[n] / max(rate[n], 1e-9))
        if most_finalists(funnel) == 1
        else list(_alternate(by_rate[:2], by_wait[:2], by_rate[2:], by_wait[2:])),
    }
    faster = [n for n in orders[funnel.record.target] if rate[n] > base_rate or wait[n] < base_wait]
    return list(dict.fromkeys(faster)), rate, wait


def dismiss(funnel: Funnel, chosen: list[str]) -> None:
    """Note why each of the others doesn't go on, with its screening beside the baseline's."""
    rate, wait = screened_speeds(funnel)
    base = funnel.record.baseline
    for name in wait:
        if name == base or name in chosen:
            continue
        met = [words for one in chosen if (words := told(funnel, name, one))]
        slower = rate[name] <= rate[base] and wait[name] >= wait[base]
        beside = (
            f"{show_seconds(wait[name])} one at a time against {show_seconds(wait[base])} of `{base}`, "
            f"{rate[name]:.3g} items/s against {rate[base]:.3g}"
        )
        if funnel.record.target == "memory":
            mine, theirs = (show_bytes(round(m)) for m in _held(funnel, name, base))
            beside = f"{mine} at its peak against {theirs} of `{base}`, {beside}"
        beside = "; ".join([beside, *met])
        what = "slower than the original" if slower else f"not among the {len(chosen)} that the budget could race"
        funnel.leave(name, f"screened out as {what}: {beside}" if slower else f"screened, {what}: {beside}")


def _held(funnel: Funnel, *names: str) -> list[float]:
    held = [memory_bytes(funnel, f"screening-{name}-latency") for name in names]
    return [h if math.isfinite(h) else 0.0 for h in held]


def two_runs_s(funnel: Funnel) -> float:
    """What the baseline's two screening runs took, warm-up and all: the next ones will take about as long."""
    runs = (funnel.results.get(f"screening-{funnel.record.baseline}-{target}") for target in ("latency", "batch"))
    return sum(run.wall_s or 0.0 for run in runs if run is not None)


def block_s(funnel: Funnel) -> float:
    """About what a block with one finalist takes: the baseline twice, and the finalist."""
    return 3 * turn_s(funnel.profile, two_runs_s(funnel), online=not funnel.profile.search_share)


def to_tune(funnel: Funnel, finalists: list[str]) -> list[str]:
    """The finalists, and who was the fastest in batches where the time carries another one: it may still be picked."""
    if funnel.record.target not in ("batch", "both"):
        return finalists
    rate, _ = speeds(funnel)
    fastest = max(rate, key=lambda name: rate[name])
    return finalists if fastest == funnel.record.baseline else [*dict.fromkeys([*finalists, fastest])]


def _alternate(*groups: list[str]) -> Iterator[str]:
    """The first two groups by turns, then the last two by turns."""
    for pair in (groups[:2], groups[2:]):
        for i in range(max((len(g) for g in pair), default=0)):
            yield from (g[i] for g in pair if i < len(g))
