"""Where did the speed-up come from? The steps on the way to the winner, measured in the same rounds: the original, the
winner's backend with the model as it was, and the winner, each one request at a time; then the winner in batches.

Only what ran in the same rounds can be multiplied: steps taken from different hours needn't lead to the whole. Where
the blocks hold all of them already, nothing is measured again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from accel.analysis.conclusion import PathStep
from accel.analysis.waterfall import LEAST_ROUNDS, chosen
from accel.errors import VariantError
from accel.plugins import Named
from accel.recipe import Variant, variant_name
from accel.study.budget import BudgetEnded
from accel.study.deriving import adopt
from accel.study.lengths import call_s
from accel.study.live import Turn
from accel.study.rounds import Rounds, Who, shuffled
from accel.study.screening import look_at, look_s
from accel.study.tuning import best_size

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_ROUNDS = 6
_CALLS, _BATCHES, _LONGEST_S, _SHARE = 25, 8, 5.0, 0.02
"""What a run holds at least, as far as a slow model and the budget allow."""
_OPENING_S, _AROUND_S = 3.0, 0.3
_LOOK_SHARE, _ALL_SHARE = 0.08, 0.15
"""Of the budget: a first look at a variant that is missing on the way, and all rounds together."""
_ORDERS, _TRIAL = 30_000, 50_000


def measure_steps(funnel: Funnel) -> None:
    """Measure what the blocks don't hold, as far as the budget goes; an earlier attempt's rounds are gone on with."""
    path = _settled(funnel)
    if len(path) < 2 or in_blocks(funnel, path):
        return
    wanted = min(_ROUNDS, max(funnel.profile.confirmations, LEAST_ROUNDS))
    done = [r for r in range(wanted) if _made(funnel, path, r)]
    each_s = round_s(funnel, path)
    opening_s = 0.0 if funnel.profile.fresh else _OPENING_S * len({s.variant for s in path})
    kept_s = funnel.profile.load_share * funnel.budget.total_s
    room_s = min(funnel.budget.left_s() - kept_s, _ALL_SHARE * funnel.budget.total_s) - opening_s
    rounds = len(done) + max(0, min(wanted - len(done), int(room_s / each_s)))
    if rounds < LEAST_ROUNDS:
        funnel.not_bought.append("the steps to the winner one by one: where its speed-up came from")
        return
    with Rounds(lambda who: funnel.live(who[0], "steps"), fresh=funnel.profile.fresh, rest=funnel.rest) as all_:
        try:
            for number in range(rounds):
                funnel.progress.stage(f"where the speed-up came from, {number + 1} of {rounds}")
                if not _round(funnel, path, number, all_):
                    return
        except BudgetEnded as error:
            funnel.not_bought.append(f"the rest of the steps to the winner: {error.words}")


def _settled(funnel: Funnel) -> tuple[PathStep, ...]:
    """The way to the winner, kept in the record, so that whoever reads the study knows which runs belong together.

    An earlier attempt's way stays, unless another variant has won since.
    """
    conclusion = funnel.read()
    answer = chosen(conclusion.batch, conclusion.online)
    kept = funnel.record.path
    if kept and (answer is None or kept[-1].variant == answer.winner):
        return kept
    path = () if answer is None else path_to(funnel, funnel.variant(answer.winner))
    if path:
        funnel.record = msgspec.structs.replace(funnel.record, path=path)
        funnel.folder.write_record(funnel.record)
    return path


def path_to(funnel: Funnel, winner: Variant) -> tuple[PathStep, ...]:
    """original, compilation, compression, batching; a step that changes nothing is left out.

    Several instances belong to batching: one request at a time runs on one of them.
    """
    base, one = funnel.record.baseline, alone(funnel, winner)
    path = [PathStep(strategy="original", variant=base)]
    if one.compression:
        plain = uncompressed(funnel, one)
        if plain is None:
            path.append(PathStep(strategy="compilation and compression", variant=one.name))
        else:
            path += [PathStep(strategy="compilation", variant=plain)] if plain != base else []
            path.append(PathStep(strategy="compression", variant=one.name))
    elif one.name != base:
        path.append(PathStep(strategy="compilation", variant=one.name))
    if funnel.record.signature.batch == "any" or winner.name != one.name:
        path.append(PathStep(strategy="batching", variant=winner.name))
    return tuple(path)


def alone(funnel: Funnel, winner: Variant) -> Variant:
    """The winner as one instance: whom it was derived from, until that has only one."""
    while winner.instances > 1 and winner.name in funnel.decisions.derived:
        winner = funnel.variant(funnel.decisions.derived[winner.name])
    return winner


def uncompressed(funnel: Funnel, one: Variant) -> str | None:
    """The same backend with the model as it was: one of this study, else one that is looked at now if there is time."""
    alike = [v for v in funnel.record.variants if not v.compression and v.instances == 1 and _usable(funnel, v.name)]
    exact = next((v.name for v in alike if v.backend == one.backend), None)
    if exact is not None:
        return exact
    made = msgspec.structs.replace(one, name=variant_name((), one.backend), compression=(), trap="")
    taken = any(v.name == made.name for v in funnel.record.variants)
    if not taken and _affordable(funnel, one):
        adopt(funnel, one.name, made, shares=False)
        funnel.progress.stage(f"{made.name}: the winner without its compression")
        look_at(funnel, made)
        if _usable(funnel, made.name):
            return made.name
    return next((v.name for v in alike if v.backend.name == one.backend.name), None)


def _usable(funnel: Funnel, name: str) -> bool:
    return not funnel.has_failed(name) and f"screening-{name}-latency" in funnel.results


def _affordable(funnel: Funnel, one: Variant) -> bool:
    """A first look, with preparing as long as the compressed one took without its compression."""
    screened = funnel.results.get(f"screening-{one.name}-latency")
    made = screened.set_up if screened is not None else None
    seconds = look_s(funnel) + sum(s or 0.0 for s in (made and made.export_s, made and made.compile_s))
    kept_s = funnel.profile.load_share * funnel.budget.total_s
    return seconds <= _LOOK_SHARE * funnel.budget.total_s and funnel.budget.fits(seconds, kept_s=kept_s)


def in_blocks(funnel: Funnel, path: Sequence[PathStep]) -> bool:
    """True if enough blocks hold every step."""
    wanted = [(s.variant, "batch" if s.strategy == "batching" else "latency") for s in path]
    held = {
        (r.variant.name, r.target, r.block)
        for r in funnel.results.values()
        if r.phase == "blocks" and r.role != "repeat" and r.validity != "invalid"
    }
    blocks = {block for _, _, block in held}
    return sum(all((*one, block) in held for one in wanted) for block in blocks) >= LEAST_ROUNDS


def round_s(funnel: Funnel, path: Sequence[PathStep]) -> float:
    """What one round takes."""
    around_s = funnel.profile.warmup_s + _AROUND_S
    turns = sum(t.duration_s + around_s for t in _turns(funnel, path, 0))
    fresh_s = (_OPENING_S + funnel.profile.cool_down_s) * len({s.variant for s in path})
    return turns + (fresh_s if funnel.profile.fresh else 0.0)


def _round(funnel: Funnel, path: Sequence[PathStep], number: int, rounds: Rounds) -> bool:
    """Every variant of the path once, in an order of its own; False if one of them fails."""
    by_name: dict[str, list[Turn]] = {}
    for turn, step in zip(_turns(funnel, path, number), path, strict=True):
        by_name.setdefault(step.variant, []).append(turn)
    for name in shuffled(list(by_name), seed=funnel.record.seed, block=_ORDERS + number):
        todo = [t for t in by_name[name] if t.run_id not in funnel.results]
        who: Who = (name, "baseline" if name == funnel.record.baseline else "candidate")
        try:
            with rounds.turn(who) as live:
                for turn in todo:
                    funnel.measure(live, turn)
        except BudgetEnded:
            raise
        except VariantError as error:
            # It has been measured already; that it fails in a closer look takes nothing away from it.
            funnel.not_bought.append(f"the steps to the winner: `{name}`: {error.reason}")
            return False
    return True


def _made(funnel: Funnel, path: Sequence[PathStep], number: int) -> bool:
    return all(t.run_id in funnel.results for t in _turns(funnel, path, number))


def _turns(funnel: Funnel, path: Sequence[PathStep], number: int) -> list[Turn]:
    return [_turn(funnel, step, number) for step in path]


def _turn(funnel: Funnel, step: PathStep, number: int) -> Turn:
    name, batched = step.variant, step.strategy == "batching"
    size = best_size(funnel, name) if batched else 1
    shared: dict[str, Any] = {"scenario": Named("single_stream"), "batching": Named("single")}
    if batched:
        shared = {"scenario": Named("offline"), "batching": Named("fixed", {"size": size})}
    turn = Turn(
        run_id=f"steps-{number}-{step.strategy.replace(' ', '-')}-{name}",
        phase="steps",
        target=None,
        duration_s=funnel.profile.screen_s,
        trial=_TRIAL + number,
        block=number,
        role="baseline" if name == funnel.record.baseline else "candidate",
        **shared,
    )
    needed_s = 1.1 * (_BATCHES * size if batched else _CALLS) * call_s(funnel, turn, name)
    most_s = max(turn.duration_s, min(_LONGEST_S, _SHARE * funnel.budget.total_s))
    return msgspec.structs.replace(turn, duration_s=min(max(turn.duration_s, needed_s), most_s))
