"""What came of driving an endpoint: one row a load, and the most requests a second within the limit."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Literal

import msgspec

from accel import units
from accel.analysis import Estimate
from accel.result import Level
from accel.slo import Slo

_SAID = {
    "unconfirmed": "the fresh trials at the claimed rate were above the limit on average",
    "nonmonotone": "a lower rate was slower than a higher one, so a rate below the claim may miss the limit too",
    "generator_limited": "at higher rates the requests themselves came late, so none was tried",
    "indicative": "the trials hold fewer requests than an honest interval needs; a larger --budget makes them longer",
    "bracket": "too few trials lie near the limit for a fit; the interval is between passing and failing rates",
    "unfinished": "the search ended before it was through",
    "bounded": "accel drives no endpoint faster than that",
}

FILE = "endpoint.json"
Load = Literal["rate", "search", "fresh", "closed loop"]


class Driven(msgspec.Struct, frozen=True, kw_only=True):
    """One load and what it got; times in seconds, rates per second.

    load: "rate" (one the user named), "search" or "fresh" (trials of the search), "closed loop".
    rate: requests a second asked for, None in a closed loop. offered, completed: what came and what was answered in
    the window, None where nothing could be sent. goodput: answered within the limit, None without one.
    p50, p99: latency from schedule, or (closed loop) from the question; None where too few requests carry them or the
        quantile lies among requests that were never answered (then `unanswered` says how many).
    slo_s: the limit's quantile; inf among the unanswered, None without a limit or too few requests.
    requests, unanswered: those that counted. errors: kind -> how many calls failed with it in the whole run.
    waited: share of requests for which no connection was free when they were due: then they queue here, not there.
    generator: share of one core that sending and reading takes at this rate, estimated from single calls.
    validity, reason: "invalid" says nothing about the endpoint.
    """

    run_id: str
    load: Load
    rate: float | None
    offered: float | None
    completed: float | None
    goodput: float | None
    p50: Estimate | None
    p99: Estimate | None
    slo_s: float | None
    requests: int
    unanswered: int
    errors: dict[str, int] = {}
    waited: float = 0.0
    generator: float = 0.0
    keeps_up: bool = True
    validity: Level = "valid"
    reason: str = ""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The most requests a second within the limit; 0 where it is met at no rate.

    low, high: the 95 % interval of where the limit is met; None at an open end. flags: what must be said beside it.
    """

    claim: float
    crossing: float
    low: float | None
    high: float | None
    lowest_fail: float | None
    flags: tuple[str, ...]
    validity: Level
    method: str


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Answers held against what the samples say they should be, each asked once beforehand.

    asked: how many were. right: of them, whose top class is the label; None without labels.
    largest: the largest relative error against expected outputs, None without.
    """

    asked: int
    right: int | None = None
    largest: float | None = None


class EndpointStudy(msgspec.Struct, frozen=True, kw_only=True):
    """What driving an endpoint gave; `print` it, or read its fields.

    transport: what the cheapest call takes (s, median), and `transport_call` which it is; service: what one request
    after another takes (s, median), transport included. None where it couldn't be measured.
    slo: the limit; slo_assumed: the user gave neither a limit nor a rate. found: None without a search.
    rows: every load, in the order in which they were driven. stopped: why it ended early, "" if it didn't.
    folder: where the raw results lie.
    """

    url: str
    protocol: str
    connections: int
    local: bool
    samples: int
    transport: Estimate | None
    transport_call: str
    service: Estimate | None
    service_p99: Estimate | None
    slo: Slo | None
    slo_assumed: bool
    found: Found | None
    rows: tuple[Driven, ...]
    checked: Checked | None
    notes: tuple[str, ...]
    stopped: str
    interrupted: bool
    folder: str
    elapsed_s: float
    env_id: str

    def row(self, run_id: str) -> Driven:
        """One load by its id; KeyError if there is none."""
        for row in self.rows:
            if row.run_id == run_id:
                return row
        raise KeyError(run_id)

    @classmethod
    def load(cls, folder: Path) -> EndpointStudy | None:
        """What `accel bench --endpoint` left in a folder; None if it holds another study, or what can't be read."""
        try:
            return msgspec.json.decode((folder / FILE).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def to_json(self) -> bytes:
        """Everything as JSON with stable keys."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=1)

    def __str__(self) -> str:
        return "\n".join([*_head(self), "", *_table(self), *_foot(self)])


def _head(study: EndpointStudy) -> list[str]:
    lines = [f"{study.url}: {study.protocol}, {study.connections} connections, {study.samples} samples"]
    if study.service is not None:
        lines.append(
            f"One request after another (closed loop): p50 {shown(study.service)}, p99 {_or(study.service_p99)}"
        )
    if study.transport is not None:
        lines.append(f"  of that the way there: p50 {shown(study.transport)} ({study.transport_call})")
    if study.checked is not None:
        lines.append(f"Answers: {_answers(study.checked)}")
    if study.slo is not None:
        lines.append(f"Limit: {study.slo}{' (assumed: four times a single call)' if study.slo_assumed else ''}")
    return lines


def _answers(checked: Checked) -> str:
    parts = [f"{checked.asked} asked beforehand"]
    if checked.right is not None:
        parts.append(f"{checked.right} with the label as top class ({100 * checked.right / checked.asked:.3g} %)")
    if checked.largest is not None:
        parts.append(f"largest relative error against the expected outputs {checked.largest:.2g}")
    return ", ".join(parts)


_COLUMNS = ("load", "offered/s", "completed/s", "goodput/s", "p50", "p99", "validity")
_SHOWN = (0.5, 0.99)


def _table(study: EndpointStudy) -> list[str]:
    if not study.rows:
        return ["Nothing was driven."]
    limit = None if study.slo is None or study.slo.p in _SHOWN else study.slo.p
    head = _COLUMNS if limit is None else (*_COLUMNS[:-1], f"p{100 * limit:.6g}", _COLUMNS[-1])
    cells = [head, *(_cells(row, limit is not None) for row in study.rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head) - 1)]
    lines = []
    for line, row in zip(cells, (None, *study.rows), strict=True):
        first, *middle, last = line
        padded = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(middle, widths[1:], strict=True)), last]
        lines.append("  ".join(padded))
        lines += [f"    {said}" for said in ([] if row is None else _said(row))]
    return lines


def _cells(row: Driven, with_limit: bool) -> tuple[str, ...]:
    return (
        row.load if row.rate is None else f"{row.load} {row.rate:.4g}/s",
        _number(row.offered),
        _number(row.completed),
        _number(row.goodput),
        _latency(row, row.p50),
        _latency(row, row.p99),
        *([_end(row.slo_s).replace("?", "-")] if with_limit else []),
        row.validity,
    )


def _said(row: Driven) -> list[str]:
    """What stands under a row: why it isn't valid, which errors, what filled up."""
    lines = textwrap.wrap(row.reason, 100)
    if row.errors:
        kinds = ", ".join(f"{kind} {count} times" for kind, count in row.errors.items())
        lines.append(f"{row.unanswered} of {row.requests} without an answer; calls failed: {kinds}")
    elif row.unanswered:
        lines.append(f"{row.unanswered} of {row.requests} were never sent or never answered")
    if not row.keeps_up and row.rate is not None:
        lines.append("it doesn't keep up: the queue grew")
    if row.waited > 0.05 and row.rate is not None:
        lines.append(f"{100 * row.waited:.0f} % of the requests waited for a free connection")
    return lines


def _foot(study: EndpointStudy) -> list[str]:
    lines = [""]
    if study.found is not None:
        lines += _claim(study.found, study.slo)
    if study.rows:
        lines.append(
            "Latency from schedule: from when a request was due, whenever it could be sent. Closed loop: nobody"
        )
        lines.append("asks before an answer has come, so what a stall costs those who come meanwhile is not in it.")
    lines += [f"Note: {note}" for note in study.notes]
    if study.stopped:
        lines.append(f"Stopped: {study.stopped}")
    return [*lines, f"Raw results: {study.folder}"]


def _claim(found: Found, slo: Slo | None) -> list[str]:
    if found.claim <= 0:
        lines = [f"No rate was within {slo}."]
    else:
        ends = ", ".join("?" if end is None else f"{end:.4g}" for end in (found.low, found.high))
        lines = [f"{found.claim:.4g} requests/s within {slo} [{ends}]: {found.validity}"]
    return [*lines, *(f"  {flag}: {_SAID.get(flag, flag)}" for flag in found.flags)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _latency(row: Driven, estimate: Estimate | None) -> str:
    if estimate is not None:
        return shown(estimate)
    return "never" if row.requests and row.unanswered == row.requests else "-"


def _or(estimate: Estimate | None) -> str:
    return "- (too few)" if estimate is None else shown(estimate)


def shown(estimate: Estimate) -> str:
    """A time with its interval.

    >>> shown(Estimate(value=0.0123, low=0.012, high=None, n=9, unit="s", method="m"))
    '12.3 ms [12 ms, ?]'
    """
    ends = ", ".join(_end(end) for end in (estimate.low, estimate.high))
    return f"{units.show_seconds(estimate.value)} [{ends}]"


def _end(value: float | None) -> str:
    if value is None:
        return "?"
    return units.show_seconds(value) if math.isfinite(value) else "never"
