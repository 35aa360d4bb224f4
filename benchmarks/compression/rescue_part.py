"""What rescues made of real collapses: accuracy before and after, and how much of the time saved is left."""

from __future__ import annotations

from collections.abc import Sequence

from accel.analysis import Estimate
from accel.result import Quality
from benchmarks.compression import words
from benchmarks.compression.rescue import Row

_ABOUT = (
    "Each row asks for what falls apart, lets the rescue search on calibration and validation samples, and judges on "
    "samples that neither saw. *Time kept*: the share of what the failing form saves against the backend's float32 "
    "that the rescued form still saves, in the same blocks, with its 95 % interval; above 100 % it is faster than the "
    "failing form. Few blocks were run, so the intervals are wide."
)
_HEAD = ["model", "backend", "float32", "failing", "rescued", "samples", "what was changed"]
_TARGETS = {"latency": "time kept, one at a time", "batch": "time kept, in batches"}


def rescues(found: Sequence[Row]) -> list[str]:
    """One table over all cases; nothing without any."""
    if not found:
        return []
    body = [_row(one) for one in sorted(found, key=lambda one: one.case)]
    return ["## Rescues", _ABOUT, words.grid([*_HEAD, *_TARGETS.values()], body)]


def _row(one: Row) -> list[str]:
    fields = {} if one.rescue.chosen is None else one.rescue.chosen[-1].fields
    listed = {k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in fields.items()}
    changed = "; ".join(f"{k} = {v}" for k, v in listed.items()) or "nothing better was found"
    scored = [_scored(quality) for quality in (one.original, one.before, one.after)]
    kept = [_kept(one.kept.get(target)) for target in _TARGETS]
    return [one.model, one.backend, *scored, f"{one.evaluation:,}", changed, *kept]


def _scored(quality: Quality | None) -> str:
    if quality is None or quality.value is None:
        return ""
    return f"{quality.value:.3f} {quality.outcome}"


def _kept(share: Estimate | None) -> str:
    if share is None or share.low is None or share.high is None:
        return "not told"
    return f"{share.value:.0%} [{share.low:.0%}–{share.high:.0%}]"
