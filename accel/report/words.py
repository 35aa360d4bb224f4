"""How a number with its interval is written for a person; the page and the text table both ask here.

A number whose interval is unknown is not written at all (rule 47), and no more digits than the interval carries.
"""

from __future__ import annotations

import datetime
import math
import shlex
from itertools import pairwise
from typing import Literal

from accel.analysis import Estimate
from accel.analysis.conclusion import Comparison, Conclusion, Online, Pareto, Row, StudyRecord
from accel.analysis.guard import is_probe
from accel.analysis.policy import said
from accel.analysis.wording import half_width as half_width
from accel.analysis.wording import rounded as rounded
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Quality
from accel.units import show_bytes, show_seconds

NOTHING = "–"
FLAGS = {
    "unconfirmed": "unconfirmed: fresh trials there were above the limit",
    "nonmonotone": "nonmonotone: a lower rate was slower",
    "generator_limited": "no higher rate could be offered",
    "indicative": "indicative: trials too short for this percentile",
    "bracket": "a bracket, no fit",
}
"""What must be said beside a rate within the SLO, by the word in `Online.flags`."""
_DAY = "%-d %b %Y"


def value_of(estimate: Estimate | None, scale: float = 1.0) -> str:
    """The number alone, rounded by its interval; a dash if it has none."""
    half = None if estimate is None else half_width(estimate)
    if estimate is None or half is None:
        return NOTHING
    return _shown(estimate.value / scale, half / scale)


def _shown(value: float, half: float) -> str:
    """Rounded by its interval; what would become nothing but zeros keeps two digits.

    >>> _shown(0.0000141, 0.000005), _shown(0.0, 1e-9)
    ('1.4e-05', '0.0000')
    """
    text = rounded(value, half)
    return text if not value or float(text.replace(",", "")) else f"{value:.2g}"


def ends_of(estimate: Estimate | None, scale: float = 1.0, *, short: bool = False) -> str:
    """The interval alone, such as `7.1–7.8`; an open end is written `?`. short: at most three digits."""
    half = None if estimate is None else half_width(estimate)
    if estimate is None or half is None:
        return ""
    half = max(half, 0.02 * abs(estimate.value)) if short else half
    low, high = (
        _shown(end / scale, half / scale) if end is not None and math.isfinite(end) else "?"
        for end in (estimate.low, estimate.high)
    )
    return f"{low}–{high}"


def doubt(estimate: Estimate | None) -> str:
    """What must be said beside a number that isn't valid: "unstable", "invalid" or nothing."""
    return "" if estimate is None or estimate.validity == "valid" else estimate.validity


def with_interval(estimate: Estimate | None, scale: float = 1.0, unit: str = "") -> str:
    """`7.4 [7.1–7.8] ms`, or a dash."""
    text = value_of(estimate, scale)
    if text == NOTHING:
        return text
    return " ".join(filter(None, (f"{text} [{ends_of(estimate, scale)}]", unit, doubt(estimate))))


def times(comparison: Comparison | None) -> str:
    """`3.6×`, or a dash."""
    text = NOTHING if comparison is None else value_of(comparison.ratio)
    return text if text == NOTHING else f"{text}×"


def latency_scale(largest_s: float) -> tuple[float, str]:
    """A divisor and unit that suit latencies up to `largest_s` seconds.

    >>> latency_scale(0.012), latency_scale(4e-5), latency_scale(30.0)
    ((0.001, 'ms'), (1e-06, 'µs'), (1.0, 's'))
    """
    if largest_s >= 10:
        return 1.0, "s"
    return (1e-3, "ms") if largest_s >= 2e-4 else (1e-6, "µs")


def scale_of(rows: tuple[Row, ...]) -> tuple[float, str]:
    """One unit for every latency of a study, chosen by its largest."""
    known = [e.value for r in rows for e in (r.p50, r.p90, r.p99) if e is not None and math.isfinite(e.value)]
    return latency_scale(max(known, default=0.001))


