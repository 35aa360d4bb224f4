"""Do static INT8 and structured pruning keep what was wanted of them? Each claim beside its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.compression import words
from benchmarks.compression.reading import Line, lines, reaches
from benchmarks.compression.rows import Table
from benchmarks.compression.ways import BOTH, LABELLED, LABELLED_BOTH, STATIC, TUNED

WANTED = {"resnet50": 2.0, "bert_base": 1.5, "minilm": 1.5}
"""How many times as fast as the same backend's FP32, in at least one backend."""
PRUNED_WANTED = {"digits": 1.6}
"""The same of structured pruning, tuned afterwards."""
_SAID = {True: "**holds**", False: "doesn't hold", None: "not settled"}


def static(tables: Sequence[Table]) -> list[str]:
    """Every backend's static INT8 of the models that something was wanted of, and a sentence for each model."""
    body, said = [], []
    for model, wanted in WANTED.items():
        table = next((t for t in tables if t.model == model), None)
        if table is None:
            continue
        found = [x for x in lines(table.cells) if x.cell.technique == STATIC and x.cell.outcome == "ready"]
        judged = {x.cell.backend: holds(x, wanted) for x in found}
        body += [_row(model, x, wanted, judged[x.cell.backend]) for x in found]
        said.append(_sentence(model, wanted, found, judged))
    if not body:
        return []
    about = (
        "Static INT8 against the same backend's FP32. It holds where the whole 95 % interval reaches what was wanted, "
        "at one of the two batch sizes, and the outputs pass. OpenVINO computes what isn't quantized in bfloat16 "
        "where the processor can, so its ratio holds that too; see `lower_precision` in its table."
    )
    head = ["model", "backend", "one at a time", "in batches of 8", "outputs", "wanted", ""]
    return ["## Static INT8", about, words.grid(head, body), "\n".join(f"- {one}" for one in said)]


def holds(line: Line, wanted: float) -> bool | None:
    """True if a ratio surely reaches what was wanted and the outputs pass; False if it surely doesn't, else None."""
    fast = [reaches(c, wanted) for c in line.against.values()]
    quality = line.cell.quality
    if quality is None or not fast:
        return None
    if quality.outcome == "fails" or all(f is False for f in fast):
        return False
    return True if any(fast) and quality.outcome == "passes" else None


def _row(model: str, line: Line, wanted: float | None, found: bool | None, *, technique: str = "") -> list[str]:
    return [
        words.title(model),
        *([f"`{technique}`"] if technique else []),
        line.cell.backend,
        words.ratio(line.against.get("latency")),
        words.ratio(line.against.get("batch")),
        words.sentence(words.outputs(line.cell)).rstrip("."),
        "" if wanted is None else f"{wanted:g}×",
        "" if wanted is None else _SAID[found],
    ]


def _sentence(model: str, wanted: float, found: Sequence[Line], judged: dict[str, bool | None]) -> str:
    named, weighed = words.title(model), {b for b, verdict in judged.items() if verdict}
    if weighed:
        others = [b for b in judged if b not in weighed]
        beside = f"; not on {words.listed(others)}" if others else ""
        return f"{named}: {wanted:g}× holds on {words.listed(sorted(weighed))}{beside}."
    if not any(line.against for line in found):
        return f"{named}: not measured."
    if any(verdict is None for verdict in judged.values()):
        return f"{named}: whether {wanted:g}× holds isn't settled on {words.listed(b for b in judged)}."
    return f"{named}: {wanted:g}× **doesn't hold** on {words.listed(judged)}."


def pruning(tables: Sequence[Table]) -> list[str]:
    """Structured pruning of the models that something was wanted of, alone and with static INT8 on top."""
    body, said = [], []
    for model, wanted in PRUNED_WANTED.items():
        table = next((t for t in tables if t.model == model), None)
        found = [] if table is None else [x for x in lines(table.cells) if x.cell.outcome == "ready"]
        for backend in dict.fromkeys(x.cell.backend for x in found):
            by = {x.cell.technique: x for x in found if x.cell.backend == backend}
            for technique in (TUNED, LABELLED):
                if technique in by:
                    one = by[technique]
                    body.append(_row(model, one, wanted, holds(one, wanted), technique=technique))
            body += [_row(model, by[t], None, None, technique=t) for t in (STATIC, BOTH, LABELLED_BOTH) if t in by]
            said += [f"{words.title(model)} on {backend}: {s}" for s in _taken(by) + _on_top(by)]
    if not body:
        return []
    about = (
        "Structured pruning, tuned by distillation without labels or by a function of the user's with labels, against "
        "the same backend's FP32; and with static INT8 on top."
    )
    head = ["model", "technique", "backend", "one at a time", "in batches of 8", "outputs", "wanted", ""]
    return ["## Structured pruning", about, words.grid(head, body), "\n".join(f"- {one}" for one in said)]


def _taken(by: dict[str, Line]) -> list[str]:
    """What the techniques say they did, each sentence once."""
    notes = [n for t in (TUNED, LABELLED) if t in by for n in by[t].cell.notes]
    return [f"{note}." for note in dict.fromkeys(notes) if note.startswith(("prune_structured", "fine_tune"))]


def _on_top(by: dict[str, Line]) -> list[str]:
    """Is pruning with INT8 on top faster than either alone? Both ratios are against the same FP32 form."""
    said: list[str] = []
    if not all(t in by for t in (STATIC, TUNED, BOTH)):
        return said
    both = by[BOTH]
    for target, how in (("latency", "one at a time"), ("batch", "in batches of 8")):
        three = [x.against.get(target) for x in (both, by[STATIC], by[TUNED])]  # type: ignore[call-overload]
        if any(c is None or c.ratio.low is None or c.ratio.high is None for c in three):
            continue
        together, *alone = (c.ratio for c in three if c is not None)
        if all(together.low > a.high for a in alone):
            said.append(f"{how}, INT8 on top of pruning is faster than either alone.")
        elif any(together.high < a.low for a in alone):
            said.append(f"{how}, INT8 on top of pruning is **not** faster than either alone.")
        else:
            said.append(f"{how}, whether INT8 on top of pruning is faster than either alone isn't settled.")
    return said
