"""What stands below the first screen, as plain values: the table of everything, what failed, the environment, words."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from accel.analysis import Estimate
from accel.analysis.conclusion import Comparison, Conclusion, Row, StudyRecord
from accel.report import words
from accel.report.device import WHY, parts
from accel.units import show_seconds


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A value, the lines that stand small beneath it, and a kind that the style sheet knows."""

    value: str
    small: tuple[str, ...] = ()
    kind: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One variant: its name, what it is, what it rests on, its status, its cells in the order of `Table.columns`."""

    name: str
    what: str
    rests: str
    status: str
    kind: str
    cells: tuple[Cell, ...]
    won: bool


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The table of everything; columns holds (heading, explanation) without the variant's own."""

    columns: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One variant that is not in the race: why, what to do about it, and the end of its log."""

    name: str
    status: str
    kind: str
    reason: str
    next_step: str
    log_tail: str
    notes: tuple[str, ...]


def table(conclusion: Conclusion) -> Table:
    """Every variant with everything that is known about it."""
    scale, unit = words.scale_of(conclusion.rows)
    known = [r.quality for r in conclusion.rows if r.quality is not None]
    accuracy = words.accuracy_word(known[0]) if known else "accuracy"
    columns: list[tuple[str, str, Callable[[Row], Cell]]] = [
        (f"p50, {unit}", "one request at a time, closed loop", lambda r: _number(r.p50, scale)),
        (f"p90, {unit}", "one request at a time, closed loop", lambda r: _number(r.p90, scale)),
        (f"p99, {unit}", "one request at a time, closed loop", lambda r: _number(r.p99, scale)),
        ("items/s", "batch mode, at the best size found", _throughput),
        ("requests/s", "online, within the SLO, from schedule", _rate),
        ("at that rate", "latency from schedule; beneath: service time of the same requests, and goodput", _there),
        ("× latency", "speed-up of p50 against the original", lambda r: _ratio(r, r.speedup_latency)),
        ("× batch", "speed-up of throughput against the original", lambda r: _ratio(r, r.speedup_batch)),
        ("× online", "speed-up of requests/s against the original", lambda r: _ratio(r, r.speedup_online)),
        (accuracy, "on samples that calibration never saw", _accuracy),
        ("size", "the artefact on disk", lambda r: Cell(value=words.bytes_or_dash(r.artefact_bytes))),
        ("memory", "peak of the process that ran it", lambda r: Cell(value=words.bytes_or_dash(r.memory_bytes))),
        ("on the device", WHY, _on_device),
        ("device memory", "at most, in a run", lambda r: Cell(value=words.bytes_or_dash(r.device_peak_bytes))),
        ("set-up", "to make it; beneath: to start it", _set_up),
        ("ran as", "precision and threads, read back from the runtime", _effective),
    ]
    used = [c for c in columns if any(c[2](r).value != words.NOTHING for r in conclusion.rows)]
    won = {a.winner for a in conclusion.answers if not a.keeps_baseline}
    lines = tuple(
        Line(
            name=r.name,
            what=words.what_it_is(r.variant),
            rests="" if r.evidence == "none" else f"{r.evidence}, {r.validity}",
            status=words.status_word(r),
            kind=kind(r),
            cells=tuple(make(r) for _, _, make in used),
            won=r.name in won,
        )
        for r in conclusion.rows
    )
    return Table(columns=tuple((head, why) for head, why, _ in used), lines=lines)


def kind(row: Row) -> str:
    """The style of a row's status; the word itself always stands beside the colour."""
    if row.status != "ok":
        return row.status
    verdicts = {c.verdict for _, c in words.verdicts(row)}
    if "SLOWER" in verdicts:
        return "slower"
    return "faster" if "FASTER" in verdicts else "plain"


def troubles(conclusion: Conclusion) -> tuple[Trouble, ...]:
    """What was refused, wrong, failed or skipped, in the order of the study."""
    return tuple(
        Trouble(
            name=r.name,
            status=words.status_word(r),
            kind=r.status,
            reason=r.reason or "no reason was recorded",
            next_step=words.extra_step(r.reason, r.next_step),
            log_tail=r.log_tail,
            notes=r.notes,
        )
        for r in conclusion.rows
        if r.status != "ok"
    )


def groups(conclusion: Conclusion) -> tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]:
    """(what was compared, names by group, the fastest first) for each target in which more than one variant raced."""
    titles = {"online": "requests/s online", "batch": "items/s in batch", "latency": "latency, one at a time"}
    return tuple((titles[t], conclusion.groups[t]) for t in titles if sum(map(len, conclusion.groups.get(t, ()))) > 1)


def guard(record: StudyRecord) -> str:
    """The accuracy guard in one sentence."""
    if record.source.random_weights:
        return "The weights are random, so only the median SQNR (at least 20 dB) is checked: correctness, not accuracy."
    if record.metric is not None and not record.synthetic:
        points = words.points(record.accuracy_drop)
        return f"A variant may lose at most {points} of {record.metric} against the reference."
    return "Without labels a variant must give the reference's top class on 99 % of samples, or a median SQNR of 20 dB."


