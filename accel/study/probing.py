"""A closer look at the winners and the original, beside the race: calls with pauses, and the same input every time.

No comparison uses these runs (they have no target); findings are read from them. Trap 33: a tight loop keeps threads
awake and caches warm, which requests that come now and then don't. Rule 5: an answer that comes from a cache is fast on
repeated inputs alone. And where inputs hold denormal numbers, what keeping those would cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel.plugins import Named
from accel.study.budget import BudgetEnded
from accel.study.lengths import call_s
from accel.study.live import Turn

if TYPE_CHECKING:
    from accel.study.funnel import Funnel

_LOOP_S, _CALLS = 0.5, 20
"""Twenty calls carry a median (rule 22)."""
_LOOPS = 3
"""How often each tight loop is run: distinct inputs, then one input, by turns."""
_OPENING_S = 4.0
_LONGEST_S = 2.0
_SHARE = 0.1


def probe(funnel: Funnel) -> None:
    """Look at the online winner, the batch winner and the original, as far as the budget goes."""
    conclusion = funnel.read()
    answers = [
        a for a in (conclusion.online, conclusion.batch, conclusion.memory) if a is not None and not a.keeps_baseline
    ]
    online = [a.winner for a in answers if a.target == "online"]
    names = dict.fromkeys([*online, *(a.winner for a in answers), *([funnel.record.baseline] if online else [])])
    for name in names:
        paused = name in online or name == funnel.record.baseline
        turns = [t for t in _turns(funnel, name, paused=paused) if t.run_id not in funnel.results]
        seconds = _OPENING_S + sum(_expected_s(funnel, t, name) for t in turns)
        if not turns or funnel.has_failed(name):
            continue
        kept_s = funnel.profile.load_share * funnel.budget.total_s
        if not (funnel.budget.fits(seconds, kept_s=kept_s) and seconds < _SHARE * funnel.budget.total_s):
            funnel.not_bought.append(f"a look at `{name}` called with pauses and with repeated inputs")
            continue
        _look(funnel, name, turns)
        if funnel.record.denormals and funnel.budget.fits(_OPENING_S + _LONGEST_S, kept_s=kept_s):
            _keeping(funnel, name)


def _look(funnel: Funnel, name: str, turns: list[Turn]) -> None:
    funnel.progress.stage(f"{name}: calls with pauses, repeated inputs")
    try:
        with funnel.survives_look(name), funnel.live(name, "look") as live:
            for turn in turns:
                funnel.measure(live, turn)
    except BudgetEnded as error:
        funnel.not_bought.append(f"the rest of a look at `{name}`: {error.words}")


def _keeping(funnel: Funnel, name: str) -> None:
    """What would it cost to keep the denormal numbers that the inputs hold? They become zero wherever else is measured.

    A runtime that was told to make them zero all the same (`flush_denormals`) isn't asked.
    """
    turn = _turn(funnel, name, "kept", 0, _LONGEST_S)
    if turn.run_id in funnel.results:
        return
    funnel.progress.stage(f"{name}: denormal numbers kept")
    try:
        with funnel.survives_look(name), funnel.live(name, "kept", "kept") as live:
            if live.effective.detail.get("denormals") == "kept":
                funnel.measure(live, turn)
    except BudgetEnded as error:
        funnel.not_bought.append(f"a look at `{name}` with denormals kept: {error.words}")


def _turns(funnel: Funnel, name: str, *, paused: bool) -> list[Turn]:
    """Tight loops over distinct inputs and over one, by turns; then calls with pauses, the longest last."""
    each_s = call_s(funnel, _turn(funnel, name, "loop", 0, 0.0), name)
    loop_s = max(_LOOP_S, min(_LONGEST_S, _CALLS * each_s))
    turns = []
    for i in range(_LOOPS):
        turns.append(_turn(funnel, name, f"loop-{i}", i, loop_s))
        turns.append(_turn(funnel, name, f"same-{i}", i, loop_s, same=True))
    if paused:
        for gap_s in funnel.profile.probe_gaps_s:
            seconds = 1.5 * _CALLS * (gap_s + each_s)
            turns.append(_turn(funnel, name, f"gap-{gap_s * 1e3:g}ms", 0, seconds, gap_s=gap_s))
    return turns


def _turn(
    funnel: Funnel, name: str, what: str, trial: int, duration_s: float, *, gap_s: float = 0.0, same: bool = False
) -> Turn:
    paused = {"gap_s": gap_s, "warmup": 2, "limit": _CALLS}
    return Turn(
        run_id=f"look-{name}-{what}",
        phase="measure",
        target=None,
        scenario=Named("single_stream", paused if gap_s else {}),
        batching=Named("single"),
        duration_s=duration_s,
        trial=40_000 + trial,
        role="baseline" if name == funnel.record.baseline else "candidate",
        inputs="same" if same else "unique",
    )


def _expected_s(funnel: Funnel, turn: Turn, name: str) -> float:
    return turn.duration_s + 2 * float(turn.scenario.fields.get("gap_s", 0.0)) + funnel.profile.warmup_s + 0.3
