"""What does a study say? From its record, results and traces to one Conclusion; the same files give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from accel.analysis import layers, rescues
from accel.analysis import wording as words
from accel.analysis.bounds import with_rooflines
from accel.analysis.choice import answer
from accel.analysis.conclusion import Answer, Conclusion, Row, StudyRecord
from accel.analysis.curves import curves
from accel.analysis.findings import findings
from accel.analysis.guard import is_probe
from accel.analysis.left import reasons
from accel.analysis.load_curve import loads
from accel.analysis.memory import smallest as smallest_memory
from accel.analysis.memory import with_memory
from accel.analysis.pareto import pareto
from accel.analysis.race import compared, deltas, floors
from accel.analysis.ranking import orders
from accel.analysis.rows import Known, known
from accel.analysis.runs import Run, load_runs, of, worst
from accel.analysis.versus import roles
from accel.analysis.waterfall import waterfall
from accel.compilation._profile import Layers
from accel.model.cost import Cost
from accel.rescue.record import Rescue
from accel.result import Level, Result


def conclude(record: StudyRecord, results: Sequence[Result], folder: Path) -> Conclusion:
    """Read a finished, cut short or running study.

    folder: where the traces lie, beside the results' JSON; what rescues found and
    profiles of layers lie beside it. A trace that is missing
    or unreadable becomes a note of its variant. Without a latency limit in the record the assumed one is filled in:
    four times the median latency of the baseline's screening.
    """
    results = sorted(results, key=lambda r: r.run_id)
    runs, notes = load_runs(results, folder)
    record = with_limit(record, runs)
    by_name = {v.name: v for v in record.variants} | {
        r.variant.name: r.variant for r in reversed(results) if r.variant.name not in {v.name for v in record.variants}
    }
    alone = {
        name: known(
            variant,
            record,
            [r for r in results if r.variant.name == name],
            [r for r in runs if r.result.variant.name == name],
            notes.get(name, []),
        )
        for name, variant in by_name.items()
    }
    return _concluded(record, results, alone, rescues.read(folder.parent), layers.read(folder.parent))


_STEADY = 0.25
"""A study that can only show differences above this was made on a machine in unrest, and its badge says so."""


def with_limit(record: StudyRecord, runs: Sequence[Run]) -> StudyRecord:
    """The record with the assumed latency limit, if it has none and the baseline was screened."""
    screened = of(runs, "latency", name=record.baseline, phase="screening")
    if record.slo_s is not None or not screened:
        return record
    return msgspec.structs.replace(record, slo_s=4 * screened[0].median_s, slo_assumed=True)


def _concluded(
    record: StudyRecord,
    results: Sequence[Result],
    alone: Mapping[str, Known],
    rescued: tuple[Rescue, ...],
    profiled: tuple[Layers, ...],
) -> Conclusion:
    floor = floors(alone.get(record.baseline), record)
    raced = with_memory(compared(alone, record, floor), record)
    order = orders(raced, record, floor)
    batch, online = (answer(goal, raced, record, order) for goal in ("batch", "online"))
    memory = smallest_memory(raced, record)
    answers = [a for a in (online, batch, memory) if a is not None]
    rows = with_rooflines([k.row for k in raced.values()], record, _costs(results))
    runs = [r for k in raced.values() for r in k.runs]
    offered = loads(runs, record.simulated, p=record.slo_p, slo_s=record.slo_s)
    tuned = curves(raced.values(), record)
    counts = _counts(rows)
    # Studies made before the reasons were kept stay as they were.
    front = pareto(rows) if record.left is not None else None
    shown = deltas(rows)
    groups = {target: found for target, one in order.items() if (found := one.groups())}
    smallest = math.expm1(shown[len(shown) // 2]) if shown else None
    validity = _validity(rows, answers)
    if smallest is not None and smallest > _STEADY and validity == "valid":
        validity = "unstable"
    return Conclusion(
        record=record,
        rows=rows,
        batch=batch,
        online=online,
        validity=validity,
        badge=_badge(validity, smallest),
        smallest_difference=smallest,
        counts=counts,
        findings=findings(
            rows, answers, record, results, floor, runs, loads=offered, curves=tuned, rescued=rescued, layers=profiled
        ),
        waterfall=waterfall(batch, online, raced, record, floor),
        headline=_headline(answers, rows, record),
        subline=_subline(answers, counts, record),
        groups=groups,
        roles=roles(batch, online, raced, record, groups),
        loads=offered,
        batching=tuned,
        rescues=rescued,
        layers=profiled,
        memory=memory,
        pareto=front,
        left={} if record.left is None else reasons(rows, record, answers, front),
    )


def _costs(results: Sequence[Result]) -> dict[str, Cost]:
    """Variant -> what a call of its own artefact costs, where compressions changed it."""
    return {r.variant.name: r.cost for r in results if r.cost is not None}


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    """tried: variants beside the baseline that were not skipped."""
    others = [r for r in rows if not r.is_baseline]
    found = {s: sum(r.status == s for r in others) for s in ("ok", "refused", "wrong", "failed", "skipped")}
    probes = sum(r.status == "refused" and is_probe(r.quality) for r in others)
    found["refused"] -= probes
    return {"tried": len(others) - found["skipped"], **found, **({"probes": probes} if probes else {})}


def _validity(rows: Sequence[Row], answers: Sequence[Answer]) -> Level:
    """The worst of what the answers rest on: the winners' ratios, and where the original stays, its own runs."""
    levels: list[Level] = []
    for found in answers:
        row = next((r for r in rows if r.name == found.winner), None)
        levels += [row.validity] if row is not None else ["invalid"]
        levels += [found.speedup.ratio.validity] if found.speedup is not None else []
    return worst(levels)


