"""How the stall experiment of `accel doctor --prove` reads on a screen: a table, two lines, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import wrap

from accel.checkup.freeze import Freeze, Proof, View
from accel.units import show_seconds

_WIDTH = 79
_BLOCKS, _ASCII = " ▁▂▃▄▅▆▇█", " .:-=+*#@"


def lines(proof: Proof, *, unicode: bool = True) -> list[str]:
    """The whole answer, at most 80 columns wide. unicode: False draws with ASCII only."""
    freeze, closed, schedule = proof.freeze, proof.closed, proof.schedule
    off = f"{abs(schedule.p99_s / proof.theory_p99_s - 1):.1%}".replace("%", " %")
    service, stall, lasts = (show_seconds(v) for v in (freeze.service_s, freeze.stall_s, freeze.duration_s))
    return [
        *wrap(
            f"An engine that answers in {service}, {freeze.rate:g} requests per second for {lasts}, frozen once for "
            f"{stall}. One run each, on this machine, now:",
            _WIDTH,
        ),
        "",
        _row("", ("requests", "p50", "p90", "p95", "p99", "max")),
        _seen(closed),
        _seen(schedule),
        _row("theory", ("", *(show_seconds(freeze.quantile_s(p)) for p in (0.5, 0.9, 0.95, 0.99, 1.0)))),
        "",
        "Worst latency over the run, logarithmic (blank: nobody asked)",
        f"  {closed.what:<14}{_drawn(closed.line, freeze, unicode)}",
        f"  {schedule.what:<14}{_drawn(schedule.line, freeze, unicode)}",
        "",
        f"The closed loop says p99 = {show_seconds(closed.p99_s)}; your users waited {show_seconds(schedule.p99_s)}.",
        f"Theory says {show_seconds(proof.theory_p99_s)}: measured {off} off.",
        "",
        *wrap(
            "What it means: a client that waits for its answer sends nothing while the server stands still. Of its "
            f"{closed.requests:,} requests {closed.waited:,} took more than {show_seconds(10 * freeze.service_s)}; of "
            f"the {schedule.requests:,} of users, who come by themselves, {schedule.waited:,} did. So accel times "
            "online requests from when they were due, and prints a closed loop's latencies only under that name.",
            _WIDTH,
        ),
    ]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"  {name:<14}" + "".join(f"{cell:>10}" for cell in cells)


def _seen(view: View) -> str:
    figures = (view.p50_s, view.p90_s, view.p95_s, view.p99_s, view.max_s)
    return _row(view.what, (f"{view.requests:,}", *(show_seconds(v) for v in figures)))


def _drawn(worst: Sequence[float], freeze: Freeze, unicode: bool) -> str:
    """One character a sixtieth of the run; the height is logarithmic from D to the length of the freeze."""
    marks = _BLOCKS if unicode else _ASCII
    span = math.log(freeze.stall_s / freeze.service_s)
    heights = [0 if v <= 0 else 1 + round((len(marks) - 2) * math.log(v / freeze.service_s) / span) for v in worst]
    return "".join(marks[min(max(h, 1 if v > 0 else 0), len(marks) - 1)] for h, v in zip(heights, worst, strict=True))
