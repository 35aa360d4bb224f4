"""From runs raced in interleaved blocks to comparisons: who ran beside whom, what A' showed, which one is faster.

A study reads its blocks through here (`race`), and so do races outside studies: the gate, `accel doctor --measure`,
the experiments (`compare_results`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from accel.analysis.comparison import (
    Better,
    Evidence,
    Pair,
    aa_floor,
    aa_suspicious,
    compare,
    counting,
    log_ratios,
    p_value,
)
from accel.analysis.conclusion import Comparison
from accel.analysis.percentiles import carries, quantile
from accel.analysis.rows import best_size
from accel.analysis.runs import Run, load_runs, of
from accel.result import Result

Paired = Literal["latency", "batch"]
Key = TypeVar("Key", bound=Hashable)
BETTER: dict[Paired, Better] = {"latency": "lower", "batch": "higher"}


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """What measuring the baseline twice in each block showed for one metric.

    value: the A/A floor (ln). shift: |mean ln(A'/A)|. suspicious: W12, A and A' differ by more than chance allows.
    """

    value: float = 0.0
    shift: float = 0.0
    suspicious: bool = False


def value(run: Run, target: Paired, p: float = 0.5) -> float | None:
    """The one number a run gives to a comparison: items a second, or the p-quantile of latency (s).

    None for a quantile beyond the median that the run's requests don't carry (rule 22).
    """
    if target == "batch":
        return run.throughput
    if p == 0.5:
        return run.median_s
    return quantile(run.latency_s, p) if carries(len(run.latency_s), p) else None


def pairs_of(base: Iterable[Run], ours: Iterable[Run], target: Paired, p: float = 0.5) -> list[Pair]:
    """One pair a block in which both ran, in the order of the blocks: one number a run, never one a request (rule 19).

    base, ours: valid or unstable runs of one phase and target. A variant that ran as baseline may stand on either side.
    """
    base = list(base)
    theirs, repeats = _by_block(base, ("baseline", "candidate")), _by_block(base, ("repeat",))
    mine = _by_block(ours, ("candidate", "baseline"))
    found = []
    for block in sorted(theirs.keys() & mine.keys()):
        sides = [theirs[block], mine[block], *([repeats[block]] if block in repeats else [])]
        numbers = [value(run, target, p) for run in sides]
        if numbers[0] is None or numbers[1] is None:
            continue
        stable = all(r.result.validity == "valid" for r in sides)
        repeat = numbers[2] if len(numbers) == 3 else None
        found.append(Pair(block=block, base=numbers[0], candidate=numbers[1], repeat=repeat, stable=stable))
    return found


def _by_block(runs: Iterable[Run], roles: tuple[str, ...]) -> dict[int, Run]:
    return {r.result.block: r for r in runs if r.result.role in roles and r.result.block is not None}


def floor_of(base: Iterable[Run], target: Paired, *, min_effect: float, seed: int, p: float = 0.5) -> Floor:
    """The A/A floor and W12 from the blocks in which the baseline and its repeat were both undisturbed.

    base: the baseline's runs in the blocks, both roles. min_effect: the smallest difference that counts, 0.03 for 3 %.
    """
    runs = [r for r in base if r.result.validity == "valid"]
    first = {b: value(r, target, p) for b, r in _by_block(runs, ("baseline",)).items()}
    second = {b: value(r, target, p) for b, r in _by_block(runs, ("repeat",)).items()}
    both = [(first[b], second[b]) for b in sorted(first.keys() & second.keys())]
    logs = [math.log(again / once) for once, again in both if once is not None and again is not None]
    if not logs:
        return Floor()
    suspicious = aa_suspicious(logs, math.log1p(min_effect))
    return Floor(value=aa_floor(logs, seed), shift=abs(sum(logs) / len(logs)), suspicious=suspicious)


def doubted(found: Comparison, floor: Floor) -> Comparison:
    """W12: where A and A' differ too much, only what clears that difference as well is still shown."""
    low, high = found.ratio.low, found.ratio.high
    if not floor.suspicious or low is None or high is None:
        return found
    needed = math.log(found.delta) + floor.shift
    if (found.verdict == "FASTER" and math.log(low) > needed) or (
        found.verdict == "SLOWER" and math.log(high) < -needed
    ):
        return found
    reason = f"unstable: the baseline measured twice differed by {math.expm1(floor.shift):.1%}".replace("%", " %")
    ratio = msgspec.structs.replace(found.ratio, validity="unstable")
    return msgspec.structs.replace(found, verdict="INCONCLUSIVE", reason=reason, ratio=ratio)


def p_of(pairs: Sequence[Pair], target: Paired) -> float | None:
    """The p of the paired t-test over these blocks, for Holm's procedure; None with fewer than three blocks."""
    logs, _ = log_ratios(pairs, BETTER[target])
    return p_value(logs) if len(logs) >= 3 else None


def judged(
    pairs: Mapping[Key, Sequence[Pair]], target: Paired, floor: Floor, *, delta: float, evidence: Evidence = "blocks"
) -> dict[Key, Comparison]:
    """Comparisons made at once (Holm over all of them), each with the A/A floor and W12 applied.

    pairs: by candidate, or by whatever names a comparison; one with too few blocks is left out.
    delta: smallest |ln ratio| that counts, the floor included.
    """
    ps = {name: p for name, each in pairs.items() if (p := p_of(each, target)) is not None}
    found = {
        name: compare(
            pairs[name],
            better=BETTER[target],
            delta=delta,
            evidence=evidence,
            others=[q for other, q in ps.items() if other != name],
        )
        for name in ps
    }
    return {name: doubted(one, floor) for name, one in found.items() if one is not None}


def race_of(
    runs: Iterable[Run], base: str, target: Paired, *, p: float = 0.5, phase: str = "blocks"
) -> tuple[list[Run], dict[str, list[Pair]]]:
    """The baseline's runs in the blocks (both roles), and every other variant's pairs with it, by name.

    Invalid runs are left out; in `batch` each side counts at its own batch size. p: which quantile of latency counts.
    """
    usable = [r for r in of(runs, target, phase=phase) if r.result.validity != "invalid"]
    by_name: dict[str, list[Run]] = {}
    for run in usable:
        by_name.setdefault(run.result.variant.name, []).append(run)
    if target == "batch":
        by_name = {name: [r for r in own if r.size == best_size(own)] for name, own in by_name.items()}
    theirs = by_name.pop(base, [])
    return theirs, {name: pairs_of(theirs, own, target, p) for name, own in by_name.items()}


def compare_runs(
    runs: Iterable[Run],
    base: str,
    target: Paired,
    *,
    min_effect: float,
    seed: int,
    p: float = 0.5,
    phase: str = "blocks",
) -> dict[str, Comparison]:
    """Every candidate of a race against its baseline, exactly as a study compares them (Holm over all of them).

    min_effect: smallest difference that counts, 0.03 for 3 %. seed: of the bootstrap behind the A/A floor.
    """
    theirs, pairs = race_of(runs, base, target, p=p, phase=phase)
    floor = floor_of(theirs, target, min_effect=min_effect, seed=seed, p=p)
    return judged(pairs, target, floor, delta=counting(min_effect, floor.value))


def compare_all(
    results: Iterable[Result],
    folder: Path,
    base: str,
    target: Paired,
    *,
    min_effect: float,
    seed: int,
    p: float = 0.5,
    phase: str = "blocks",
) -> dict[str, Comparison]:
    """`compare_runs` of Results whose traces lie in `folder`; a trace that can't be read is left out."""
    runs, _ = load_runs(results, folder)
    return compare_runs(runs, base, target, min_effect=min_effect, seed=seed, p=p, phase=phase)


def compare_results(
    results: Iterable[Result],
    folder: Path,
    base: str,
    candidate: str,
    target: Paired,
    *,
    min_effect: float,
    seed: int,
    p: float = 0.5,
    phase: str = "blocks",
) -> Comparison | None:
    """One candidate of a race against the baseline, the only one asked about; None with fewer than three blocks.

    As `compare_all`, for one: others that raced in the same blocks are not looked at and don't widen its interval.
    """
    two = [r for r in results if r.variant.name in (base, candidate)]
    found = compare_all(two, folder, base, target, min_effect=min_effect, seed=seed, p=p, phase=phase)
    return found.get(candidate)
