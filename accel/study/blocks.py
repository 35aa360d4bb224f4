"""Interleaved blocks: the baseline twice (A and A') and every finalist once, in a fresh random order each."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from accel.errors import VariantError
from accel.plugins import Named
from accel.result import Role
from accel.scenarios import generator
from accel.study.decisions import Entry
from accel.study.live import Live, Turn
from accel.study.rates import next_rate, policy_and_rate, requests_needed
from accel.study.tuning import best_size, latency_s

if TYPE_CHECKING:
    from accel.study.funnel import Funnel


def compare(funnel: Funnel, finalists: list[str]) -> None:
    """Blocks of the baseline twice (A and A') and every finalist, in a fresh random order each."""
    _fix_slo(funnel)
    entries = funnel.decisions.blocks or _settled(funnel, finalists)
    online = {e.name: (e.policy, e.rate) for e in entries if e.policy is not None and e.rate is not None}
    entrants: list[tuple[str, Role]] = [(funnel.record.baseline, "baseline"), (funnel.record.baseline, "repeat")]
    entrants += [(e.name, "candidate") for e in entries[1:]]
    parked: dict[tuple[str, Role], Live] = {}
    try:
        for block in range(funnel.profile.blocks):
            if not (_begun(funnel, block) or _may_begin(funnel, block)):
                funnel.not_bought.append(
                    f"{funnel.profile.blocks - block} of {funnel.profile.blocks} blocks: the intervals are wider for it"
                )
                break
            funnel.progress.stage(f"block {block + 1} of {funnel.profile.blocks}")
            with funnel.budget.block():
                _block(funnel, block, entrants, online, parked)
    finally:
        for live in parked.values():
            live.close()


def _settled(funnel: Funnel, finalists: list[str]) -> tuple[Entry, ...]:
    """The baseline and the finalists, each with its policy and first rate; held to by every later attempt."""
    entries = []
    for name in (funnel.record.baseline, *finalists):
        policy, rate = policy_and_rate(funnel, name) or (None, None)
        entries.append(Entry(name=name, policy=policy, rate=rate))
    funnel.decide(blocks=tuple(entries))
    return tuple(entries)


def _begun(funnel: Funnel, block: int) -> bool:
    """A block that an earlier attempt began is finished whatever it takes: half a block is half a comparison."""
    return any(r.phase == "blocks" and r.block == block for r in funnel.results.values())


def _may_begin(funnel: Funnel, block: int) -> bool:
    return funnel.decisions.confirming is None and funnel.budget.allows_block(block, funnel.profile)


def _fix_slo(funnel: Funnel) -> None:
    """Without --slo: p90 within four times the baseline's own median latency, printed as assumed."""
    if funnel.record.slo_s is not None:
        return
    median_s = latency_s(funnel, f"screening-{funnel.record.baseline}-latency")
    if math.isfinite(median_s):
        funnel.record = msgspec.structs.replace(funnel.record, slo_s=float(f"{4 * median_s:.3g}"))
        funnel.folder.write_record(funnel.record)


def _block(
    funnel: Funnel,
    block: int,
    entrants: list[tuple[str, Role]],
    online: dict[str, Any],
    parked: dict[tuple[str, Role], Live],
) -> None:
    order = generator(funnel.record.seed, 3, block).permutation(len(entrants))
    for position, index in enumerate(order):
        name, role = entrants[int(index)]
        turns = [t for t in _block_turns(funnel, block, position, name, role, online) if t.run_id not in funnel.results]
        if not turns or any(r.status != "ok" and r.variant.name == name for r in funnel.results.values()):
            continue
        with funnel.survives(name), _turn_taker(funnel, (name, role), parked) as live:
            for turn in turns:
                funnel.measure(live, turn)
        funnel.progress.time(funnel.budget.elapsed_s(), funnel.budget.total_s)


@contextlib.contextmanager
def _turn_taker(funnel: Funnel, who: tuple[str, Role], parked: dict[tuple[str, Role], Live]) -> Iterator[Live]:
    if funnel.profile.fresh:
        with funnel.live(who[0], f"block-{who[1]}") as live:
            yield live
        return
    live_or_none = parked.get(who)
    if live_or_none is None:
        parked[who] = funnel.live(who[0], f"block-{who[1]}")
    else:
        live_or_none.resume()
    try:
        yield parked[who]
        parked[who].park()
    except VariantError:
        parked.pop(who).close()
        raise


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
    if funnel.record.target != "online":
        fixed = Named("fixed", {"size": best_size(funnel, name)})
        turns.append(Turn(run_id=f"{run}-batch", target="batch", scenario=Named("offline"), batching=fixed, **shared))
    if funnel.record.target != "batch" and role != "repeat" and name in online:
        policy, first = online[name]
        rate = next_rate(funnel, name, first, block)
        shared["duration_s"] = funnel.budget.server_s(funnel.profile, requests_needed(funnel.record.slo_p), rate)
        server = Named("server", {"rate": rate})
        turns.append(Turn(run_id=f"{run}-online", target="online", scenario=server, batching=policy, **shared))
    return turns
