"""What is to be said of the machine: which blocks it disturbed, by what, and how far it differs from itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from accel.analysis import wording as words
from accel.analysis.comparison import MIN_EFFECTS
from accel.analysis.conclusion import Comparison, Finding
from accel.analysis.findings.seen import Seen, again, resumed
from accel.analysis.pace import pace
from accel.analysis.paired import Paired, judged, race_of
from accel.analysis.wording import listed
from accel.result import Result, Witness
from accel.units import show_seconds

_ADVICE = {
    "W1": ("Other guests of this host took the processor.", "accel doctor --measure"),
    "W2": ("The container may use less processor than it sees.", "accel doctor"),
    "W3": ("Something else kept the processor busy: `top` shows it.", "accel doctor --measure"),
    "W5": ("Memory or the disk was short.", "accel doctor"),
    "W5F": ("Pages had to come from the disk.", "accel doctor"),
    "W6": ("The clock of the processor or GPU changed, often for heat.", "accel doctor --measure"),
    "W7": ("A fixed piece of work took longer: the machine itself was slower.", "accel doctor --measure"),
}
"""By witness: what it means, what to type."""
_OWN_FINDING = ("W2", "W9", "W10", "W13")
"""Witnesses about which there is a finding of its own."""
_MANY = 0.1
_ENOUGH_QUIET = 3
"""So many undisturbed blocks carry a comparison (accel.analysis.comparison)."""


def _blocks(seen: Seen) -> Iterator[Finding]:
    """Which blocks were disturbed, when, by what, and what became of the answer."""
    raced = [r for r in seen.results if r.phase == "blocks" and r.block is not None and r.trace is not None]
    flagged = [r for r in raced if r.validity != "valid" and _culprit(r) is not None]
    blocks = sorted({r.block for r in raced if r.block is not None})
    bad = sorted({r.block for r in flagged if r.block is not None})
    if not bad:
        yield from _elsewhere(seen)
        return
    worst = _commonest(flagged)
    which = "All" if len(bad) == len(blocks) else f"{len(bad)} of"
    names = "" if len(bad) == len(blocks) else f" ({'block' if len(bad) == 1 else 'blocks'} {_numbers(bad)})"
    what = f"{which} {len(blocks)} blocks were disturbed by the machine{names}, {_when(seen, flagged)}"
    meaning, command = _ADVICE.get(worst.id, ("", "accel doctor --measure"))
    yield Finding(
        what=f"{what}: {_cited(worst)}.",
        why=" ".join(part for part in (meaning, _consequence(seen, len(bad), len(blocks))) if part),
        command=command,
        weight=72 if len(blocks) - len(bad) < _ENOUGH_QUIET else 65,
    )


def _elsewhere(seen: Seen) -> Iterator[Finding]:
    """Disturbances outside the blocks matter only if they are many: those runs choose, they don't decide."""
    measured = [r for r in seen.results if r.trace is not None]
    bad = [r for r in measured if r.validity != "valid" and _culprit(r) is not None]
    if not bad or len(bad) < _MANY * len(measured):
        return
    worst = _commonest(bad)
    meaning, command = _ADVICE.get(worst.id, ("", "accel doctor"))
    yield Finding(
        what=f"{len(bad)} of {len(measured)} runs were disturbed by the machine: {_cited(worst)}.",
        why=" ".join(part for part in (meaning, "None of them was in the blocks that the answer rests on.") if part)
        if any(r.phase == "blocks" for r in measured)
        else meaning or "The machine was disturbed.",
        command=command,
        weight=45 if any(r.phase == "blocks" for r in measured) else 65,
    )


def _culprit(result: Result) -> Witness | None:
    """The witness that made a run doubtful, the worst first; None if none of the machine's did."""
    levels = ("unstable", "invalid")
    bad = [w for w in result.witnesses if w.level in levels and w.id not in _OWN_FINDING]
    return max(bad, key=lambda w: (levels.index(w.level), w.value / (w.unstable or 1.0)), default=None)


