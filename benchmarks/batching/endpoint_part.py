"""What BATCHING.md says about endpoints: HTTP beside the engine in process, and a freeze as two tools see it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from accel.units import show_seconds


def endpoint(path: Path) -> list[str]:
    """The file that `benchmarks.batching.endpoint` wrote; nothing where it wasn't run."""
    if not path.is_file():
        return []
    data: Any = msgspec.json.decode(path.read_bytes())
    return ["## Any endpoint", *_agreement(data["agreement"]), *_freeze(data["freeze"])]


def _agreement(found: Sequence[Mapping[str, Any]]) -> list[str]:
    about = (
        "A small server of known service time, driven by `accel bench --endpoint` and in process by turns: p99 over "
        "HTTP, in process, the measured way there, and what is left of the difference with its 95 % interval."
    )
    lines = [
        "| requests/s | p99 over HTTP | p99 in process | the way there, p50 | the rest | trials |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        rest = [f"{1e6 * one['rest_s'][end]:.0f}" for end in ("mean", "low", "high")]
        cells = [
            f"{one['rate']:g}",
            show_seconds(statistics.mean(one["http_p99_s"])),
            show_seconds(statistics.mean(one["inside_p99_s"])),
            show_seconds(one["transport_p50_s"]),
            f"{rest[0]} µs [{rest[1]}, {rest[2]}]",
            str(len(one["http_p99_s"])),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [about, "\n".join(lines)]


def _freeze(found: Mapping[str, Any]) -> list[str]:
    theory = show_seconds(found["theory_p99_s"])
    about = (
        "The same server frozen once: latency from schedule, and as a closed-loop tool sees it, which asks nothing "
        f"while it waits. By theory p99 from schedule is {theory}."
    )
    views = {name: view for name, view in found.items() if isinstance(view, dict)}
    words = list(dict.fromkeys(word for view in views.values() for word in view))
    lines = [f"| view | {' | '.join(words)} |", "|---|" + "---|" * len(words)]
    lines += [f"| {name} | {' | '.join(show_seconds(view[w]) for w in words)} |" for name, view in views.items()]
    return [about, "\n".join(lines)]
