"""Interleaved blocks: the baseline twice (A and A') and every finalist once, in a fresh random order each.

At least as many as the profile says, then until the intervals are narrow enough; disturbed ones are made again at the
end (rules 21, 32, 36).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from accel.plugins import Named
from accel.result import Phase, Role
from accel.study.budget import BudgetEnded, turn_s
from accel.study.decisions import Entry
from accel.study.finalists import two_runs_s
from accel.study.live import Turn
from accel.study.load import server_at
from accel.study.rates import next_rate, policy_and_rate, requests_needed
from accel.study.rounds import Rounds, Who, shuffled
from accel.study.speeds import latency_s
from accel.study.tuning import best_size
from accel.study.widths import narrow_enough

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

MOST_REPEATS = 2
"""How often a disturbed block is made again (rule 36)."""


def compare(funnel: Funnel, finalists: list[str]) -> None:
    """All blocks that are wanted and that the budget allows; an earlier attempt's are gone on with."""
    fix_slo(funnel)
    entries = funnel.decisions.blocks or _settled(funnel, finalists)
    base = funnel.record.baseline
    entrants: list[Who] = [(base, "baseline"), (base, "repeat"), *((e.name, "candidate") for e in entries[1:])]
    online = {e.name: (e.policy, e.rate) for e in entries if e.policy is not None and e.rate is not None}
    with Rounds(
        lambda who: funnel.live(who[0], f"block-{who[1]}"), fresh=funnel.profile.fresh, rest=funnel.rest
    ) as all_:
        try:
            wanted = _planned(funnel, entrants, online, all_)
            _again(funnel, wanted, entrants, online, all_)
        except BudgetEnded as error:
            funnel.not_bought.append(f"the rest of a block: {error.words}")


def _settled(funnel: Funnel, finalists: list[str]) -> tuple[Entry, ...]:
    """The baseline and the finalists, each with its policy and first rate; held to by every later attempt."""
    entries = []
    for name in (funnel.record.baseline, *finalists):
        policy, rate = policy_and_rate(funnel, name) or (None, None)
        entries.append(Entry(name=name, policy=policy, rate=rate))
    funnel.decide(blocks=tuple(entries))
    return tuple(entries)


def _planned(funnel: Funnel, entrants: list[Who], online: dict[str, Any], rounds: Rounds) -> int:
    """The profile's blocks, as many as the width of the intervals asks for; gives how many there are."""
    profile = funnel.profile
    for block in range(profile.most_blocks):
        if block >= profile.blocks and narrow_enough(funnel, block):
            return block
        if not _may_begin(funnel, block, entrants):
            missing = profile.blocks - block
            if missing > 0:
                funnel.not_bought.append(f"{missing} of {profile.blocks} blocks: the intervals are wider for it")
            elif not _closed(funnel):
                funnel.not_bought.append(
                    f"more than {block} blocks: some intervals are wider than the profile `{profile.name}` asks for"
                )
            return block
        funnel.progress.stage(
            f"block {block + 1} of {profile.blocks}" + (" and more" if block >= profile.blocks else "")
        )
        _block(funnel, block, entrants, online, rounds)
    return profile.most_blocks


def _again(funnel: Funnel, made: int, entrants: list[Who], online: dict[str, Any], rounds: Rounds) -> None:
    """Make disturbed blocks again, at most twice each; they stay on record under their own numbers."""
    repeats = list(funnel.decisions.repeats)
    for block in repeats:
        if _begun(funnel, block) and _may_begin(funnel, block, entrants):
            _block(funnel, block, entrants, online, rounds)
    while made:
        disturbed = [b for b in range(made) if is_disturbed(funnel, b)]
        # A disturbed block that was made again undisturbed is replaced; one that wasn't has another chance.
        replaced = sum(not is_disturbed(funnel, b) for b in repeats)
        number = made + len(repeats)
        if len(disturbed) <= replaced or len(repeats) >= MOST_REPEATS * len(disturbed):
            return
        if not _may_begin(funnel, number, entrants):
            funnel.not_bought.append(f"{len(disturbed) - replaced} disturbed blocks made again")
            return
        repeats.append(number)
        funnel.decide(repeats=tuple(repeats))
        funnel.progress.stage(f"a disturbed block again, {len(repeats)}")
        _block(funnel, number, entrants, online, rounds)


