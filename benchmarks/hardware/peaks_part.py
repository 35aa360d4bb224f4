"""What HARDWARE.md says of the measured peaks: accel's rates beside second methods on the same machine."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.compression import words
from benchmarks.hardware.peaks import WITHIN, Report, agreed, ratios

_UNITS = {"fp32": "GFLOP/s", "bf16": "GFLOP/s", "int8": "GOP/s"}


def peaks(path: Path) -> list[str]:
    """A table of ratios, and what the machine has no second method of; nothing where there is no such file."""
    if not path.is_file():
        return []
    report = msgspec.json.decode(path.read_bytes(), type=Report)
    listed = ratios(report)
    if not listed:
        return []
    body = [
        [
            f"{one.what.replace('/', ', ')} thread{'s' * (not one.what.endswith('/1'))}",
            one.method,
            f"{one.accel / 1e9:.3g} {_UNITS.get(one.what.split('/')[0], 'GB/s')}",
            f"{one.value:.2f} [{one.low:.2f}–{one.high:.2f}]",
            "yes" if one.agrees else "**no**",
        ]
        for one in listed
    ]
    held = agreed(report)
    about = (
        f"accel's own measurement over each second method, in turns: the best of {len(report.rounds)} rounds of each; "
        "of main memory (ram), whose rate goes up and down with the neighbours on the host, the median of the rounds' "
        "ratios. In brackets the ratio with any one round left out. "
        f"Within {100 * WITHIN:.0f} % of at least one of them: "
        f"{sum(held.values())} of {len(held)}."
    )
    missing = "\n".join(f"- No {words.sentence(f'{name}: {why}')}" for name, why in report.missing.items())
    head = ["peak", "second method", "accel", "ratio", f"within {100 * WITHIN:.0f} %"]
    return ["## Peaks beside second methods", about, words.grid(head, body), missing]
