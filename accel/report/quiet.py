"""How quiet was the machine? What was watched during each run, block by block, and which runs were not believed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from accel.report.everything import Cell
from accel.result import Level, Result, Witness
from accel.units import show_seconds

WITNESSES: dict[str, tuple[str, str]] = {
    "W1": ("stolen", "share of processor time that the host took away"),
    "W2": ("throttled", "share of CPU-quota periods that were throttled"),
    "W3": ("waiting", "what runnable threads waited for a processor, as a share of what they ran"),
    "W4": ("switched", "how often a second a thread lost the processor against its will"),
    "W5": ("stood still", "share of time in which everything waited for memory or disk"),
    "W5F": ("from disk", "pages that had to be read from disk"),
    "W6": ("frequency", "range of the clock frequency"),
    "W6T": ("heat", "how often heat slowed the processor"),
    "W6G": ("GPU slowed", "reasons for which the GPU was slowed"),
    "W7": ("canary", "change of a fixed piece of work against its usual time"),
    "W8": ("clock", "how far the clock was steered, in parts per million"),
    "W8S": ("asleep", "seconds the machine was asleep"),
    "W9": ("harness late", "lateness of the harness; 1 is the limit"),
    "W10": ("steady", "by how much the level of the service times changed"),
    "W12": ("A/A", "the original against itself"),
    "W13": ("errors", "failed requests and outputs that are no numbers"),
}
_SHARES = frozenset({"W1", "W2", "W3", "W5", "W6", "W7", "W10", "W12"})
_LEVELS: tuple[Level, ...] = ("valid", "unstable", "invalid")
_RANKS = {"ok": 0, "warn": 1, "unstable": 2, "invalid": 3}
_STEADY = {
    "flat": "steady",
    "warmup": "steady after a longer warm-up",
    "slowdown": "got slower",
    "none": "never settled",
    "short": "too few calls to tell",
}


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that were made one after another: a block, or a phase. level: the worst of its runs. small: how many."""

    name: str
    small: str
    level: Level
    cells: tuple[Cell, ...]


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """One run: what it was, whether it counts and why not, whether it settled."""

    name: str
    what: str
    level: Level
    why: tuple[str, ...]
    steady: str


class Quiet(msgspec.Struct, frozen=True, kw_only=True):
    """The section of the page. columns: (heading, explanation) of the cells of each stretch.

    said: one sentence on all runs. flagged: the lines that are unstable or invalid. missing: sources that this machine
    doesn't have. energy: what was measured, or that nothing was.
    """

    said: str
    columns: tuple[tuple[str, str], ...]
    stretches: tuple[Stretch, ...]
    flagged: tuple[RunLine, ...]
    runs: tuple[RunLine, ...]
    missing: tuple[str, ...]
    energy: tuple[str, ...]


def quiet(results: Sequence[Result]) -> Quiet | None:
    """The section, or None where nothing was timed."""
    timed = sorted((r for r in results if r.trace is not None), key=lambda r: (r.created_unix_ns, r.run_id))
    if not timed:
        return None
    usual_s = _usual_canary_s(timed)
    ids = [i for i in WITNESSES if any(w.id == i for r in timed for w in r.witnesses)]
    ids += sorted({w.id for r in timed for w in r.witnesses} - set(ids))
    columns = [WITNESSES.get(i, (i, i)) for i in ids]
    if usual_s and "W7" not in ids:
        columns.append(WITNESSES["W7"])
    runs = tuple(_run_line(r) for r in timed)
    return Quiet(
        said=_said(timed),
        columns=tuple(columns),
        stretches=tuple(_stretch(name, runs, ids, usual_s) for name, runs in _stretches(timed).items()),
        flagged=tuple(line for line in runs if line.level != "valid"),
        runs=runs,
        missing=tuple(sorted({m for r in timed for m in r.witness_missing})),
        energy=_energy(timed),
    )


