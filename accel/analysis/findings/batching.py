"""What is to be said of batching: whether it pays, what a server's own policy may cost, what happens under overload."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from accel.analysis import wording as words
from accel.analysis.conclusion import Finding
from accel.analysis.estimates import t_interval
from accel.analysis.findings.seen import Seen
from accel.analysis.load_curve import LoadPoint, trial_of
from accel.analysis.policy import said, short
from accel.analysis.runs import Run, by_key

_PEERS = {"early_commit": "as Ray Serve does", "window": "as LitServe does"}
_LOSS, _ENOUGH = 0.05, 3
"""A peer's policy is worth a line if it surely loses more than this, over at least so many paired trials."""
_OVERLOAD, _LIKE = 1.5, 1.2
_GAINS = 1.2
"""Dropping is worth a line where it answers so many times as much in time."""


def _verdict(seen: Seen) -> Iterator[Finding]:
    """Batching doesn't pay here, with the reason from the measured curve."""
    names = dict.fromkeys([*seen.winners, seen.record.baseline])
    found = next((c for n in names for c in seen.batching if c.variant == n and c.bucket is None), None)
    if found is not None and found.pays is False:
        yield Finding(
            what=f"`{found.variant}`: {found.sentence}",
            why="Larger batches only add latency and memory; several instances, or a faster variant, may still help.",
            weight=30,
        )


def _lengths(seen: Seen) -> Iterator[Finding]:
    """Batches of like length gain where mixed ones, padded to their longest, don't."""
    for name in dict.fromkeys([*seen.winners, seen.record.baseline]):
        mixed = next((c for c in seen.batching if c.variant == name and c.bucket is None and c.gain), None)
        paying = [c for c in seen.batching if c.variant == name and c.bucket is not None and c.pays and c.gain]
        if mixed is None or mixed.gain is None or not paying:
            continue
        best = max(paying, key=lambda c: c.gain.value if c.gain else 0.0)
        if best.gain is None or best.bucket is None or (best.gain.low or 0.0) < _LIKE * (mixed.gain.high or math.inf):
            continue
        low, high = best.bucket
        yield Finding(
            what=f"Batch items of like length: for those of length {low} to {high} a batch of {best.best} gives "
            f"`{name}` {words.times(best.gain)} the items a second, for a mix of lengths {words.times(mixed.gain)}.",
            why="A batch is padded to its longest item, so mixing lengths computes mostly padding.",
            command="accel list bucketed",
            weight=49,
        )
        return


def _fixed(seen: Seen) -> Iterator[Finding]:
    if seen.record.signature.batch != "any" and seen.record.target in ("batch", "both") and seen.winners:
        yield Finding(
            what=f"The model takes a batch of {seen.record.signature.batch} and no other.",
            why="Batching can't be tried on a fixed batch; an export with a dynamic batch axis lifts this.",
            weight=60,
        )


def _peers(seen: Seen) -> Iterator[Finding]:
    """What the policies of common servers lose on this model, from paired trials on the same schedules."""
    for (name, rate), by_policy in _loaded(seen).items():
        ours = next((p for p in by_policy if p.startswith("dynamic") and "drop=" not in p), None) or next(
            (p for p in by_policy if p.startswith("dynamic")), None
        )
        for peer, how in _PEERS.items():
            theirs = next((p for p in by_policy if p.split("(")[0] == peer), None)
            if ours is None or theirs is None:
                continue
            lost = _lost(seen, by_policy[ours], by_policy[theirs])
            if lost is not None and lost[1] > _LOSS:
                share, low, high = lost
                yield Finding(
                    what=f"At {rounded(rate)} requests/s `{name}` answers {words.percent(share)} "
                    f"[{100 * low:.2g}–{100 * high:.2g} %] fewer in time with `{peer}` than with {short(ours)}.",
                    why=f"`{peer}` ({how}) {said(theirs)}; whoever waits on a timer waits when nobody comes.",
                    command=f"accel list {peer}",
                    weight=46,
                )


def _overload(seen: Seen) -> Iterator[Finding]:
    """What a deadline with early drop keeps when far more comes than can be answered."""
    for name in seen.winners or (seen.record.baseline,):
        points = [p for p in seen.loads if p.variant == name and p.policy.name == "dynamic" and p.level != "invalid"]
        highest = max((p.rate for p in points), default=0.0)
        most = max((p.goodput for p in points), default=0.0)
        there = [p for p in points if p.rate == highest and p.rate > _OVERLOAD * most > 0]
        drops = _first(there, drop=True)
        keeps = _first(there, drop=False)
        if drops is None or keeps is None or drops.simulated != keeps.simulated:
            continue
        if drops.goodput > _GAINS * max(keeps.goodput, 0.01 * drops.goodput):
            how = " in simulation" if drops.simulated else ""
            yield Finding(
                what=f"Set a deadline: at {rounded(highest)} requests/s, more than it can answer, `{name}` still "
                f"answers {rounded(drops.goodput)} a second in time{how} if its policy gives up who would be late, "
                f"and {rounded(keeps.goodput)} if it doesn't.",
                why="Who can't be answered in time any more is given up, or everybody behind is late as well.",
                weight=43,
            )


def rounded(rate: float) -> str:
    """Three digits.

    >>> rounded(1618.2), rounded(5.853)
    ('1,620', '5.85')
    """
    return f"{float(f'{rate:.3g}'):,g}"


def _first(points: Sequence[LoadPoint], *, drop: bool) -> LoadPoint | None:
    """A measured point before a simulated one."""
    found = [p for p in points if (p.policy.fields.get("drop", "none") != "none") == drop]
    return min(found, key=lambda p: (p.simulated, str(p.policy)), default=None)


def _loaded(seen: Seen) -> Mapping[tuple[str, float], dict[str, list[Run]]]:
    """Load trials by variant and rate, then by policy; without those that may not be believed."""
    used = [r for r in seen.runs if r.result.phase == "load" and r.result.validity == "valid" and r.trace is not None]
    by_place = by_key(used, lambda r: (r.result.variant.name, r.rate))
    return {place: by_key(group, lambda r: str(r.result.batching)) for place, group in by_place.items()}


def _lost(seen: Seen, ours: Sequence[Run], theirs: Sequence[Run]) -> tuple[float, float, float] | None:
    """(share, low, high) of goodput that the others' policy loses, paired by schedule; None with too few pairs."""
    if seen.record.slo_s is None:
        return None
    p, slo_s = seen.record.slo_p, seen.record.slo_s
    good = [{r.result.trial: trial_of(r, p=p, slo_s=slo_s).goodput for r in runs} for runs in (ours, theirs)]
    both = sorted(good[0].keys() & good[1].keys(), key=lambda t: t or 0)
    pairs = [(good[0][t], good[1][t]) for t in both]
    if len(pairs) < _ENOUGH or any(a <= 0 or b <= 0 for a, b in pairs):
        return None
    mean, low, high = t_interval([math.log(b / a) for a, b in pairs])
    return 1 - math.exp(mean), 1 - math.exp(high), 1 - math.exp(low)


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (_verdict, _lengths, _fixed, _peers, _overload)
