"""What is to be said of requests that arrive over time: the claim, the generator, pauses, repeated inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from accel.analysis.comparison import MIN_EFFECTS
from accel.analysis.conclusion import Finding
from accel.analysis.estimates import t_interval
from accel.analysis.findings.seen import Seen, again, looks
from accel.analysis.percentiles import quantile, quantile_interval, required
from accel.analysis.runs import Run
from accel.units import show_seconds

_NOTES = {
    "unconfirmed": ("Plan with a lower rate.", 58.0),
    "near saturation": ("A little more load, and it breaks: plan with a lower rate.", 57.0),
    "nonmonotone": ("Latency fell as load rose, as a policy that waits for company does: look at the chart.", 55.0),
    "generator": ("The claim is what this machine could offer, not what the variant carries.", 62.0),
}
_CLEARLY = 1.1
"""How much slower calls with pauses must at least be, interval against interval, before it is worth a line."""
_CACHED = 3.0
"""So many smallest effects faster on one repeated input looks like a cache (experiment V16)."""


def _claims(seen: Seen) -> Iterator[Finding]:
    for row in seen.winning_rows():
        for note in row.notes:
            found = next((said for start, said in _NOTES.items() if note.startswith(start)), None)
            if found is not None:
                yield Finding(what=f"`{row.name}` online: {note}.", why=found[0], weight=found[1])


def _late(seen: Seen) -> Iterator[Finding]:
    """W9: the harness itself was late, so the trial says nothing about the variant."""
    late = [r for r in seen.results if any(w.id == "W9" and w.level == "invalid" for w in r.witnesses)]
    if late:
        rates = sorted(float(r.scenario.fields.get("rate", 0.0)) for r in late if r.scenario is not None)
        said = f" at {rates[0]:,.4g} to {rates[-1]:,.4g} requests/s" if rates and rates[-1] > 0 else ""
        yield Finding(
            what=f"{len(late)} server trials are invalid: requests were offered late{said} (W9).",
            why="The generator was the bottleneck or was held up; such a trial is left out, no failure.",
            command="accel doctor --measure",
            weight=61,
        )


def _too_few(seen: Seen) -> Iterator[Finding]:
    """The limit is on a percentile that the trials were too short for (rule 22)."""
    for row in seen.winning_rows():
        if row.online is not None and row.online.predicted and seen.record.profile == "quick":
            p = f"p{100 * seen.record.slo_p:.6g}"
            yield Finding(
                what=f"The trials of `{row.name}` hold too few requests for a {p}: its rate is indicative.",
                why=f"A {p} needs {math.ceil(10 / (1 - seen.record.slo_p)):,} requests in each trial.",
                command=again(seen.record, "--profile shared"),
                weight=53,
            )


def _paused(seen: Seen) -> Iterator[Finding]:
    """Trap 33: requests that come one by one find sleeping threads and cold caches."""
    for name in dict.fromkeys((*seen.winners, seen.record.baseline)):
        mine = looks(seen.runs, name)
        tight = [r for r in mine if _gap_s(r) == 0 and r.result.inputs == "unique"]
        slower = [(r, s) for r in mine if _gap_s(r) > 0 and (s := _slow_down(tight, r)) is not None]
        if not slower:
            continue
        run, (ratio, low, high) = max(slower, key=lambda found: found[1][1])
        alone_s, loop_s = run.median_s, float(np.median([r.median_s for r in tight]))
        rate = 1 / (_gap_s(run) + alone_s)
        who = "the original" if name == seen.record.baseline else f"`{name}`"
        yield Finding(
            what=f"At {rate:.2g} requests/s each call of {who} takes {ratio:.2g}× [{low:.2g}–{high:.2g}] as long as in "
            f"a tight loop: p50 is {show_seconds(alone_s)} there, not {show_seconds(loop_s)}.",
            why="Threads sleep and caches get cold between calls; latencies from a tight loop flatter a quiet server.",
            command=f"accel list {mine[0].result.variant.backend.name}  # what it says of threads that wait",
            weight=51 if name != seen.record.baseline else 28,
        )


def _repeated(seen: Seen) -> Iterator[Finding]:
    """Rule 5: faster on the same input again and again means that answers, or parts of them, are remembered."""
    for name in seen.winners:
        tight = [r for r in looks(seen.runs, name) if _gap_s(r) == 0]
        found = cached(tight, _CACHED * math.log1p(MIN_EFFECTS.get(seen.record.profile, 0.03)))
        if found is not None:
            ratio, low, high = found
            yield Finding(
                what=f"`{name}` answers repeated inputs {ratio:.2g}× [{low:.2g}–{high:.2g}] as fast as new ones.",
                why="It remembers answers or parts of them; the speed shown here is that on distinct inputs.",
                weight=59,
            )


def cached(looks: Sequence[Run], least: float) -> tuple[float, float, float] | None:
    """How much faster one repeated input is than distinct ones, if its interval lies beyond exp(least) wholly.

    looks: tight loops over both, as many of each, made by turns; paired by their trial.
    """
    by_kind = {
        kind: {r.result.trial: r.median_s for r in looks if r.result.inputs == kind} for kind in ("unique", "same")
    }
    both = sorted(by_kind["unique"].keys() & by_kind["same"].keys(), key=lambda t: t or 0)
    logs = [math.log(by_kind["unique"][t] / by_kind["same"][t]) for t in both]
    if len(logs) < 3:
        return None
    mean, low, high = t_interval(logs)
    return (math.exp(mean), math.exp(low), math.exp(high)) if low > 0 and mean > least else None


def _slow_down(tight: Sequence[Run], run: Run) -> tuple[float, float, float] | None:
    """(ratio, low, high) of a paused run's median over the tight loops', if clearly slower; None if not."""
    if not tight or len(run.latency_s) < required(0.5):
        return None
    loops = np.concatenate([r.latency_s for r in tight])
    ours, theirs = quantile_interval(run.latency_s, 0.5), quantile_interval(loops, 0.5)
    if None in (*ours, *theirs) or not theirs[0]:
        return None
    low, high = float(ours[0] or 0.0) / float(theirs[1] or 1.0), float(ours[1] or 0.0) / theirs[0]
    return (run.median_s / quantile(loops, 0.5), low, high) if low > _CLEARLY else None


def _gap_s(run: Run) -> float:
    return float(run.result.scenario.fields.get("gap_s", 0.0)) if run.result.scenario else 0.0


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (_claims, _late, _too_few, _paused, _repeated)
