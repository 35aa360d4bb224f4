"""How is a reading said in plain words? Ratios, rates, accuracy, how sure.

Numbers carry no more digits than their intervals allow (rule 47).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from accel.analysis import Estimate
from accel.analysis.conclusion import Comparison, Row, StudyRecord
from accel.result import Quality
from accel.units import show_rounded, show_seconds

_HOW = {
    "confirmation": "measured again afresh",
    "blocks": "measured in interleaved blocks",
    "screening": "a first impression from short runs",
    "none": "not measured",
}


def rounded(value: float, half: float) -> str:
    """At most two digits of the half-width, one where its leading digit is 2 or more; thousands apart.

    A wide interval still leaves each end its leading digit: `[30–400]` says more than `[0–400]`.

    >>> rounded(3.6123, 0.21), rounded(15873.2, 480.0), rounded(31.0, 300.0), rounded(1e-05, 0.0)
    ('3.6', '15,900', '31', '1e-05')
    """
    text = show_rounded(value, min(5 * half, 2.5 * abs(value)) if value else 5 * half)
    whole, dot, rest = text.partition(".")
    # Without a width, a tiny or huge value keeps its power of ten.
    return f"{int(whole):,}{dot}{rest}" if len(whole.lstrip("-")) > 3 and "e" not in text else text


def half_width(estimate: Estimate) -> float | None:
    """Half of the interval, or the known side where the other is open; None without an interval."""
    if not math.isfinite(estimate.value):
        return None
    ends = [abs(e - estimate.value) for e in (estimate.low, estimate.high) if e is not None and math.isfinite(e)]
    return max(ends, default=None)


def includes_zero(estimate: Estimate | None) -> bool:
    """True if the interval leaves the sign open."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return False
    return estimate.low <= 0 <= estimate.high


