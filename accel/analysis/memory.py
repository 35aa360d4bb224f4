"""Which variant needs the least memory? The smallest peak among those that keep the accuracy and aren't slower.

What counts is the peak resident size of the measuring process while one request at a time is answered: it is read from
the kernel (VmHWM), runtime and weights included. Against the original it is a ratio of runs of the same block, so that
what the machine does to both falls out; its interval is the t-interval of the logarithms,
at least half a percent to either side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from accel.analysis import Estimate
from accel.analysis import wording as words
from accel.analysis.choice import may_win
from accel.analysis.comparison import Evidence
from accel.analysis.conclusion import Answer, Comparison, Row, StudyRecord
from accel.analysis.estimates import across_runs, t_interval
from accel.analysis.rows import Known
from accel.analysis.runs import Run, of
from accel.units import show_bytes

_LESS = 1.02
"""Pages are counted to the page, but what an allocator keeps differs from run to run by about a percent."""
_FINEST = 0.005
"""No interval is narrower: equal peaks in a few runs don't say that the next one is equal too."""
_ENOUGH = 2
_PHASES: tuple[Evidence, ...] = ("confirmation", "blocks", "screening")


def with_memory(known: Mapping[str, Known], record: StudyRecord) -> dict[str, Known]:
    """The same rows with `memory` and `less_memory` filled in, where the study was after memory."""
    base = known.get(record.baseline)
    if record.target != "memory" or base is None:
        return dict(known)
    return {name: msgspec.structs.replace(one, row=_filled(one, base)) for name, one in known.items()}


def _filled(one: Known, base: Known) -> Row:
    found = ratio(base.runs, one.runs) if one is not base else None
    first: Evidence = next((p for p in _PHASES if _peaks(one.runs, p)), "screening")
    evidence = found[1] if found is not None else first
    return msgspec.structs.replace(
        one.row, memory=peak(one.runs, evidence), less_memory=None if found is None else found[0]
    )


def peak(runs: Sequence[Run], phase: Evidence) -> Estimate | None:
    """Peak resident bytes over the runs of a phase, one request at a time; None where it wasn't read."""
    values = list(_peaks(runs, phase).values())
    if len(values) >= _ENOUGH:
        return across_runs(values, unit="B")
    return Estimate(value=values[0], low=None, high=None, n=1, unit="B", method="one run") if values else None


def ratio(base: Sequence[Run], one: Sequence[Run]) -> tuple[Estimate, Evidence] | None:
    """How many times less memory `one` takes than `base`, from the deepest phase with two pairs or more, and which."""
    for phase in _PHASES:
        theirs, ours = _peaks(base, phase), _peaks(one, phase)
        if phase == "screening" and not theirs.keys() & ours.keys():
            theirs, ours = _first(base), _first(one)
        logs = [math.log(theirs[key] / ours[key]) for key in theirs.keys() & ours.keys()]
        if len(logs) >= _ENOUGH:
            mean, low, high = t_interval(logs)
            half = max((high - low) / 2, _FINEST)
            return _estimate(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(logs)), phase
        if logs and phase == "screening":
            return _estimate(math.exp(logs[0]), None, None, 1), phase
    return None


def _estimate(value: float, low: float | None, high: float | None, n: int) -> Estimate:
    method = "paired t-interval of logarithms" if n > 1 else "one run a side"
    return Estimate(value=value, low=low, high=high, n=n, unit="x", method=method)


def _peaks(runs: Sequence[Run], phase: str) -> dict[tuple[str, int | None], float]:
    """Peak bytes by what pairs them: the block, and before the blocks the round of settings or the first look."""
    found: dict[tuple[str, int | None], float] = {}
    for name in (phase, "tuning") if phase == "screening" else (phase,):
        for run in of(runs, "latency", phase=name):
            memory, result = run.result.memory, run.result
            if memory is not None and memory.peak_run_bytes and result.role != "repeat":
                found[name, result.trial if name == "tuning" else result.block] = float(memory.peak_run_bytes)
    rounds = {key: value for key, value in found.items() if key[0] == "tuning"}
    # Before a first look all samples are answered in batches, which a round of settings doesn't do.
    return rounds or found


def _first(runs: Sequence[Run]) -> dict[tuple[str, int | None], float]:
    """Of the first look alone, for who was in no round of settings."""
    return _peaks([run for run in runs if run.result.phase == "screening"], "screening")


