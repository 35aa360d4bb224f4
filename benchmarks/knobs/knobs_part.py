"""What HARDWARE.md says of backends and knobs: one table a model, what follows from it, and what isn't tried."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.compression import words
from benchmarks.compression.reading import MIN_EFFECT, Line, compared, disturbed, line
from benchmarks.compression.rows import Cell
from benchmarks.knobs.rows import Knobs
from benchmarks.knobs.ways import BASELINE, DEFAULT

_ABOUT = (
    "Each backend with its knobs, uncompressed, and how many times as fast as the recipe's own baseline, from "
    "interleaved blocks with 95 % intervals; a verdict asks that the interval at Holm's level excludes 1 and that the "
    f"difference counts ({100 * MIN_EFFECT:.0f} % or what measuring the baseline twice showed). *As it comes*: accel's "
    "own defaults for the backend. *2 instances*, *a stream a core*: several requests at once, each with its share of "
    "the cores."
)


def lines(one: Knobs) -> list[Line]:
    """One line a cell, the baseline first; the others compared with it."""
    base, *others = one.cells or (None,)
    if base is None:
        return []
    found = compared(base, others, min_effect=MIN_EFFECT)
    return [line(cell, found.get(cell.variant, {})) for cell in one.cells]


def knobs(found: Sequence[Knobs]) -> list[str]:
    """A section with a table a model, and the refusals of all."""
    parts: list[str] = []
    for one in found:
        listed = [x for x in lines(one) if x.cell.runs or x.cell.failed_runs]
        if listed:
            parts += [f"### {words.title(one.model)}", _weights(one), _table(one, listed), _said(listed)]
    if not parts:
        return []
    return ["## Backends and knobs", _ABOUT, *parts, *missing(found)]


def _weights(one: Knobs) -> str:
    flagged, runs = disturbed(one.cells)
    beside = f" {flagged} of {runs} runs were flagged as disturbed." if flagged else ""
    weights = (
        "Random weights: outputs are a correctness check, never accuracy." if one.random_weights else "Real weights."
    )
    return weights + beside


def _table(one: Knobs, listed: Sequence[Line]) -> str:
    head = ["backend", "knob", "one at a time", f"in batches of {one.size}", "outputs", "runs as"]
    return words.grid(head, [_row(x) for x in listed])


def _row(x: Line) -> list[str]:
    knob = f"**{x.cell.technique}**" if x.cell.technique == BASELINE else x.cell.technique
    runs_as = x.cell.effective
    ran = "–" if runs_as is None else f"{runs_as.precision}, {runs_as.threads} thread{'s' * (runs_as.threads != 1)}"
    outputs = words.sentence(words.outputs(x.cell)).rstrip(".")
    return [x.cell.backend, knob, _one(x, "latency"), _one(x, "batch"), outputs, ran]


def _one(x: Line, target: str) -> str:
    if x.cell.failed_runs:
        return words.sentence("failed", x.cell.failed_runs)
    figure = words.milliseconds(x.latency) if target == "latency" else words.per_second(x.rate)
    found = next((c for t, c in x.against.items() if t == target), None)
    return figure if found is None else f"{figure}: {words.ratio(found)}"


def _said(listed: Sequence[Line]) -> str:
    """The fastest, and the knobs that were shown to be slower than the backend as it comes."""
    said = []
    for target, how in (("latency", "one at a time"), ("batch", "in batches")):
        able = [(x, c) for x in listed for t, c in x.against.items() if t == target and _good(x.cell)]
        faster = [(x, c) for x, c in able if c.verdict == "FASTER"]
        if faster:
            best, found = max(faster, key=lambda pair: pair[1].ratio.value)
            said.append(f"- Fastest {how}: {_called(best.cell)}, {words.times(found.ratio)}.")
        elif able:
            said.append(f"- {how.capitalize()}, nothing was shown to be faster than the baseline.")
    worse = [_called(x.cell) for x in listed if any(c.verdict == "SLOWER" for c in x.against.values())]
    if worse:
        said.append(f"- Shown to be slower than the baseline, one at a time or in batches: {words.listed(worse)}.")
    return "\n".join(said)


def _good(cell: Cell) -> bool:
    return cell.quality is not None and cell.quality.outcome != "fails"


def _called(cell: Cell) -> str:
    return cell.backend if cell.technique == DEFAULT else f"{cell.backend} ({cell.technique})"


def missing(found: Sequence[Knobs]) -> list[str]:
    """Refusals and failures with their sentences, each once; and what there was no time for."""
    cells = [c for one in found for c in one.cells]
    parts: list[str] = []
    for heading, outcomes in (
        ("Refused", ("refused", "skipped")),
        ("Tried in vain", ("failed", "wrong", "late")),
    ):
        body = _merged([c for c in cells if c.outcome in outcomes])
        if body:
            parts += [f"### {heading}", words.grid(["backend", "knobs", "models", "why"], body)]
    untimed = [c for c in cells if c.outcome == "ready" and not c.runs and not c.failed_runs]
    if untimed:
        by: dict[str, list[str]] = {}
        for cell in untimed:
            by.setdefault(words.title(cell.model), []).append(_called(cell))
        said = "\n".join(f"- {model}: {', '.join(listed)}" for model, listed in by.items())
        parts += ["### Not timed", "Prepared, but there was no time to measure them:", said]
    return parts


def _merged(cells: Sequence[Cell]) -> list[list[str]]:
    """Rows with the same sentence as one: knobs and models joined."""
    by: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for cell in cells:
        knobs_, models = by.setdefault((cell.backend, words.sentence(cell.reason, cell.next_step)), ([], []))
        knobs_ += [cell.technique] if cell.technique not in knobs_ else []
        models += [words.title(cell.model)] if words.title(cell.model) not in models else []
    return [[backend, ", ".join(k), ", ".join(m), why] for (backend, why), (k, m) in by.items()]