def is_disturbed(funnel: Funnel, block: int, phase: Phase = "blocks") -> bool:
    """True if a run of the block, or pair, that a comparison rests on was flagged by a witness."""
    runs = (r for r in funnel.results.values() if r.phase == phase and r.block == block)
    return any(r.validity != "valid" and r.target in ("latency", "batch") for r in runs)


def _begun(funnel: Funnel, block: int) -> bool:
    return any(r.phase == "blocks" and r.block == block for r in funnel.results.values())


def _closed(funnel: Funnel) -> bool:
    """True once the winners are being confirmed: what they rest on must not change any more."""
    return funnel.decisions.confirming is not None


def _may_begin(funnel: Funnel, block: int, entrants: list[Who]) -> bool:
    """Ask the budget; a block that an earlier attempt began is finished first: half a block is half a comparison."""
    online = funnel.record.target in ("online", "both") and not funnel.profile.search_share
    expected_s = len(entrants) * turn_s(funnel.profile, two_runs_s(funnel), online=online)
    if _begun(funnel, block):
        return funnel.budget.allows_rest(0.0)
    return not _closed(funnel) and funnel.budget.allows_block(block, funnel.profile, expected_s)


def fix_slo(funnel: Funnel) -> None:
    """Without --slo: p90 within four times the baseline's own median latency, printed as assumed."""
    if funnel.record.slo_s is not None:
        return
    median_s = latency_s(funnel, f"screening-{funnel.record.baseline}-latency")
    if math.isfinite(median_s):
        funnel.record = msgspec.structs.replace(funnel.record, slo_s=float(f"{4 * median_s:.3g}"))
        funnel.folder.write_record(funnel.record)


def _block(funnel: Funnel, block: int, entrants: list[Who], online: dict[str, Any], rounds: Rounds) -> None:
    with funnel.budget.step("block"):
        for position, who in enumerate(shuffled(entrants, seed=funnel.record.seed, block=block)):
            turns = _block_turns(funnel, block, position, *who, online)
            funnel.take_turn(rounds, who, turns)


def _block_turns(
    funnel: Funnel, block: int, position: int, name: str, role: Role, online: dict[str, Any]
) -> list[Turn]:
    run = f"blocks-{block}-{'repeat-' if role == 'repeat' else ''}{name}"
    shared: dict[str, Any] = {"phase": "blocks", "trial": 1000 + block, "role": role, "block": block}
    shared |= {"position": position, "duration_s": funnel.profile.measure_s}
    turns = []
    if funnel.record.target != "batch" or name not in online:
        turns.append(
            Turn(
                run_id=f"{run}-latency",
                target="latency",
                scenario=Named("single_stream"),
                batching=Named("single"),
                **shared,
            )
        )
    if funnel.record.target in ("batch", "both"):
        fixed = Named("fixed", {"size": best_size(funnel, name)})
        turns.append(Turn(run_id=f"{run}-batch", target="batch", scenario=Named("offline"), batching=fixed, **shared))
    # Where a phase of its own searches for the highest rate, the blocks needn't.
    if funnel.record.target != "batch" and role != "repeat" and name in online and not funnel.profile.search_share:
        policy, predicted = online[name]
        rate = next_rate(funnel, name, predicted)
        if rate is not None:
            shared["duration_s"] = funnel.budget.server_s(funnel.profile, requests_needed(funnel.record.slo_p), rate)
            server = server_at(rate, funnel.record.slo_s)
            turns.append(Turn(run_id=f"{run}-online", target="online", scenario=server, batching=policy, **shared))
    return turns
