"""Was the speed bought with accuracy? The guard of design.md: passes, fails or unresolved by the 95 % interval.

With labels the drop of the task metric decides; without, agreement with the reference's classes; else how far the
outputs lie from the reference's (SQNR). Random weights and synthetic inputs know no accuracy: there the distance is a
correctness check and is called so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from accel.analysis import outputs as outs
from accel.analysis.metrics import Metric, Scored
from accel.analysis.metrics import score as score_metric
from accel.analysis.percentiles import interval_ranks, quantile_interval
from accel.analysis.proportions import clopper_pearson, samples_needed
from accel.result import Quality

LEAST_AGREEMENT = 0.99
LEAST_SQNR_DB = 20.0
LARGEST_ERROR = 0.1
"""Median relative error above which an uncompressed variant is wrong; the same distance as 20 dB."""

PROBE = "a pruned model must be fine-tuned to win"
"""The rule of a speed probe: a variant from which something was removed and that nothing trained afterwards."""

Outcome = Literal["passes", "fails", "unresolved"]


def wrong(candidate: outs.Rows, reference: outs.Rows, *, compressed: bool) -> str | None:
    """Why the outputs are plainly wrong, or None; looked at before anything is timed.

    Names, counts, shapes and kinds of numbers must match, and every number must be finite. Without compression the
    same arithmetic was promised, so a median relative error above 0.1 is wrong too; what compression costs is for
    `score` to judge.
    """
    reason = outs.mismatch(candidate, reference)
    if reason:
        return reason
    bad = outs.not_finite(candidate) - outs.not_finite(reference)
    if bad > 0:
        return f"{bad} numbers in the outputs are NaN or infinite, where the reference's are finite"
    if compressed:
        return None
    for name, rows in reference.items():
        pairs = [(r, outs.cut(y, r)) for y, r in zip(candidate[name], rows, strict=True)]
        if not outs.is_float(rows):
            differing = float(np.mean([np.mean(r != y) for r, y in pairs]))
            if differing > LARGEST_ERROR:
                return f"{differing:.0%} of the output `{name}` differs from the reference".replace("%", " %")
            continue
        error = float(np.median([outs.relative_error(r, y) for r, y in pairs]))
        if not error <= LARGEST_ERROR:
            return f"the output `{name}` differs from the reference: median relative error {error:.2g} (limit 0.1)"
    return None


def score(
    candidate: Mapping[str, Sequence[Any]],
    reference: Mapping[str, Sequence[Any]],
    labels: Any,
    metric: Metric,
    *,
    accuracy_drop: float,
    random_weights: bool = False,
    synthetic: bool = False,
) -> Quality:
    """Judge outputs of the same samples in the same order; raises InputError if the metric doesn't suit them.

    candidate, reference: named lists of rows, one a sample. labels: (n, ...) or None. accuracy_drop: a fraction.
    """
    facts: dict[str, Any] = {
        "samples": len(next(iter(reference.values()), [])),
        "synthetic": synthetic,
        "random_weights": random_weights,
    }
    reason = outs.mismatch(candidate, reference)
    if reason or facts["samples"] == 0:
        return Quality(outcome="fails", rule="outputs must match", reason=reason or "there are no samples", **facts)
    facts["not_finite"] = outs.not_finite(candidate)
    if facts["not_finite"] > outs.not_finite(reference):
        said = f"{facts['not_finite']} numbers in the outputs are NaN or infinite"
        return Quality(outcome="fails", rule="outputs must be finite", reason=said, **facts)
    distances = outs.Distances(candidate, reference)
    facts |= _measured(distances)
    same = outs.identical(candidate, reference)
    if random_weights or synthetic:
        return _by_sqnr(distances, facts, same, note=" (a correctness check: there is no accuracy to keep)")
    facts |= _agreement(candidate, reference)
    if metric is not None and (labels is not None or metric == "cosine" or callable(metric)):
        return _by_metric(score_metric(metric, candidate, reference, labels), accuracy_drop, facts, same)
    if labels is not None and outs.answers(reference) is not None:
        return _by_metric(score_metric("accuracy", candidate, reference, labels), accuracy_drop, facts, same)
    classes = outs.answers(reference)
    if classes is not None and not outs.one_sided(classes):
        return _by_agreement(facts, same)
    return _by_sqnr(distances, facts, same)


def may_win(quality: Quality, accuracy_drop: float) -> bool:
    """True if it passes, or is unresolved with a point estimate within the limit."""
    if quality.outcome == "unresolved":
        return within_limit(quality, accuracy_drop)
    return quality.outcome == "passes"


def as_probe(quality: Quality) -> Quality:
    """The same figures for a speed probe: it is timed, and whatever they are it can't win.

    What pruning leaves right by chance on a few hundred samples is no evidence that it will stay right.
    """
    reason = "a speed probe: nothing tuned the model after it was pruned, so it is timed but can't win"
    return msgspec.structs.replace(quality, outcome="fails", rule=PROBE, reason=reason, needed=None)


def is_probe(quality: Quality | None) -> bool:
    """True if the variant was judged as a speed probe."""
    return quality is not None and quality.rule == PROBE


def within_limit(quality: Quality, accuracy_drop: float) -> bool:
    """True if the point estimate is within the guard's limit, so that an unresolved variant may win."""
    if quality.drop is not None:
        return quality.drop <= accuracy_drop
    if "agreement" in quality.rule and quality.agreement is not None:
        return quality.agreement >= LEAST_AGREEMENT
    return quality.sqnr_db is None or quality.sqnr_db >= LEAST_SQNR_DB


