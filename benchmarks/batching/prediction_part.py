"""What BATCHING.md says about the simulator: how far it was off."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.batching import rows
from benchmarks.batching.shown import ends, percent, seconds, share, title

QUANTILE_OFF, CAPACITY_OFF, BUSY = 0.15, 0.10, 0.80


def predictions(found: Sequence[rows.Predictions]) -> list[str]:
    if not found:
        return []
    about = (
        "The simulator is fed the very arrivals and service times of each run. Wanted where the worker was busy at "
        f"most {percent(BUSY)} of the time: the quantile within {percent(QUANTILE_OFF)}, the crossing within "
        f"{percent(CAPACITY_OFF)} (from the service times of the trials; beside it what the curve alone had foretold)."
    )
    parts = ["## Does the simulator say so too?", about]
    for one in found:
        parts += [f"### {title(one)}", _held(one), "\n".join(_prediction_table(one))]
        if one.capacities:
            parts.append("\n".join(_capacity_table(one)))
    return parts


def off(measured: float | None, predicted: float | None) -> float:
    """By which share the prediction is off; inf where one of the two isn't finite, 0 where neither is.

    >>> round(off(2.0, 1.9), 3), off(None, None), off(1.0, None)
    (-0.05, 0.0, inf)
    """
    if measured is None or predicted is None:
        return 0.0 if measured is predicted else math.inf
    return predicted / measured - 1


def _held(one: rows.Predictions) -> str:
    able = [row for row in one.rows if row.busy <= BUSY and row.level == "valid"]
    within = sum(abs(off(row.measured_s, row.predicted_s)) <= QUANTILE_OFF for row in able)
    near = [c for c in one.capacities if c.busy <= BUSY and c.measured.value > 0]
    good = sum(abs(off(c.measured.value, c.predicted)) <= CAPACITY_OFF for c in near)
    crossings = f"; {good} of {len(near)} crossings within {percent(CAPACITY_OFF)}" if near else ""
    return (
        f"{within} of {len(able)} undisturbed runs with the worker busy at most {percent(BUSY)}: p{100 * one.p:g} "
        f"within {percent(QUANTILE_OFF)}{crossings}."
    )


def _prediction_table(one: rows.Predictions) -> list[str]:
    quantile = f"p{100 * one.p:g}"
    lines = [
        f"| policy | requests/s | busy | {quantile} measured | {quantile} predicted | off | requests |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in one.rows:
        level = "" if row.level == "valid" else f" ({row.level})"
        lines.append(
            f"| {row.policy} | {row.rate:.4g} | {percent(row.busy)} | {seconds(row.measured_s)} | "
            f"{seconds(row.predicted_s)} | {share(off(row.measured_s, row.predicted_s))}{level} | {row.n} |"
        )
    return lines


def _capacity_table(one: rows.Predictions) -> list[str]:
    lines = [
        "| policy | crossing measured | simulated | off | foretold by the curve | busy there |",
        "|---|---|---|---|---|---|",
    ]
    for row in one.capacities:
        measured = f"{row.measured.value:.4g} {ends(row.measured)}"
        lines.append(
            f"| {row.policy} | {measured} | {row.predicted:.4g} | "
            f"{share(off(row.measured.value or None, row.predicted))} | {row.beforehand:.4g} | {percent(row.busy)} |"
        )
    return lines
