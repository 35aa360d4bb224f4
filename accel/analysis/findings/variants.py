"""What is to be said of single variants: refused, broken, missing, slower, slow to start, in doubt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from accel.analysis import wording as words
from accel.analysis.conclusion import Comparison, Finding, Row, StudyRecord
from accel.analysis.findings.seen import Seen, again, sentence
from accel.analysis.guard import is_probe
from accel.units import show_seconds

_INSTALLS = re.compile(r"\bpip (?:un)?install [^;`\n]+")
"""The first command of a next step, from its first word on: to put one build in another's place both are needed."""


def _of_rows(seen: Seen) -> Iterator[Finding]:
    for row in seen.rows:
        for rule in (_refused, _probe, _trap, _missing, _broken):
            yield from rule(row, seen.record)


def _of_winners(seen: Seen) -> Iterator[Finding]:
    for row in seen.winning_rows():
        for rule in (_unresolved, _set_up, _precision):
            yield from rule(row, seen.record)


def _refused(row: Row, record: StudyRecord) -> Iterator[Finding]:
    q = row.quality
    if row.status != "refused" or q is None or is_probe(q):
        return
    figures = row.reason
    if q.value is not None and q.reference_value is not None:
        figures = f"{q.metric} {q.reference_value:.3f} → {q.value:.3f}"
    elif "agreement" in q.rule and q.agreement is not None:
        figures = f"the same answer as the original on only {100 * q.agreement:.1f} % of the samples"
    fast = [c for c in (row.speedup_batch, row.speedup_latency) if c is not None]
    speed = f"{words.times(fast[0].ratio)} as fast, but wrong" if fast else "wrong, however fast"
    trap = f" {sentence(row.variant.trap)}" if row.variant.trap else ""
    yield Finding(
        what=f"`{row.name}` is {speed}: {figures}. Refused.",
        why=f"The guard: {q.rule}.{trap}",
        command=_list(row),
        weight=80,
    )


def _probe(row: Row, record: StudyRecord) -> Iterator[Finding]:
    """A pruned model that nobody trained again: is what it could save worth the training?"""
    if row.status != "refused" or not is_probe(row.quality):
        return
    fast = [c for c in (row.speedup_batch, row.speedup_latency) if c is not None]
    speed = f"{words.times(fast[0].ratio)} as fast as the original" if fast else "not timed"
    better = bool(fast) and fast[0].verdict == "FASTER"
    why = (
        "If that is worth it, put `fine_tune` after the pruning" if better else "Training it again would gain no speed"
    )
    yield Finding(
        what=f"`{row.name}` is a speed probe, {speed}: nothing tuned the model after it was pruned, so it can't win.",
        why=f"{why}; its accuracy here says nothing about what training brings back.",
        command="accel list fine_tune" if better else _list(row),
        weight=60 if better else 36,
    )


def _slower(row: Row) -> Comparison | None:
    """The worst of the comparisons that a measured candidate lost."""
    if row.status != "ok" or row.is_baseline:
        return None
    lost = [c for c in (row.speedup_latency, row.speedup_batch, row.speedup_online) if c and c.verdict == "SLOWER"]
    return min(lost, key=lambda c: c.ratio.value, default=None)


def _trap(row: Row, record: StudyRecord) -> Iterator[Finding]:
    worst = _slower(row)
    if worst is not None and row.variant.trap:
        inverse = words.inverted(worst.ratio)
        yield Finding(
            what=f"`{row.name}` is {words.times(inverse)} [{words.ends(inverse)}] slower than the original.",
            why=sentence(row.variant.trap),
            command=_list(row),
            weight=70,
        )


def _others(seen: Seen) -> Iterator[Finding]:
    """The ordinary variants that lost something, in one line."""
    names = [f"`{r.name}`" for r in seen.rows if _slower(r) is not None and not r.variant.trap]
    if names:
        yield Finding(
            what=f"Slower than the original in at least one way: {', '.join(names)}.",
            why="The table says in which; a variant that loses everywhere can be left out next time.",
            weight=35,
        )


def _missing(row: Row, record: StudyRecord) -> Iterator[Finding]:
    install = _INSTALLS.search(f"{row.next_step}\n{row.reason}")
    if row.status == "skipped" and install is not None:
        yield Finding(
            what=f"`{row.name}` was not tried: a package is missing.",
            why=sentence(row.reason),
            command=install[0].strip("`. )"),
            weight=50,
        )


def _broken(row: Row, record: StudyRecord) -> Iterator[Finding]:
    if row.status == "failed":
        yield Finding(
            what=f"`{row.name}` failed: {row.reason}.", why=sentence(row.next_step), command=_list(row), weight=40
        )


def _unresolved(row: Row, record: StudyRecord) -> Iterator[Finding]:
    q = row.quality
    if q is None or q.outcome != "unresolved":
        return
    settle = f"With about {q.needed:,} the verdict would be certain." if q.needed else "The value lies on the limit."
    if q.drop is not None:
        what = f"{q.samples} samples can't rule out a {100 * record.accuracy_drop:g}-point drop of `{row.name}`."
    else:
        what = f"{q.samples} samples can't settle whether `{row.name}` stays within the guard."
    yield Finding(what=what, why=settle, command=again(record, "--samples MORE"), weight=75)


def _set_up(row: Row, record: StudyRecord) -> Iterator[Finding]:
    s = row.set_up
    if s is None:
        return
    first = sum(v for v in (s.import_s, s.open_s, s.first_run_s) if v is not None)
    if first >= 10:
        yield Finding(
            what=f"`{row.name}` needs {show_seconds(first)} from a fresh process to its first answer.",
            why="Every restart and every new instance pays that; keep a process warm.",
            weight=45,
        )
    if s.made_s >= 60:
        yield Finding(
            what=f"Making `{row.name}` takes {show_seconds(s.made_s)}.",
            why="It is paid once a model: the artefact is saved with the winner.",
            weight=20,
        )


def _precision(row: Row, record: StudyRecord) -> Iterator[Finding]:
    ran = row.effective.precision if row.effective else "float32"
    asked = str(row.variant.backend.fields.get("precision", "")) or ("yes" if row.variant.compression else "")
    if not asked and ran not in ("float32", "f32", "fp32", ""):
        yield Finding(
            what=f"`{row.name}` ran in {ran}, though nobody asked for it.",
            why=f"It is the default of {row.variant.backend.name} here; the accuracy beside it was taken in {ran} too.",
            weight=55,
        )


def _nothing(seen: Seen) -> Iterator[Finding]:
    if not seen.answers or not all(a.keeps_baseline and a.evidence != "none" for a in seen.answers):
        return
    raced: list[Comparison] = [
        c for r in seen.rows for c in (r.speedup_latency, r.speedup_batch, r.speedup_online) if c and r.status == "ok"
    ]
    if raced and all(c.verdict == "SLOWER" for c in raced):
        yield Finding(
            what="The original is faster than everything that was tried.",
            why="For a model this small the cost of a call outweighs the arithmetic that could be saved.",
            weight=68,
        )


def _list(row: Row) -> str:
    technique = row.variant.compression[-1].name if row.variant.compression else row.variant.backend.name
    return f"accel list {technique}"


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (_of_rows, _of_winners, _others, _nothing)