def _badge(validity: Level, smallest: float | None) -> str:
    if smallest is None:
        return "SCREENING · nothing proved yet" if validity == "valid" else f"{validity.upper()} · screening only"
    return f"{validity.upper()} · smallest difference shown here: {words.percent(smallest)}"


def _headline(answers: Sequence[Answer], rows: Sequence[Row], record: StudyRecord) -> str:
    by_name = {r.name: r for r in rows}
    won = [a for a in answers if not a.keeps_baseline]
    if not won:
        if all(a.evidence == "none" for a in answers):
            base = by_name.get(record.baseline)
            if base is None or base.status != "ok":
                return "Your model could not be measured, so nothing can be compared with it."
            return "Nothing was compared with your model yet."
        if record.target == "memory":
            return "Keep your model: nothing was shown to need less memory and not to be slower."
        if any(_disturbed(rows, answer) for answer in answers):
            return "Keep your model for now: the machine was too disturbed to show that anything is faster."
        return "Keep your model: nothing was shown to be faster."
    start = "At first look, use" if all(a.evidence == "screening" for a in won) else "Use"
    if len({a.winner for a in won}) == 1:
        gains = ", ".join(_gain(a, first=i == 0) for i, a in enumerate(won))
        text = f"{start} {won[0].winner}: {gains}, {words.accuracy_short(by_name[won[0].winner].quality)}."
    else:
        parts = [f"{a.winner} {_where(a)} ({_gain(a, first=True, place=False)})" for a in won]
        text = f"{start} {' and '.join(parts)}."
    kept = [a for a in answers if a.keeps_baseline]
    if kept and kept[0].evidence != "none":
        text += f" {_where(kept[0])[0].upper()}{_where(kept[0])[1:]}, keep your model"
        text += " for now: runs were too disturbed to tell." if _disturbed(rows, kept[0]) else "."
    return text


def _disturbed(rows: Sequence[Row], found: Answer) -> bool:
    """True if something might well be faster at what an answer is about, but its runs were too disturbed to count."""
    return any(
        c is not None and c.verdict == "INCONCLUSIVE" and c.ratio.validity != "valid" and c.ratio.value > c.delta
        for r in rows
        for c in ((r.speedup_batch,) if found.target == "batch" else (r.speedup_latency, r.speedup_online))
        if r.status == "ok"
    )


def _where(found: Answer) -> str:
    return {"online": "online", "batch": "for batch jobs", "memory": "for the smallest memory"}[found.target]


def _gain(found: Answer, *, first: bool, place: bool = True) -> str:
    """`3.6× faster online`, then `4.4× in batch`."""
    if found.target == "memory":
        return f"{words.times(found.less_memory)} less memory" if found.less_memory is not None else "less memory"
    where = {"online": " online", "batch": " in batch"}[found.target] if place else ""
    if found.speedup is None:
        return f"the only one within the limit{where}"
    return f"{words.times(found.speedup.ratio)}{' faster' if first else ''}{where}"


def _subline(answers: Sequence[Answer], counts: Mapping[str, int], record: StudyRecord) -> str:
    parts = []
    main = next((a for a in answers if a.speedup is not None), None)
    if main is not None and main.speedup is not None:
        # The interval of the gain that the headline gives.
        gain = main.less_memory if main.target == "memory" and main.less_memory is not None else main.speedup.ratio
        parts.append(f"95 %: {words.ends(gain)}×, {words.evidence(main.speedup)}.")
    if record.synthetic:
        parts.append("Speed only: inputs are synthetic, accuracy unknown.")
    elif record.source.random_weights:
        parts.append("Weights are random: speed and correctness only.")
    said = [f"{counts['tried']} variant{'' if counts['tried'] == 1 else 's'} tried"]
    names = (("refused", "refused for accuracy"), ("wrong", "wrong"), ("failed", "failed"), ("skipped", "skipped"))
    said += [f"{counts[key]} {word}" for key, word in names if counts[key]]
    if probes := counts.get("probes"):
        said.append(f"{probes} speed probe{'' if probes == 1 else 's'}")
    parts.append(", ".join(said) + ".")
    if record.interrupted:
        parts.append("Cut short.")
    return " ".join(parts)