def _commonest(results: Sequence[Result]) -> Witness:
    """The worst case of the witness that spoke most often."""
    found = [w for r in results if (w := _culprit(r)) is not None]
    often = Counter(w.id for w in found)
    name = max(sorted(often), key=lambda i: often[i])
    return max((w for w in found if w.id == name), key=lambda w: (w.value, w.sentence))


def _cited(witness: Witness) -> str:
    text = witness.sentence.strip().rstrip(".")
    return f"{text[0].lower()}{text[1:]} at worst ({witness.id})"


def _numbers(blocks: Sequence[int]) -> str:
    """1-based, neighbours joined: `2–4 and 6`."""
    spans: list[list[int]] = []
    for block in blocks:
        if spans and block == spans[-1][1] + 1:
            spans[-1][1] = block
        else:
            spans.append([block, block])
    return listed([f"{a + 1}" if a == b else f"{a + 1}–{b + 1}" for a, b in spans])


def _when(seen: Seen, results: Sequence[Result]) -> str:
    """A result is written when its run ends."""
    first = min(seen.at_s(r.created_unix_ns) - (r.wall_s or 0.0) for r in results)
    last = max(seen.at_s(r.created_unix_ns) for r in results)
    return f"between {show_seconds(max(first, 0.0))} and {show_seconds(max(last, 0.0))} after the start"


def _consequence(seen: Seen, bad: int, blocks: int) -> str:
    if blocks - bad >= _ENOUGH_QUIET:
        kept = "The answer rests on the other blocks"
        return f"{kept}, in which everything ran by turns: ratios hold where absolute numbers may not."
    return "Too many to leave them out, so nothing is claimed from them; absolute numbers are not to be trusted."


def _sensitivity(seen: Seen) -> Iterator[Finding]:
    """Would the verdict be another with the disturbed blocks counted? (rule 36)."""
    effect = math.log1p(MIN_EFFECTS.get(seen.record.profile, 0.03))
    targets: tuple[Paired, ...] = ("latency", "batch")
    for target in targets:
        _, pairs = race_of(seen.runs, seen.record.baseline, target)
        if all(pair.stable for each in pairs.values() for pair in each):
            continue
        floor = seen.floors[target]
        delta = max(effect, floor.value)
        steady = {name: [msgspec.structs.replace(p, stable=True) for p in each] for name, each in pairs.items()}
        all_in = judged(steady, target, floor, delta=delta)
        for name in seen.winners:
            row = next(r for r in seen.rows if r.name == name)
            shown = row.speedup_latency if target == "latency" else row.speedup_batch
            yield from _differs(name, target, shown, all_in.get(name))


def _differs(name: str, target: Paired, shown: Comparison | None, with_all: Comparison | None) -> Iterator[Finding]:
    if shown is None or with_all is None or shown.evidence != "blocks" or shown.verdict == with_all.verdict:
        return
    yield Finding(
        what=f"With unstable blocks: `{name}` in {target} would be {with_all.verdict} "
        f"({words.times(with_all.ratio)} [{words.ends(with_all.ratio)}]), not {shown.verdict}.",
        why="The answer hangs on leaving the disturbed blocks out; measure again on a quieter machine.",
        command="accel doctor --measure",
        weight=66,
    )


def _floor(seen: Seen) -> Iterator[Finding]:
    largest = max((f.value for f in seen.floors.values()), default=0.0)
    doubtful = any(f.suspicious for f in seen.floors.values())
    if largest > 0.05 or doubtful:
        change = words.percent(math.expm1(largest))
        more = " The two differ by more than chance allows, so smaller differences than that are not claimed (W12)."
        yield Finding(
            what=f"The original differs from itself by up to {change} here.",
            why="Measured twice in each block; differences below that can't be told from noise on this machine."
            + (more if doubtful else ""),
            command=again(seen.record, "--profile shared")
            if seen.record.profile == "quick"
            else "accel doctor --measure",
            weight=64 if doubtful else 52,
        )