def smallest(known: Mapping[str, Known], record: StudyRecord) -> Answer | None:
    """The recommendation for memory; None if the study didn't ask for it or nothing was measured for it.

    It may not be slower than the original beyond the smallest difference that counts, in latency one at a time: shown
    to be slower is out, and so is a point estimate beyond that limit. Where neither is settled, the sentence says so.
    """
    base = known.get(record.baseline)
    if record.target != "memory" or base is None or base.row.memory is None:
        return None
    eligible = [k.row for k in known.values() if may_win(k.row, record) and k.row.less_memory is not None]
    fast = [row for row in eligible if _fast_enough(row.speedup_latency)]
    ranked = sorted((row for row in fast if _is_less(row)), key=lambda row: (-_times(row), row.name))
    if not ranked:
        return _keep(base.row, eligible)
    near = [row for row in ranked if _times(row) * _LESS >= _times(ranked[0])]
    return _use(min(near, key=_slowness), base.row, record)


def _fast_enough(found: Comparison | None) -> bool:
    return found is not None and found.verdict != "SLOWER" and found.ratio.value * found.delta >= 1.0


def _is_less(row: Row) -> bool:
    """Shown to be less by 2 %, or (a first look only) less by a tenth in one run a side."""
    found = row.less_memory
    if found is None:
        return False
    return found.value >= 1.1 if found.low is None else found.low >= _LESS


def _times(row: Row) -> float:
    return row.less_memory.value if row.less_memory is not None else 0.0


def _slowness(row: Row) -> float:
    return -row.speedup_latency.ratio.value if row.speedup_latency is not None else 0.0


def _use(row: Row, base: Row, record: StudyRecord) -> Answer:
    assert row.less_memory is not None
    found = row.speedup_latency
    evidence: Evidence = found.evidence if found is not None and row.less_memory.low is not None else "screening"
    parts = [
        f"Use `{row.name}` for the smallest memory: {held(row.memory)} at its peak, "
        f"{words.times(row.less_memory)} [{words.ends(row.less_memory)}] less than the original ({held(base.memory)}), "
        f"{_pace(found)}; {words.accuracy(row.quality)}.",
        words.how_sure(evidence, record),
    ]
    return Answer(
        target="memory",
        winner=row.name,
        keeps_baseline=False,
        speedup=found,
        sentence=" ".join(parts),
        evidence=evidence,
        less_memory=row.less_memory,
    )


def _pace(found: Comparison | None) -> str:
    assert found is not None, "who has no comparison isn't fast enough"
    ratio_ = f"{words.times(found.ratio)} [{words.ends(found.ratio)}] as fast one request at a time"
    shown = found.verdict in ("FASTER", "EQUIVALENT") or (found.ratio.low or 0.0) * found.delta >= 1.0
    doubt = "" if shown else f", and whether it stays within the limit of {1 / found.delta:.2f}× isn't settled"
    return f"{ratio_}{doubt}"


def _keep(base: Row, eligible: Sequence[Row]) -> Answer:
    parts = [f"Keep your model: nothing was shown to need less memory and not to be slower ({held(base.memory)})."]
    nearest = max(eligible, key=_times, default=None)
    if nearest is not None and nearest.less_memory is not None and nearest.less_memory.value <= 1.0:
        parts.append("Nothing else held less.")
    elif nearest is not None and nearest.less_memory is not None:
        found = nearest.speedup_latency
        pace = "" if found is None else f", {words.times(found.ratio)} [{words.ends(found.ratio)}] as fast"
        less = f"{words.times(nearest.less_memory)} [{words.ends(nearest.less_memory)}] less"
        parts.append(f"The nearest was `{nearest.name}`: {less}{pace}.")
    evidence: Evidence = nearest.speedup_latency.evidence if nearest and nearest.speedup_latency else "screening"
    return Answer(
        target="memory",
        winner=base.name,
        keeps_baseline=True,
        speedup=None,
        sentence=" ".join(parts),
        evidence=evidence,
    )


def held(memory: Estimate | None) -> str:
    """`182 MB [180 MB–184 MB]`."""
    if memory is None:
        return "not read"
    if memory.low is None or memory.high is None:
        return f"about {show_bytes(round(memory.value))}"
    return f"{show_bytes(round(memory.value))} [{show_bytes(round(memory.low))}–{show_bytes(round(memory.high))}]"
