"""What BATCHING.md says about buckets."""

from __future__ import annotations

from collections.abc import Sequence

from accel.analysis.policy import said
from benchmarks.batching import rows
from benchmarks.batching.shown import times, title

TIMES = 1.5


def bucketed(found: Sequence[rows.Bucketed]) -> list[str]:
    parts = ["## Buckets"] if found else []
    for one in found:
        low, median, high = one.lengths
        parts += [
            f"### {title(one)}",
            f"A batch job over {one.items} real sentences of {low} to {high} tokens (median {median}): {one.texts}. "
            "All ways run the same sentences in the same order, by turns in one process.",
            "\n".join(_ways(one)),
            _gain(one),
        ]
    return parts


def _ways(one: rows.Bucketed) -> list[str]:
    lines = [
        "| way | items/s (range of blocks) | tokens computed per token there | times as many with buckets |",
        "|---|---|---|---|",
    ]
    for way, batching in one.batching.items():
        rates = sorted(one.rates[way])
        middle = rates[len(rates) // 2]
        gain = times(one.ratios[way]) if way in one.ratios else ""
        lines.append(
            f"| {way}: {said(batching)} | {middle:.4g} ({rates[0]:.4g} to {rates[-1]:.4g}) | {one.padding[way]:.3g} | "
            f"{gain} |"
        )
    return lines


def _gain(one: rows.Bucketed) -> str:
    ratio = one.ratios["fixed, same size"]
    holds = "holds" if ratio.value >= TIMES else "doesn't hold"
    same = (
        f"All {one.checked} checked answers are the reference's within {one.tolerance:.2g}."
        if not one.mismatched
        else f"{one.mismatched} of {one.checked} checked answers are over {one.tolerance:.2g} from the reference's."
    )
    against = f"Against padding to the longest in batches of the same size: {times(ratio)}"
    return f"{against}; {TIMES:g} was wanted and {holds}. {same}"