def share(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval: `0.983 [0.972–0.991]`."""
    if value is None:
        return NOTHING
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}–{high:.3f}]"


def accuracy(quality: Quality | None, *, interval: bool = True) -> str:
    """The strongest thing known about the outputs: the metric, else agreement, else the signal-to-noise ratio."""
    if quality is None:
        return NOTHING
    if quality.value is not None and not quality.synthetic:
        text = share(quality.value, quality.low, quality.high)
    elif quality.agreement is not None and not (quality.synthetic or quality.random_weights):
        text = share(quality.agreement, quality.agreement_low, quality.agreement_high)
    elif quality.sqnr_db is not None:
        return f"{quality.sqnr_db:.0f} dB" if math.isfinite(quality.sqnr_db) else "equal"
    else:
        return "unknown"
    return text if interval else text.partition(" ")[0]


def guard_word(quality: Quality) -> str:
    """The guard's word; unresolved says how many samples would settle it.

    >>> guard_word(Quality(outcome="unresolved", rule="", samples=90, needed=2300))
    'unresolved (2,300 samples needed)'
    """
    return f"unresolved ({settled_by(quality)})" if quality.outcome == "unresolved" else quality.outcome


def settled_by(quality: Quality) -> str:
    """What would settle an unresolved outcome."""
    return f"{quality.needed:,} samples needed" if quality.needed else "the value lies on the limit"


def accuracy_word(quality: Quality | None) -> str:
    """What `accuracy` shows, in words."""
    if quality is None:
        return "accuracy"
    if quality.value is not None and not quality.synthetic:
        return quality.metric or "accuracy"
    if quality.agreement is not None and not (quality.synthetic or quality.random_weights):
        return "agreement with the reference"
    return "correctness (SQNR)" if quality.sqnr_db is not None else "accuracy"


def percent(value: float) -> str:
    """A small share as per cent: `4 %`.

    >>> percent(0.041), percent(0.005)
    ('4 %', '0.5 %')
    """
    return f"{100 * value:.1g} %" if value < 0.1 else f"{100 * value:.2g} %"


def extra_step(reason: str, next_step: str) -> str:
    """The next step, unless the reason says it already."""
    return "" if next_step and next_step in reason else next_step


def sentence(what: str, why: str) -> str:
    """A finding in one line: `what` and `why` joined by a colon, or by nothing where `what` is a whole sentence.

    >>> sentence("It is wrong.", "See below."), sentence("It is wrong", "see below.")
    ('It is wrong. See below.', 'It is wrong: see below.')
    """
    return f"{what} {why}" if what[-1:] in ".!?" else f"{what}: {why}"


def points(part: float) -> str:
    """A share as percentage points.

    >>> points(0.01), points(0.005)
    ('1 percentage point', '0.5 percentage points')
    """
    count = f"{100 * part:g}"
    return f"{count} percentage point{'' if count == '1' else 's'}"


def slo(record: StudyRecord) -> str:
    """`p99 ≤ 20 ms`, with `(assumed)` where nobody asked for it."""
    if record.slo_s is None:
        return ""
    return f"{slo_percentile(record)} ≤ {show_seconds(record.slo_s)}" + (" (assumed)" if record.slo_assumed else "")


def slo_percentile(record: StudyRecord) -> str:
    """`p99`, `p99.9`: the percentile the SLO speaks of."""
    return percentile(record.slo_p)


def percentile(p: float) -> str:
    """A quantile as a percentile.

    >>> percentile(0.99), percentile(0.999)
    ('p99', 'p99.9')
    """
    return f"p{100 * p:.6g}"


def day(unix_ns: int) -> str:
    """The date in UTC: `22 Nov 2026`; a report must not depend on where it is made."""
    return _utc(unix_ns).strftime(_DAY)


def moment(unix_ns: int) -> str:
    """Date and time in UTC, to the minute."""
    return _utc(unix_ns).strftime(_DAY + ", %H:%M UTC")


def _utc(unix_ns: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(unix_ns // 1_000_000_000, tz=datetime.UTC)


def machine(record: StudyRecord) -> str:
    """`2 × AMD EPYC 9R14`: cores this study could use and the processor."""
    return f"{record.machine.cores} × {record.machine.cpu}"


def what_it_is(variant: Variant) -> str:
    """A variant in one line: compressions in their order, backend, batching."""
    parts = [*map(str, variant.compression), str(variant.backend)]
    if variant.batching is not None:
        parts.append(policy(variant.batching))
    if variant.instances > 1:
        where = {"threads": ", an engine each", "processes": ", a process each"}.get(variant.placement, "")
        parts.append(f"{variant.instances} instances{where}")
    return " → ".join(parts)


def policy(given: Named | str) -> str:
    """A batching policy as one says it.

    >>> policy("dynamic(max_size=16)"), policy("single")
    ('dynamic batches of up to 16', 'one request at a time')
    """
    return said(given)


def bytes_or_dash(count: int | None) -> str:
    """`23 MB`, or a dash."""
    return NOTHING if count is None else show_bytes(count)


def flags(online: Online) -> tuple[str, ...]:
    """The words that must stand beside a rate, those of studies made before there were flags included."""
    older = ("indicative",) if online.predicted and "indicative" not in online.flags else ()
    slow = ("doesn't keep up",) if online.keeps_up is False else ()
    return (*online.flags, *older, *slow)


def seconds_or_dash(value: float | None) -> str:
    """`2.4 s`, or a dash."""
    return NOTHING if value is None else show_seconds(value)


def million(throughput: Estimate | None) -> str:
    """How long a million items take: `4 h 25 min`."""
    if throughput is None or half_width(throughput) is None or throughput.value <= 0:
        return NOTHING
    return show_seconds(1e6 / throughput.value)


def instance_seconds(throughput: Estimate | None) -> str:
    """What a million items cost in seconds of this machine, with its interval; prices are the reader's."""
    return _with_ends(_per_million(throughput, 1.0))


def price(throughput: Estimate | None, price_per_h: float) -> str:
    """What a million items cost at a price an hour, with its interval."""
    return _with_ends(_per_million(throughput, price_per_h / 3600))


def _per_million(throughput: Estimate | None, second: float) -> Estimate | None:
    """Seconds of a million items, each at a price; None without an interval."""
    if throughput is None or half_width(throughput) is None or throughput.value <= 0:
        return None
    low, high = (1e6 * second / end if end else None for end in (throughput.high, throughput.low))
    value = 1e6 * second / throughput.value
    return Estimate(value=value, low=low, high=high, n=throughput.n, unit="", method="")


def _with_ends(estimate: Estimate | None) -> str:
    return NOTHING if estimate is None else f"{value_of(estimate)} [{ends_of(estimate)}]"


def verdicts(row: Row) -> tuple[tuple[Literal["latency", "batch", "online"], Comparison], ...]:
    """The comparisons a row has, named."""
    found = (("latency", row.speedup_latency), ("batch", row.speedup_batch), ("online", row.speedup_online))
    return tuple((name, c) for name, c in found if c is not None)  # type: ignore[misc]


def status_word(row: Row) -> str:
    """One word for a row: what went wrong, or the verdict; several verdicts are named one by one."""
    if row.status == "refused" and is_probe(row.quality):
        return "SPEED PROBE"
    if row.status != "ok":
        return row.status.upper()
    if row.is_baseline:
        return "baseline"
    found = verdicts(row)
    if len({c.verdict for _, c in found}) == 1:
        return found[0][1].verdict
    return ", ".join(f"{name} {c.verdict}" for name, c in found) or "not compared"


def study_folder(record: StudyRecord) -> str:
    """Where the study lies, as its own command says; the report's own folder where it doesn't."""
    try:
        words = shlex.split(record.command)
    except ValueError:
        return "."
    for here, following in pairwise([*words, ""]):
        if here in ("--out", "-o") and following:
            return following
        if here.startswith("--out="):
            return here.removeprefix("--out=")
    return "."


def front(found: Pareto) -> str:
    """The Pareto set in one sentence."""
    axes = ", ".join(found.axes)
    return f"Not beaten in everything at once ({axes}): {', '.join(found.names)}."


def code(conclusion: Conclusion, target: Literal["batch", "online", "memory"]) -> str:
    """Three lines of Python that load a winner."""
    folder = study_folder(conclusion.record).replace("\\", "\\\\").replace('"', '\\"')
    return f'import accel\nstudy = accel.open_study("{folder}")\nmodel = study.best("{target}").load()'