def _stretches(timed: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for run in timed:
        name = run.phase if run.block is None else f"{'block' if run.phase == 'blocks' else run.phase} {run.block}"
        found.setdefault(name, []).append(run)
    return found


def _stretch(name: str, runs: Sequence[Result], ids: Sequence[str], usual_s: float | None) -> Stretch:
    cells = [_worst([w for r in runs for w in r.witnesses if w.id == i]) for i in ids]
    if usual_s and "W7" not in ids:
        cells.append(_canary(runs, usual_s))
    disturbed = sum(r.validity != "valid" for r in runs)
    small = f"{len(runs)} run{'s' if len(runs) != 1 else ''}" + (f", {disturbed} disturbed" if disturbed else "")
    level = max((r.validity for r in runs), key=_LEVELS.index)
    return Stretch(name=name, small=small, level=level, cells=tuple(cells))


def _worst(found: Sequence[Witness]) -> Cell:
    """The largest reading with the word for its level, or a dash where nothing was read."""
    if not found:
        return Cell(value="–")
    worst = max(found, key=lambda w: (_RANKS[w.level], abs(w.value)))
    word = {"ok": "", "warn": "warns"}.get(worst.level, worst.level)
    return Cell(
        value=_shown(worst.id, worst.value),
        small=(word,) if word else (),
        kind=worst.level if worst.level in ("unstable", "invalid") else "",
    )


def _shown(witness: str, value: float) -> str:
    """A reading in the unit of its witness.

    >>> _shown("W1", 0.0123), _shown("W9", 0.31), _shown("W13", 0.0)
    ('1.2 %', '0.31', '0')
    """
    return f"{100 * value:.2g} %" if witness in _SHARES else f"{value:.2g}"


def _usual_canary_s(timed: Sequence[Result]) -> float | None:
    found = [s for r in timed if r.canary_s is not None for s in r.canary_s]
    return statistics.median(found) if found else None


def _canary(runs: Sequence[Result], usual_s: float) -> Cell:
    changes = [s / usual_s - 1 for r in runs if r.canary_s is not None for s in r.canary_s]
    return Cell(value=f"{100 * max(changes, key=abs):+.2g} %" if changes else "–")


def _run_line(run: Result) -> RunLine:
    where = "" if run.block is None else f" {run.block}"
    role = ", A'" if run.role == "repeat" else ""
    why = [w.sentence for w in run.witnesses if w.level in ("unstable", "invalid")]
    if run.check is not None and run.check.mismatched:
        why.append(f"{run.check.mismatched} of {run.check.checked} timed outputs were not those of the reference.")
    return RunLine(
        name=run.variant.name,
        what=f"{run.phase}{where}, {run.target or 'timed'}{role}",
        level=run.validity,
        why=tuple(why or ([run.reason] if run.reason and run.validity != "valid" else [])),
        steady=_STEADY[run.steady.label] if run.steady is not None else "not checked",
    )


def _said(timed: Sequence[Result]) -> str:
    counts = {level: sum(r.validity == level for r in timed) for level in _LEVELS}
    text = f"{counts['valid']} of {len(timed)} runs are valid"
    others = [f"{counts[level]} {level}" for level in ("unstable", "invalid") if counts[level]]
    text += f", {' and '.join(others)}." if others else "."
    if counts["unstable"]:
        text += " Unstable runs are shown and can't decide a comparison while there are enough others."
    if counts["invalid"]:
        text += " Invalid runs count nowhere."
    unsettled = sum(r.steady is not None and r.steady.label in ("slowdown", "none") for r in timed)
    return text + (f" In {unsettled} the service times did not settle." if unsettled else "")


def _energy(timed: Sequence[Result]) -> tuple[str, ...]:
    """One sentence a variant, from its counters; or that there are none."""
    found: dict[str, list[Result]] = {}
    for run in timed:
        if run.energy is not None:
            found.setdefault(run.variant.name, []).append(run)
    lines = []
    for name, runs in found.items():
        each = [r.energy.joules_per_request for r in runs if r.energy and r.energy.joules_per_request is not None]
        window_s = sum(r.energy.window_s for r in runs if r.energy)
        sources = ", ".join(sorted({r.energy.source for r in runs if r.energy}))
        value = f"{statistics.median(each):.3g} J a request" if each else "no joules a request"
        lines.append(f"{name}: {value} ({sources}, median of {len(runs)} runs, {show_seconds(window_s)})")
    return tuple(lines)
