"""What is to be said of the study as a whole: its inputs, its limit, what its budget did not buy, energy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from accel.analysis import wording as words
from accel.analysis.conclusion import Finding
from accel.analysis.findings.seen import Seen, again, resumed
from accel.units import show_seconds

_ALWAYS_SAID = 3
"""How many of the things that weren't bought are named; the page lists them all."""


def _inputs(seen: Seen) -> Iterator[Finding]:
    record = seen.record
    if record.synthetic:
        yield Finding(
            what="Speed only: the inputs are synthetic, so the accuracy is unknown.",
            why="Made-up inputs can't show what quantization breaks, and data changes speed too.",
            command=again(record, "--samples YOUR.npz"),
            weight=90,
        )
    if record.source.random_weights:
        yield Finding(
            what="The weights are random: speed and correctness can be read, accuracy can't.",
            why="Outputs of an untrained model have no accuracy to lose.",
            weight=85,
        )
    if record.slo_assumed and record.slo_s is not None and record.target in ("online", "both"):
        yield Finding(
            what=f"Nobody gave a latency limit; {words.slo(record)} was used.",
            why="It is four times the original's median latency. The online answer depends on it.",
            command=again(record, "--slo p99=20ms"),
            weight=48,
        )


def _budget(seen: Seen) -> Iterator[Finding]:
    """Blocks and confirmations decide how sure the answer is; a variant that was never tried may be the better one."""
    cut = seen.record.not_bought
    if not cut:
        return
    enough_s = 60 * max(1, round(2 * seen.record.budget_s / 60))
    rest = f", and {len(cut) - _ALWAYS_SAID} more" if len(cut) > _ALWAYS_SAID else ""
    yield Finding(
        what=f"The budget of {show_seconds(seen.record.budget_s)} did not buy everything: "
        f"{'; '.join(cut[:_ALWAYS_SAID])}{rest}.",
        why="What is missing makes intervals wider, or leaves a variant untried that might be faster.",
        command=resumed(seen.record, f"--budget {enough_s}s"),
        weight=57 if any("block" in text for text in cut) else 42,
    )


def _energy(seen: Seen) -> Iterator[Finding]:
    """Joules a request, where counters exist; speed and energy needn't go together."""
    used: dict[str, list[float]] = {}
    for result in seen.results:
        if result.energy is not None and result.energy.joules_per_request and result.target == "batch":
            used.setdefault(result.variant.name, []).append(result.energy.joules_per_request)
    base = used.get(seen.record.baseline)
    for name in seen.winners:
        if base is None or name not in used:
            continue
        ratio = float(np.median(used[name]) / np.median(base))
        if ratio > 1.05:
            yield Finding(
                what=f"`{name}` needs {words.percent(ratio - 1)} more energy for an item than the original.",
                why="It is faster, but draws more power; where energy is what costs, the original may be cheaper.",
                weight=44,
            )


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (_inputs, _budget, _energy)
