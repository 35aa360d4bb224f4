"""What COMPRESSION.md says of technique x backend: one summary, one table a model, and what there is no figure for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from accel.analysis.conclusion import Verdict
from benchmarks.compression import words
from benchmarks.compression.reading import Line, disturbed, lines
from benchmarks.compression.rows import Cell, Table
from benchmarks.compression.ways import BACKENDS, NONE

_ORDER = ("faster", "slower", "mixed", "the same", "not settled")
_UNUSABLE = {"failed": "failed", "wrong": "wrong outputs", "late": "took too long", "skipped": "a package is missing"}


def word(line: Line) -> str:
    """A pair's verdicts at both batch sizes in one word; "" where it wasn't timed."""
    said: set[Verdict] = {c.verdict for c in line.against.values()}
    if not said:
        return ""
    if {"FASTER", "SLOWER"} <= said:
        return "mixed"
    if "FASTER" in said:
        return "faster"
    if "SLOWER" in said:
        return "slower"
    return "the same" if said == {"EQUIVALENT"} else "not settled"


def summary(tables: Sequence[Table]) -> list[str]:
    """Technique x backend over all models, in counts; and what the counts say."""
    all_ = {table.model: lines(table.cells) for table in tables}
    flat = [line for each in all_.values() for line in each]
    techniques = [t for t in dict.fromkeys(line.cell.technique for line in flat) if t != NONE]
    backends = [b for b in BACKENDS if any(line.cell.backend == b for line in flat)]
    if not techniques:
        return []
    body = [
        [
            f"`{technique}`",
            *(_counted([x for x in flat if x.cell.technique == technique and x.cell.backend == b]) for b in backends),
        ]
        for technique in techniques
    ]
    about = (
        "Of how many models each pair is faster or slower than the same backend's FP32 form: *faster* means so in at "
        "least one of the two measurements (one request at a time, batches of 8) and slower in none. *Fail*: the "
        "outputs don't pass. *Probes* gave accuracy away and didn't win it back, so they show speed alone."
    )
    return [
        "## Technique by backend",
        about,
        words.grid(["technique", *backends], body),
        *_findings(all_),
    ]


def _counted(found: Sequence[Line]) -> str:
    ready = [x for x in found if x.cell.outcome == "ready"]
    if not ready:
        return "refused" if any(x.cell.outcome == "refused" for x in found) else _reason(found)
    counts = Counter(word(x) or "not timed" for x in ready)
    said = ", ".join(f"{counts[w]} {w}" for w in (*_ORDER, "not timed") if counts[w])
    fails = sum(_fails(x.cell) for x in ready)
    probes = sum(x.cell.probe for x in ready)
    beside = [f"{fails} fail" if fails else "", f"{probes} probes" if probes else ""]
    more = "; ".join(b for b in beside if b)
    return f"{said}{f' ({more})' if more else ''}"


def _reason(found: Sequence[Line]) -> str:
    outcomes = dict.fromkeys(_UNUSABLE.get(x.cell.outcome, x.cell.outcome) for x in found)
    return ", ".join(outcomes) or "–"


def _fails(cell: Cell) -> bool:
    return not cell.probe and cell.quality is not None and cell.quality.outcome == "fails"


def _findings(all_: dict[str, list[Line]]) -> list[str]:
    """Sentences that follow from the verdicts."""
    flat = [(m, x) for m, each in all_.items() for x in each if x.cell.compression and word(x)]
    wrong = [_pair(m, x) for m, x in flat if word(x) == "faster" and _fails(x.cell)]
    slower = [_pair(m, x) for m, x in flat if word(x) == "slower"]
    good = [x for _, x in flat if word(x) == "faster" and x.cell.quality and x.cell.quality.outcome == "passes"]
    found = []
    if flat:
        found.append(f"Of {len(flat)} timed pairs {len(good)} are faster and pass the guard.")
    if wrong:
        found.append(
            f"**Fast and wrong** ({len(wrong)}), which a ranking by speed alone would take: {'; '.join(wrong)}."
        )
    if slower:
        found.append(f"**Smaller and slower** ({len(slower)}): {'; '.join(slower)}.")
    return ["\n".join(f"- {one}" for one in found)] if found else []


def _pair(model: str, line: Line) -> str:
    best = line.best
    gain = f" ({words.times(best.ratio)})" if best is not None else ""
    return f"{words.title(model)} `{line.cell.technique}` on {line.cell.backend}{gain}"


def models(tables: Sequence[Table]) -> list[str]:
    """One table a model."""
    parts: list[str] = []
    for table in tables:
        found = [x for x in lines(table.cells) if x.cell.outcome == "ready"]
        if not found:
            continue
        flagged, runs = disturbed(table.cells)
        beside = f" {flagged} of {runs} runs were flagged as disturbed." if flagged else ""
        old = sum(x.cell.stale for x in found)
        beside += f" {old} of {len(found)} artefacts were made before the last change of accel's source." if old else ""
        body = [_row(x, _plain_bytes(table, x.cell.backend)) for x in found]
        head = ["technique", "backend", "one at a time", "in batches of 8", "outputs", "size", "runs as"]
        parts += [f"### {words.title(table.model)}", words.weights(table) + beside, words.grid(head, body)]
    return ["## Model by model", _ABOUT, *parts] if parts else []


_ABOUT = (
    "Ratios are against `none` of the same backend, from interleaved blocks, with 95 % intervals; a verdict asks that "
    "the interval at Holm's level excludes 1 and that the difference counts (5 % or what measuring FP32 twice showed). "
    "Size: the artefact's files, and their share of the FP32 ones."
)


def _row(line: Line, plain_bytes: int | None) -> list[str]:
    cell = line.cell
    return [
        f"`{cell.technique}`",
        cell.backend,
        _both(words.milliseconds(line.latency), line, "latency"),
        _both(words.per_second(line.rate), line, "batch"),
        words.sentence(words.outputs(cell)).rstrip("."),
        words.size(cell, plain_bytes),
        words.runs_as(cell),
    ]


def _both(figure: str, line: Line, target: str) -> str:
    if line.cell.failed_runs:
        return words.sentence("failed", line.cell.failed_runs)
    found = next((c for t, c in line.against.items() if t == target), None)
    return figure if found is None else f"{figure}: {words.ratio(found)}"


def _plain_bytes(table: Table, backend: str) -> int | None:
    found = (c.artefact_bytes for c in table.cells if c.backend == backend and c.technique == NONE)
    return next(found, None)


def missing(tables: Sequence[Table]) -> list[str]:
    """Refusals and failures, each with its sentence; and what the time didn't allow."""
    cells = [c for table in tables for c in table.cells]
    parts = []
    refused = _merged([c for c in cells if c.outcome in ("refused", "skipped")])
    if refused:
        about = "Pairs that aren't tried, and what accel says to who asks for them."
        parts += ["## Refused", about, words.grid(["technique", "backend", "models", "why"], refused)]
    failed = _merged([c for c in cells if c.outcome in ("failed", "wrong", "late")])
    if failed:
        about = "Pairs that were tried and gave nothing to time."
        parts += ["## Failed", about, words.grid(["technique", "backend", "models", "why"], failed)]
    untimed = [c for c in cells if c.outcome == "ready" and not c.runs and not c.failed_runs]
    if untimed:
        said = _gathered([(c.model, c.backend, c.technique) for c in untimed])
        parts += ["## Not timed", "Prepared, but there was no time to measure them:", said]
    unprepared = [(t.model, backend, way) for t in tables for way, backend in t.unprepared]
    if unprepared:
        parts += ["## Not prepared", "Nobody has got to these pairs yet:", _gathered(unprepared)]
    return parts


def _gathered(pairs: Sequence[tuple[str, str, str]]) -> str:
    """(model, backend, technique) as a list, one line a model and backend."""
    by: dict[tuple[str, str], list[str]] = {}
    for model, backend, technique in pairs:
        by.setdefault((words.title(model), backend), []).append(f"`{technique}`")
    return "\n".join(f"- {model} on {backend}: {', '.join(listed)}" for (model, backend), listed in by.items())


def _merged(cells: Sequence[Cell]) -> list[list[str]]:
    """Rows with the same sentence as one, models joined."""
    by_reason: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for cell in cells:
        why = words.sentence(cell.reason, cell.next_step)
        backends, models_ = by_reason.setdefault((cell.technique, why), ([], []))
        backends += [cell.backend] if cell.backend not in backends else []
        models_ += [words.title(cell.model)] if words.title(cell.model) not in models_ else []
    return [[f"`{t}`", ", ".join(b), ", ".join(m), why] for (t, why), (b, m) in by_reason.items()]
