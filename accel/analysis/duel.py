"""What did interleaved blocks of an old and a new artefact show for one metric? From runs to one ratio, new / old.

Each block gives one number a side: the old one (twice: as "baseline" and as "repeat") and the new one ("candidate").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from accel.analysis.comparison import Pair, aa_suspicious, compare
from accel.analysis.gate import MIN_BLOCKS, Limit, Measured
from accel.analysis.percentiles import carries, quantile, required
from accel.analysis.runs import Run
from accel.analysis.stopping import enough

_FEWEST = 3
_UNITS = {"throughput": "1/s", "memory": "B"}

Block = dict[str, Run]
"""The runs of one block by role."""


def measured(limit: Limit, runs: Sequence[Run]) -> Measured:
    """The change of the limited metric over the blocks so far; `ratio` None with the reason where it isn't carried."""
    blocks = whole_blocks(runs, "batch" if limit.metric == "throughput" else None)
    pairs, note = paired(limit, blocks)
    found = from_pairs(limit, pairs, blocks=len(blocks))
    if found.ratio is None:
        found = msgspec.structs.replace(found, reason=_too_few(limit, blocks))
    return msgspec.structs.replace(found, note=note)


def from_pairs(limit: Limit, pairs: Sequence[Pair], *, blocks: int) -> Measured:
    """The change over pairs of numbers, compared as a study compares its own blocks."""
    found = compare(pairs, better="higher", delta=abs(limit.bound), evidence="blocks")
    if found is None:
        return Measured(ratio=None, blocks=blocks, reason="too few blocks gave a number")
    # Three undisturbed blocks decide, as in a study (`compare`): few make the interval wide by themselves, and asking
    # for six kept gates on two shared cores from telling a change of +139 % (V19). Fewer than three never decide.
    undecided = found.ratio.validity != "valid" and found.verdict == "INCONCLUSIVE"
    reason = found.reason if undecided else ""
    if blocks < MIN_BLOCKS:
        reason = f"{blocks} blocks are too few to decide, which takes {MIN_BLOCKS}"
    return Measured(
        ratio=found.ratio,
        old=_middle([p.reference for p in pairs]),
        new=_middle([p.candidate for p in pairs]),
        unit=_UNITS.get(limit.metric, "s"),
        shift=_shift(pairs, abs(limit.bound)),
        blocks=blocks,
        reason=reason,
    )


def narrow(limit: Limit, runs: Sequence[Run], *, most: int) -> bool:
    """True once the interval of this limit is narrow enough, or after `most` blocks; never because of what it shows."""
    blocks = whole_blocks(runs, "batch" if limit.metric == "throughput" else None)
    pairs, note = paired(limit, blocks)
    least = _FEWEST if note else MIN_BLOCKS
    return len(blocks) >= most or (len(blocks) >= MIN_BLOCKS and narrow_pairs(limit, pairs, least=least, most=most))


def narrow_pairs(limit: Limit, pairs: Sequence[Pair], *, least: int = MIN_BLOCKS, most: int) -> bool:
    """The study's own stopping rule at the limit's resolution, over undisturbed blocks (rule 21)."""
    return bool(pairs) and enough({limit.metric: pairs}, limit.resolution, least=least, most=most)


def whole_blocks(runs: Sequence[Run], target: str | None) -> list[Block]:
    """Blocks in which all three answered, in order; invalid runs count as unanswered.

    target: None takes single_stream runs where there are any, else those of batches (for memory).
    """
    wanted = target or ("latency" if any(r.result.target == "latency" for r in runs) else "batch")
    found: dict[int, Block] = {}
    for run in runs:
        if run.result.target == wanted and run.result.block is not None and run.result.validity != "invalid":
            found.setdefault(run.result.block, {})[run.result.role] = run
    return [found[n] for n in sorted(found) if {"baseline", "repeat", "candidate"} <= found[n].keys()]


def paired(limit: Limit, blocks: Sequence[Block]) -> tuple[list[Pair], str]:
    """One pair a block, or one a group of blocks where a single one doesn't carry the percentile (said in the note).

    A median is taken of any block, as a study does: how much it scatters shows between the blocks.
    """
    p = limit.quantile
    if p in (None, 0.5) or all(carries(len(run.latency_s), p) for block in blocks for run in block.values()):
        return _known([_pair(n, [block], limit) for n, block in enumerate(blocks)]), ""
    assert p is not None
    groups = list(_groups(blocks, p))
    largest = max(map(len, groups), default=0)
    note = f"{limit.metric} from {len(groups)} groups of up to {largest} blocks: one block doesn't carry it"
    return _known([_pair(n, group, limit) for n, group in enumerate(groups)]), note


def _known(pairs: Sequence[Pair]) -> list[Pair]:
    return [p for p in pairs if p.base > 0 and p.candidate > 0 and (p.repeat is None or p.repeat > 0)]


def _groups(blocks: Sequence[Block], p: float) -> Iterator[list[Block]]:
    """Consecutive blocks, joined until each side holds enough requests for its p-quantile (rule 22).

    Disturbed blocks are left out first, as long as enough others remain. What is over at the end and isn't enough for a
    group of its own is left out.
    """
    stable = [b for b in blocks if _stable(b)]
    used = stable if len(stable) >= MIN_BLOCKS else blocks
    group: list[Block] = []
    for block in used:
        group.append(block)
        if all(carries(n, p) for n in _requests(group).values()):
            yield group
            group = []


def _requests(group: Sequence[Block]) -> dict[str, int]:
    return {role: sum(len(b[role].latency_s) for b in group) for role in ("baseline", "repeat", "candidate")}


def _pair(number: int, group: Sequence[Block], limit: Limit) -> Pair:
    return Pair(
        block=number,
        base=_value(limit, [b["baseline"] for b in group]),
        candidate=_value(limit, [b["candidate"] for b in group]),
        repeat=_value(limit, [b["repeat"] for b in group]),
        stable=all(map(_stable, group)),
    )


def _stable(block: Block) -> bool:
    return all(run.result.validity == "valid" for run in block.values())


def _value(limit: Limit, runs: Sequence[Run]) -> float:
    """One number of one side; 0 where it isn't known, which leaves the block out."""
    if limit.metric == "throughput":
        return runs[0].throughput
    if limit.metric == "memory":
        memory = runs[0].result.memory
        return float((memory.peak_run_bytes if memory else None) or 0)
    assert limit.quantile is not None
    return quantile([x for run in runs for x in run.latency_s.tolist()], limit.quantile)


def _shift(pairs: Sequence[Pair], min_effect: float) -> float:
    """|mean ln(A'/A)| where measuring the old one twice differed beyond chance (W12), else 0."""
    logs = [math.log(p.repeat / p.base) for p in pairs if p.repeat is not None and p.stable]
    return abs(sum(logs) / len(logs)) if aa_suspicious(logs, min_effect) else 0.0


def _middle(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _too_few(limit: Limit, blocks: Sequence[Block]) -> str:
    if limit.quantile is not None and len(blocks) >= _FEWEST:
        there = min(_requests(blocks).values())
        needed = _FEWEST * required(limit.quantile)
        return f"not carried: {there} requests a side, but {_FEWEST} groups of blocks need {needed}"
    return f"only {len(blocks)} of the {MIN_BLOCKS} blocks that it takes to decide"