def _drift(seen: Seen) -> Iterator[Finding]:
    """W7 over the study: did the fixed piece of work around each run take the same time throughout?"""
    found = pace(seen.results)
    if found is None or not (found.drifted or found.uneven):
        return
    what = f"The machine's own pace varied: {len(found.off)} of {found.runs} runs were over 5 % off the usual (W7)."
    if found.drifted:
        slower = "slower" if found.change > 0 else "faster"
        what = f"The machine became {words.percent(abs(found.change))} {slower} while the study ran (W7)."
    yield Finding(
        what=what,
        why="Ratios hold, since all variants took turns; absolute numbers belong to the hour they were taken in.",
        command="accel doctor --measure",
        weight=54,
    )


def _steady(seen: Seen) -> Iterator[Finding]:
    """W10: a run whose service times never settled says little about the next minute."""
    for name in (*seen.winners, seen.record.baseline):
        runs = [
            r for r in seen.results if r.variant.name == name and r.phase in ("blocks", "confirmation") and r.steady
        ]
        unsettled = [r for r in runs if any(w.id == "W10" and w.level == "unstable" for w in r.witnesses)]
        labels = Counter(r.steady.label for r in unsettled if r.steady is not None)
        slow, none = labels["slowdown"], labels["none"]
        if len(runs) < 3 or slow + none <= 0.3 * len(runs):
            continue
        how = "got slower while it was measured" if slow >= none else "never settled"
        yield Finding(
            what=f"`{name}` {how} in {slow + none} of {len(runs)} runs (W10).",
            why="Its speed in the long run may be another: memory that grows, heat, or a neighbour.",
            command=again(seen.record, "--profile shared")
            if seen.record.profile == "quick"
            else "accel doctor --measure",
            weight=56,
        )


def _answers(seen: Seen) -> Iterator[Finding]:
    """W13: requests that failed or were answered with NaN."""
    failing: dict[str, list[Witness]] = {}
    for result in seen.results:
        bad = [w for w in result.witnesses if w.id == "W13" and w.level == "invalid"]
        if bad:
            failing.setdefault(result.variant.name, []).extend(bad)
    for name, witnesses in sorted(failing.items()):
        yield Finding(
            what=f"`{name}` failed to answer in {len(witnesses)} runs: {_cited(witnesses[0])}.",
            why="Those runs are invalid: a failed request is never a fast one.",
            command="accel list " + next(r.variant.backend.name for r in seen.rows if r.name == name),
            weight=74,
        )


def _modes(seen: Seen) -> Iterator[Finding]:
    """Processes stopped between their turns in the blocks, fresh ones in the confirmation: do they agree?"""
    for row in seen.winning_rows():
        own = [r for r in seen.runs if r.result.variant.name == row.name and r.result.target == "latency"]
        parked = [r.median_s for r in own if r.result.process == "within-process" and r.result.phase == "blocks"]
        fresh = [r.median_s for r in own if r.result.process == "fresh" and r.result.phase == "confirmation"]
        if len(parked) < 3 or len(fresh) < 3 or max(parked) >= min(fresh):
            continue
        ratio = float(np.median(fresh) / np.median(parked))
        if ratio > 1.1:
            yield Finding(
                what=f"`{row.name}` takes {words.percent(ratio - 1)} longer in a fresh process than in the race.",
                why="Layout of memory and threads is drawn anew in each process; what is printed are fresh ones.",
                command=resumed(seen.record, "--budget 30m")
                if seen.record.profile != "quick"
                else again(seen.record, "--profile shared"),
                weight=46,
            )


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (
    _blocks,
    _sensitivity,
    _floor,
    _drift,
    _steady,
    _answers,
    _modes,
)