GLOSSARY: tuple[tuple[str, str], ...] = (
    ("request", "one input with a due time"),
    ("due, taken, started, finished", "its times: arrived, picked up by a worker, entered the engine, answered"),
    ("latency", "finished − due: what the one who asked waited"),
    ("service time", "finished − started: what the engine took for the batch the request was in"),
    ("lag", "started − max(due, worker free, held back by the policy): what the harness itself added"),
    ("queue", "started − due − lag: waiting for others to be served"),
    ("batch", "requests run together"),
    ("warm-up", "requests that are marked and shown, not counted"),
    ("set-up", "all seconds before the first counted request: load, export, compress, compile, open, first run"),
    ("variant", "what is measured: compressions, a backend with its knobs, a batching policy"),
    ("scenario", "how it is asked: one at a time, all at once, or arriving by itself"),
    ("run", "one variant in one process of its own"),
    ("block", "one run of each finalist, in random order"),
    ("baseline", "your model as it came, here also called the original; batch mode gives it its own best batch size"),
    ("speed-up", "always against the baseline, always with its interval; above 1 is faster"),
    ("guard", "the accuracy limit"),
    ("SLO", "the latency limit"),
    ("policy", "who waits for whom: how waiting requests become a batch"),
    ("given up", "answered with `too late`, since a useful answer couldn't come in time any more; infinitely late"),
    ("busy", "share of time in which the workers ran a batch"),
    ("simulated", "from measured service times on a virtual clock, not measured under load"),
    ("goodput", "requests a second that were answered within the limit"),
    ("keeps up", "the queue doesn't grow while requests come at this rate"),
    ("nonmonotone", "a lower rate was slower than a higher one, so a rate below the claim may be late too"),
    ("unconfirmed", "fresh trials at the claimed rate lay above the limit on average"),
    ("indicative", "from too few requests to carry the percentile: proves nothing"),
    (
        "Holm",
        "of several candidates compared at once, each is held to a stricter level, so that chance alone wins rarely",
    ),
    ("valid, unstable, invalid", "may decide; shown, but can't decide; counts nowhere"),
    ("FASTER, SLOWER", "the 95 % interval excludes no change, and the difference is large enough to count here"),
    ("EQUIVALENT", "shown to differ by less than what counts here"),
    ("INCONCLUSIVE", "not shown either way"),
    ("screening", "a first, short look; nothing is proved by it"),
    ("confirmation", "the winner measured again afresh"),
)


def _cell(value: str, *small: str, kind: str = "") -> Cell:
    return Cell(value=value, small=tuple(line for line in small if line), kind=kind)


def _number(estimate: Estimate | None, scale: float = 1.0, *more: str) -> Cell:
    value = words.value_of(estimate, scale)
    if value == words.NOTHING:
        return _cell(value)
    doubt = words.doubt(estimate)
    return _cell(value, words.ends_of(estimate, scale), doubt, *more, kind="unsure" if doubt else "")


def _throughput(row: Row) -> Cell:
    return _number(row.throughput, 1.0, f"batch {row.batch_size}" if row.batch_size else "")


def _rate(row: Row) -> Cell:
    if row.online is None:
        return _cell(words.NOTHING)
    flagged = ", ".join(flag.replace("_", " ") for flag in words.flags(row.online))
    return _number(row.online.rate, 1.0, flagged, words.policy(row.online.policy))


def _there(row: Row) -> Cell:
    """The median and the deepest percentile at the claimed rate, from schedule; service time beside them."""
    names = [] if row.online is None else [n for n in ("p50", "p90", "p99") if _known(getattr(row.online, n))]
    if row.online is None or not names:
        return _cell(words.NOTHING)
    chosen = list(dict.fromkeys((names[0], names[-1])))
    latency = [getattr(row.online, name) for name in chosen]
    service = [getattr(row.online, f"service_{name}") for name in chosen]
    scale, unit = words.latency_scale(max(e.value for e in latency))
    served = f"service {_several(service, scale)} {unit}" if all(map(_known, service)) else ""
    good = f"goodput {words.value_of(row.online.goodput)}/s" if _known(row.online.goodput) else ""
    return _cell(f"{_several(latency, scale)} {unit}", " / ".join(chosen), served, good)


def _known(estimate: Estimate | None) -> bool:
    return words.value_of(estimate) != words.NOTHING


def _several(estimates: list[Estimate], scale: float) -> str:
    return " / ".join(words.value_of(e, scale) for e in estimates)


def _ratio(row: Row, comparison: Comparison | None) -> Cell:
    value = words.times(comparison)
    if comparison is None or value == words.NOTHING:
        return _cell(words.NOTHING)
    kind = comparison.verdict.lower() if row.status == "ok" else ""
    among = f"Holm, one of {comparison.holm_k}" if comparison.holm_k > 1 else ""
    return _cell(value, words.ends_of(comparison.ratio), comparison.verdict, comparison.reason, among, kind=kind)


def _accuracy(row: Row) -> Cell:
    value, _, ends = words.accuracy(row.quality).partition(" [")
    if row.quality is None:
        return _cell(value)
    outcome = "" if row.is_baseline else row.quality.outcome
    needed = words.settled_by(row.quality) if outcome == "unresolved" else ""
    return _cell(value, ends.rstrip("]"), outcome, needed, kind=outcome)


def _set_up(row: Row) -> Cell:
    s = row.set_up
    if s is None:
        return _cell(words.NOTHING)
    start = f"start {show_seconds(s.start_s)}" if s.start_s is not None else ""
    return _cell(show_seconds(s.made_s) if s.made_s else words.NOTHING, start, "cached" if s.cached else "")


def _on_device(row: Row) -> Cell:
    times = row.device_times
    return _cell(words.NOTHING) if times is None else _cell(parts(times), f"batch of {times.rows}")


def _effective(row: Row) -> Cell:
    if row.effective is None:
        return _cell(words.NOTHING)
    threads = f"{row.effective.threads} thread{'s' if row.effective.threads != 1 else ''}"
    return _cell(row.effective.precision, threads, row.effective.provider)