def listed(texts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`.

    >>> listed(["1", "2", "5"])
    '1, 2 and 5'
    """
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def with_ends(estimate: Estimate, unit: str) -> str:
    """`940 items/s [930–950]`; without an interval, `about 940 items/s`."""
    half = half_width(estimate)
    if not half:
        return f"about {rounded(estimate.value, 0.2 * abs(estimate.value))} {unit}"
    return f"{rounded(estimate.value, half)} {unit} [{ends(estimate)}]"


def ends(estimate: Estimate) -> str:
    """`3.4–3.8`; an open end is a question mark."""
    half = half_width(estimate)
    if not half:
        return "?"
    shown = [rounded(e, half) if e is not None and math.isfinite(e) else "?" for e in (estimate.low, estimate.high)]
    return "–".join(shown)


def times(estimate: Estimate) -> str:
    """`3.6×`."""
    half = half_width(estimate)
    return (
        f"{rounded(estimate.value, half)}×" if half else f"about {rounded(estimate.value, 0.2 * abs(estimate.value))}×"
    )


def inverted(ratio: Estimate) -> Estimate:
    """How many times slower: the reciprocal with its interval."""
    low, high = (None if end is None else 1 / end for end in (ratio.high, ratio.low))
    return Estimate(value=1 / ratio.value, low=low, high=high, n=ratio.n, unit=ratio.unit, method=ratio.method)


def percent(value: float) -> str:
    """A share or a change: `4 %`, `0.5 %`, `12 %`.

    >>> percent(0.04), percent(0.005), percent(0.123), percent(0.0999)
    ('4 %', '0.5 %', '12 %', '10 %')
    """
    return f"{100 * value:.1g} %" if abs(value) < 0.095 else f"{100 * value:.0f} %"


def points(value: float) -> str:
    """A difference of shares in percentage points: `0.2`."""
    return f"{100 * value:.2g}".replace("-", "−")


def slo(record: StudyRecord) -> str:
    """`p99 ≤ 20 ms`, `p90 ≤ 21 ms (assumed)`."""
    if record.slo_s is None:
        return "no latency limit"
    assumed = " (assumed)" if record.slo_assumed else ""
    return f"p{100 * record.slo_p:.6g} ≤ {show_seconds(record.slo_s)}{assumed}"


def how_sure(evidence: str, record: StudyRecord) -> str:
    """The evidence in words, and in `quick` what would prove it."""
    said = _HOW[evidence][0].upper() + _HOW[evidence][1:]
    if record.profile == "quick":
        return f"{said}; indicative: `--profile shared` proves it."
    return f"{said}."


def evidence(comparison: Comparison) -> str:
    """The evidence in words, as part of a sentence."""
    return _HOW[comparison.evidence]


def accuracy(quality: Quality | None) -> str:
    """What became of the accuracy, in full: values, interval, what would settle it."""
    if quality is None or quality.outcome == "unmeasured":
        return "its accuracy was not measured"
    if quality.synthetic:
        return "speed only: inputs are synthetic, accuracy unknown"
    if quality.random_weights:
        return "the weights are random, so there is no accuracy; the outputs passed the correctness check"
    unsettled = f"; about {quality.needed:,} samples would settle it" if quality.needed else ""
    if quality.drop is not None and quality.value is not None and quality.reference_value is not None:
        inside = "" if quality.low is None or quality.high is None else f" [{quality.low:.3f}–{quality.high:.3f}]"
        text = f"{quality.metric} {quality.value:.3f}{inside}, was {quality.reference_value:.3f}"
        if quality.outcome == "unresolved" and quality.drop_low is not None and quality.drop_high is not None:
            text += (
                f" (drop {points(quality.drop)} points, 95 %: {points(quality.drop_low)} to "
                f"{points(quality.drop_high)}{unsettled})"
            )
        return text
    if "agreement" in quality.rule and quality.agreement is not None:
        text = f"the same answer as the original on {100 * quality.agreement:.1f} % of {quality.samples} samples"
        if quality.outcome == "unresolved":
            text += f" (at least {100 * (quality.agreement_low or 0):.1f} %, 95 %{unsettled})"
        return text
    return f"its outputs lie {distance(quality)}"


def distance(quality: Quality) -> str:
    """How far the outputs lie from the reference's, in words."""
    if quality.sqnr_db is None:
        return "exactly where the original's do"
    return f"{quality.sqnr_db:.0f} dB from the original's"


def accuracy_short(quality: Quality | None) -> str:
    """The same in a few words, for a headline."""
    if quality is None or quality.outcome == "unmeasured":
        return "accuracy not measured"
    if quality.synthetic:
        return "accuracy unknown"
    if quality.random_weights:
        return "weights random"
    if quality.drop is not None and quality.value is not None and quality.reference_value is not None:
        holds_zero = quality.drop_low is not None and quality.drop_high is not None
        if quality.outcome == "passes" and holds_zero and (quality.drop_low or 0) <= 0 <= (quality.drop_high or 0):
            return f"{quality.metric} unchanged"
        doubt = ", not settled" if quality.outcome == "unresolved" else ""
        return f"{quality.metric} {quality.value:.3f} (was {quality.reference_value:.3f}{doubt})"
    if "agreement" in quality.rule and quality.agreement is not None:
        return f"{100 * quality.agreement:.1f} % same answers"
    return "outputs equal" if quality.sqnr_db is None else f"outputs within {quality.sqnr_db:.0f} dB"


def figures(row: Row, target: Literal["batch", "online"], record: StudyRecord) -> str:
    """What a row reaches in one target: `52 requests/s [49–54] at p99 ≤ 20 ms`, `63 items/s [61–65] at batch 8`."""
    if target == "batch" and row.throughput is not None:
        return f"{with_ends(row.throughput, 'items/s')} at batch {row.batch_size}"
    if target == "online" and row.online is not None:
        if row.online.rate.value <= 0:
            return f"no rate within {slo(record)}"
        predicted = " (indicative: the trials were short)" if row.online.predicted else ""
        return f"{with_ends(row.online.rate, 'requests/s')} at {slo(record)}{predicted}"
    if target == "online" and row.p50 is not None:
        scaled = Estimate(
            value=row.p50.value * 1e3,
            low=None if row.p50.low is None else row.p50.low * 1e3,
            high=None if row.p50.high is None else row.p50.high * 1e3,
            n=row.p50.n,
            unit="ms",
            method=row.p50.method,
        )
        return f"{with_ends(scaled, 'ms')} median latency, one request at a time"
    return "not measured"