def _measured(distances: outs.Distances) -> dict[str, Any]:
    """Distances as fields of Quality; an infinite SQNR (equal) is null there, beside a max_abs_error of 0."""
    known = distances.cosine[~np.isnan(distances.cosine)]
    ordered = np.sort(distances.sqnr_db)
    n = len(ordered)
    return {
        "sqnr_db": _finite(float(ordered[math.ceil(n / 2) - 1])),
        "sqnr_p1_db": _finite(float(ordered[max(1, math.ceil(n / 100)) - 1])),
        "sqnr_min_db": _finite(float(ordered[0])),
        "cosine": float(np.median(known)) if known.size else None,
        "cosine_min": float(known.min()) if known.size else None,
        "max_abs_error": distances.max_abs_error,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _agreement(candidate: outs.Rows, reference: outs.Rows) -> dict[str, Any]:
    ours, theirs = outs.answers(candidate), outs.answers(reference)
    if ours is None or theirs is None:
        return {}
    agreed = int(np.count_nonzero(ours == theirs))
    low, high = clopper_pearson(agreed, len(theirs))
    return {"agreement": agreed / len(theirs), "agreement_low": low, "agreement_high": high}


def _outcome(settled_good: bool, settled_bad: bool) -> Outcome:
    return "passes" if settled_good else "fails" if settled_bad else "unresolved"


def _by_metric(scored: Scored, limit: float, facts: dict[str, Any], same: bool) -> Quality:
    low, high = scored.drop_ends
    outcome = _outcome(same or high <= limit, low > limit)
    ends: dict[str, Any] = {"low": scored.ends[0], "high": scored.ends[1], "drop_low": low, "drop_high": high}
    facts = facts | {k: _finite(v) for k, v in ends.items()}
    quality = Quality(
        outcome=outcome,
        rule=f"{scored.name} may drop by at most {_points(limit)}",
        metric=scored.name,
        value=scored.value,
        reference_value=scored.reference,
        drop=scored.drop,
        needed=scored.needed(limit) if outcome == "unresolved" else None,
        **facts,
    )
    return _explained(quality, same, f"{scored.name} fell from {scored.reference:.3g} to {scored.value:.3g}")


def _by_agreement(facts: dict[str, Any], same: bool) -> Quality:
    n, share = facts["samples"], facts["agreement"]
    low, high = facts["agreement_low"], facts["agreement_high"]
    outcome = _outcome(same or low >= LEAST_AGREEMENT, high < LEAST_AGREEMENT)

    def settles(samples: float) -> bool:
        ends = clopper_pearson(share * samples, samples)
        return ends[0] >= LEAST_AGREEMENT or ends[1] < LEAST_AGREEMENT

    quality = Quality(
        outcome=outcome,
        rule="top-1 agreement with the reference of at least 99 %",
        needed=samples_needed(n, settles) if outcome == "unresolved" else None,
        **facts,
    )
    said = f"only {share:.1%} of the answers agree with the reference's".replace("%", " %")
    return _explained(quality, same, said)


def _by_sqnr(distances: outs.Distances, facts: dict[str, Any], same: bool, note: str = "") -> Quality:
    values = distances.sqnr_db
    low, high = quantile_interval(values, 0.5)
    outcome = _outcome(same or (low is not None and low >= LEAST_SQNR_DB), high is not None and high < LEAST_SQNR_DB)
    n = facts["samples"]
    quality = Quality(
        outcome=outcome,
        rule=f"median SQNR of at least 20 dB{note}",
        needed=_median_needed(values, n) if outcome == "unresolved" else None,
        **facts,
    )
    median = facts["sqnr_db"]
    said = f"the outputs are {'-inf' if median is None else f'{median:.1f}'} dB from the reference's, less than 20 dB"
    return _explained(quality, same, said)


def _median_needed(values: outs.Float, n: int) -> int | None:
    above = float(np.mean(values >= LEAST_SQNR_DB))

    def settles(samples: float) -> bool:
        low, high = interval_ranks(int(samples), 0.5)
        below = (1 - above) * samples
        return (low is not None and low > below) or (high is not None and high <= below)

    return samples_needed(n, settles)


def _explained(quality: Quality, same: bool, failing: str) -> Quality:
    reason = quality.reason
    if same:
        reason = "the outputs are identical to the reference's"
    elif quality.outcome == "fails":
        reason = failing
    elif quality.outcome == "unresolved" and quality.needed is not None:
        reason = f"{quality.samples} samples can't settle it; about {quality.needed:,} would"
    elif quality.outcome == "unresolved":
        reason = f"{quality.samples} samples can't settle it, and the value lies on the limit"
    return msgspec.structs.replace(quality, reason=reason)


def _points(limit: float) -> str:
    return f"{limit * 100:g} percentage point{'' if limit == 0.01 else 's'}"
