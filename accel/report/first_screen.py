"""What stands on the page's first screen, as plain values: strip, headline, the two cards, findings, foot."""

from __future__ import annotations

from typing import Literal

import msgspec

from accel.analysis.conclusion import Answer, Conclusion, Row
from accel.analysis.memory import held
from accel.report import words
from accel.report.roles import share
from accel.units import show_seconds

MOST_FINDINGS = 3
_EVIDENCE = {
    "none": "not measured",
    "screening": "screening only: not proved yet",
    "blocks": "",
    "confirmation": "",
}


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One target's answer. big, unit: the claim; aside: its interval and what it was; facts: (label, value) pairs.

    said: the whole answer in one sentence. doubts: words that lower the claim. code: what the button copies.
    """

    title: str
    big: str
    unit: str = ""
    winner: str = ""
    aside: str = ""
    said: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    doubts: tuple[str, ...] = ()
    code: str = ""


class FirstScreen(msgspec.Struct, frozen=True, kw_only=True):
    """headline: (text, is it the winner's name) pieces. badge_kind: the style of the badge."""

    model: str
    strip: tuple[str, ...]
    labels: tuple[str, ...]
    badge: str
    badge_kind: Literal["valid", "unstable", "invalid"]
    headline: tuple[tuple[str, bool], ...]
    subline: str
    cards: tuple[Card, ...]
    findings: tuple[tuple[str, str, str], ...]
    command: str


def first_screen(conclusion: Conclusion) -> FirstScreen:
    """Everything of a conclusion that a hurried reader needs."""
    record = conclusion.record
    took = f"{record.profile} · {show_seconds(record.elapsed_s)}" if record.elapsed_s else record.profile
    ordered = sorted(conclusion.findings, key=lambda f: -f.weight)[:MOST_FINDINGS]
    return FirstScreen(
        model=record.source.name,
        strip=(words.machine(record), words.day(record.created_unix_ns), took),
        labels=labels(conclusion),
        badge=conclusion.badge or conclusion.validity.upper(),
        badge_kind="unstable"
        if conclusion.validity == "valid" and "screening" in labels(conclusion)
        else conclusion.validity,
        headline=_pieces(conclusion),
        subline=conclusion.subline,
        cards=(_memory(conclusion),) if record.target == "memory" else (_online(conclusion), _batch(conclusion)),
        findings=tuple((f.what, f.why, f.command) for f in ordered),
        command=record.command,
    )


def labels(conclusion: Conclusion) -> tuple[str, ...]:
    """Words that must be read with every number of this study."""
    record = conclusion.record
    answers = conclusion.answers
    screening = bool(answers) and all(a.evidence in ("screening", "none") for a in answers)
    flags = (
        (record.synthetic, "synthetic inputs"),
        (record.source.random_weights, "random weights"),
        (record.interrupted, "interrupted"),
        (screening, "screening"),
    )
    return tuple(word for is_so, word in flags if is_so)


def _pieces(conclusion: Conclusion) -> tuple[tuple[str, bool], ...]:
    found = (conclusion.online, conclusion.batch, conclusion.memory)
    answers = [a for a in found if a is not None and not a.keeps_baseline]
    for name in dict.fromkeys(a.winner for a in answers):
        before, there, after = conclusion.headline.partition(name)
        if there:
            return tuple(p for p in ((before, False), (name, True), (after, False)) if p[0])
    return ((conclusion.headline, False),)


def _rows(conclusion: Conclusion, answer: Answer) -> tuple[Row | None, Row | None]:
    """The winner's row and, where another variant won, the original's."""
    by_name = {r.name: r for r in conclusion.rows}
    original = next((r for r in conclusion.rows if r.is_baseline), None)
    won = by_name.get(answer.winner)
    return won, (None if won is original else original)


def _missing(conclusion: Conclusion, target: Literal["Online", "Batch", "Memory"]) -> Card:
    record = conclusion.record
    if record.target not in (target.lower(), "both"):
        return Card(title=target, big="Not asked for", said="`--target both` measures it too.")
    if record.interrupted:
        return Card(title=target, big="Not measured yet", said="The study was interrupted; `--resume` continues it.")
    ran = any(r.status == "ok" for r in conclusion.rows)
    return Card(title=target, big="Not measured", said="The budget ended before." if ran else "See what failed below.")


def _online(conclusion: Conclusion) -> Card:
    answer = conclusion.online
    if answer is None:
        return _missing(conclusion, "Online")
    row, original = _rows(conclusion, answer)
    if row is None or row.online is None:
        return _closed_loop(conclusion, answer, row, original)
    there = row.online
    was = f"was {words.with_interval(original.online.rate)}" if original is not None and original.online else ""
    at = f"at {words.slo(conclusion.record)}" if conclusion.record.slo_s is not None else ""
    ends = f"[{words.ends_of(there.rate)}]" if words.half_width(there.rate) is not None else ""
    return Card(
        title="Online",
        big=words.value_of(there.rate),
        unit="requests/s",
        winner=_name(row),
        aside=_joined((f"{ends} {at}".strip(), was)),
        said=answer.sentence,
        facts=(
            *_latency_there(row, words.slo_percentile(conclusion.record)),
            ("batching", words.policy(there.policy)),
            *_busy(conclusion, row),
            *_shared_facts(row, original),
            _start(row),
        ),
        doubts=_doubts(answer, there.rate.validity, words.flags(there)),
        code=words.code(conclusion, "online"),
    )


def _closed_loop(conclusion: Conclusion, answer: Answer, row: Row | None, original: Row | None) -> Card:
    """An answer that rests on latency alone, before any request arrived by itself."""
    if row is None or row.p50 is None:
        return Card(title="Online", big="Not measured", said=answer.sentence)
    divisor, unit = words.latency_scale(row.p50.value)
    was = "" if original is None or original.p50 is None else f"was {words.with_interval(original.p50, divisor)}"
    return Card(
        title="Online",
        big=words.value_of(row.p50, divisor),
        unit=f"{unit} p50",
        winner=_name(row),
        aside=_joined((f"[{words.ends_of(row.p50, divisor)}] one request at a time, closed loop", was)),
        said=answer.sentence,
        facts=(*_shared_facts(row, original), _start(row)),
        doubts=_doubts(answer, row.p50.validity),
        code=words.code(conclusion, "online"),
    )


def _batch(conclusion: Conclusion) -> Card:
    answer = conclusion.batch
    if answer is None:
        return _missing(conclusion, "Batch")
    row, original = _rows(conclusion, answer)
    if row is None or row.throughput is None:
        return Card(title="Batch", big="Not measured", said=answer.sentence)
    before = original.throughput if original is not None else None
    was = f"was {words.with_interval(before)}" if before is not None else ""
    size = f"at batch {row.batch_size}" if row.batch_size else ""
    ends = f"[{words.ends_of(row.throughput)}]" if words.half_width(row.throughput) is not None else ""
    facts = (
        ("1 million items", _and_was(words.million(row.throughput), words.million(before))),
        _cost(conclusion, row),
        *(() if _same_winner(conclusion) else _shared_facts(row, original)),
        ("size", _and_was(words.bytes_or_dash(row.artefact_bytes), _size(original))),
    )
    return Card(
        title="Batch",
        big=words.value_of(row.throughput),
        unit="items/s",
        winner=_name(row),
        aside=_joined((f"{ends} {size}".strip(), was)),
        said=answer.sentence,
        facts=facts,
        doubts=_doubts(answer, row.throughput.validity),
        code=words.code(conclusion, "batch"),
    )


def _memory(conclusion: Conclusion) -> Card:
    """The smallest peak while one request at a time is answered, and how fast that is."""
    answer = conclusion.memory
    if answer is None:
        return _missing(conclusion, "Memory")
    row, original = _rows(conclusion, answer)
    if row is None or row.memory is None:
        return Card(title="Memory", big="Not measured", said=answer.sentence)
    divisor, unit = words.latency_scale(row.p50.value) if row.p50 is not None else (1.0, "s")
    before = original.p50 if original is not None else None
    was = f"was {held(original.memory)}" if original is not None and original.memory is not None else ""
    now, then = words.value_of(row.p50, divisor), words.value_of(before, divisor)
    facts = (
        (f"p50, one at a time, {unit}", _and_was(now, then)),
        ("size", _and_was(words.bytes_or_dash(row.artefact_bytes), _size(original))),
        *_shared_facts(row, original),
        _start(row),
    )
    big, _, inside = held(row.memory).partition(" [")
    return Card(
        title="Memory",
        big=big.rpartition(" ")[0],
        unit=big.rpartition(" ")[2],
        winner=_name(row),
        aside=_joined((f"[{inside}" if inside else "", was)),
        said=answer.sentence,
        facts=facts,
        doubts=_doubts(answer, row.memory.validity),
        code=words.code(conclusion, "memory"),
    )


def _cost(conclusion: Conclusion, row: Row) -> tuple[str, str]:
    """A million items in instance-seconds, or at the price an hour that the user gave."""
    per_h = conclusion.record.price_per_h
    if per_h is None:
        return "cost, instance-seconds", words.instance_seconds(row.throughput)
    return f"cost, at {per_h:g} an hour", words.price(row.throughput, per_h)


def _busy(conclusion: Conclusion, row: Row) -> tuple[tuple[str, str], ...]:
    """How busy the winner's workers are at the claimed rate, where that was seen."""
    role = conclusion.roles.online if conclusion.roles is not None else None
    if role is None or role.variant != row.name:
        return ()
    cell = share(role.utilisation)
    return () if cell.value == words.NOTHING else (("busy there", cell.value),)


def _same_winner(conclusion: Conclusion) -> bool:
    """True if the other card already tells this variant's accuracy."""
    answers = (conclusion.online, conclusion.batch)
    return all(a is not None for a in answers) and len({a.winner for a in answers if a is not None}) == 1


def _name(row: Row) -> str:
    return "your model as it is" if row.is_baseline else row.name


def _size(row: Row | None) -> str:
    return words.NOTHING if row is None else words.bytes_or_dash(row.artefact_bytes)


def _and_was(now: str, before: str) -> str:
    return now if before in (words.NOTHING, now) else f"{now}, was {before}"


def _joined(parts: tuple[str, ...]) -> str:
    return " · ".join(p for p in parts if p)


def _latency_there(row: Row, percentile: str) -> tuple[tuple[str, str], ...]:
    """The median and the SLO's percentile at the claimed rate, or the deepest one that the sample carries."""
    assert row.online is not None
    known = [(n, e) for n in ("p50", "p90", "p99") if (e := getattr(row.online, n)) is not None]
    known = [pair for pair in known if words.half_width(pair[1]) is not None]
    if not known:
        return ()
    last = next((pair for pair in known if pair[0] == percentile), known[-1])
    chosen = [known[0], last] if last[0] != known[0][0] else [last]
    divisor, unit = words.latency_scale(max(e.value for _, e in chosen))
    names = " / ".join(n for n, _ in chosen)
    return ((f"{names} there", " / ".join(words.value_of(e, divisor) for _, e in chosen) + f" {unit}"),)


def _shared_facts(row: Row, original: Row | None) -> tuple[tuple[str, str], ...]:
    if row.quality is None:
        return ()
    before = "" if original is None else words.accuracy(original.quality, interval=False)
    value = _and_was(words.accuracy(row.quality), before or words.NOTHING)
    return ((words.accuracy_word(row.quality), value),)


def _start(row: Row) -> tuple[str, str]:
    return "start-up", words.seconds_or_dash(row.set_up.start_s if row.set_up is not None else None)


def _doubts(answer: Answer, validity: str, flags: tuple[str, ...] = ()) -> tuple[str, ...]:
    found = [_EVIDENCE[answer.evidence], *(words.FLAGS.get(flag, flag) for flag in flags)]
    if validity != "valid":
        found.append(validity)
    return tuple(filter(None, found))
