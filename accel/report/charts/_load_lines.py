"""The lines of a load curve: which points belong to one, where it is only simulated, and how its points are marked."""

from __future__ import annotations

import itertools
from typing import Any

from accel.analysis.load_curve import LoadPoint
from accel.report.charts._draw import data
from accel.report.charts._theme import PAPER, short

SIMULATED, MEASURED = "simulated", "measured"
_FIRST = ("single", "early_commit", "window", "dynamic", "bucketed")


def series(points: list[LoadPoint]) -> dict[str, list[LoadPoint]]:
    """Name -> points of one variant and policy, by rate; measured and simulated ones may follow each other."""
    variants = {p.variant for p in points}
    found: dict[str, list[LoadPoint]] = {}
    for p in sorted(points, key=lambda p: (*_rank(p), p.rate)):
        found.setdefault(policy_of(p) if len(variants) == 1 else f"{p.variant}: {policy_of(p)}", []).append(p)
    return found


def _rank(point: LoadPoint) -> tuple[int, str, str]:
    name = point.policy.name
    return _FIRST.index(name) if name in _FIRST else len(_FIRST), policy_of(point), point.variant


def policy_of(point: LoadPoint) -> str:
    """The policy as the legend names it."""
    copies = f", {point.instances} instances" if point.instances > 1 else ""
    return short(point.label) + copies


def origin(point: LoadPoint) -> str:
    """`simulated` or `measured`."""
    return SIMULATED if point.simulated else MEASURED


def in_doubt(point: LoadPoint) -> bool:
    """True for a measured point that is unstable or holds too few requests for its percentile."""
    return not point.simulated and (point.level != "valid" or not point.carried)


def pieces(values: list[dict[str, Any]]) -> list[tuple[bool, list[dict[str, Any]]]]:
    """A line cut where it changes: (is it simulated, its points); a stretch with a simulated end is simulated."""
    found: list[tuple[bool, list[dict[str, Any]]]] = []
    for before, after in itertools.pairwise(values):
        guessed = SIMULATED in (before["how"], after["how"])
        if found and found[-1][0] == guessed:
            found[-1][1].append(after)
        else:
            found.append((guessed, [before, after]))
    return found


def dots(values: list[dict[str, Any]], opacity: float) -> list[Any]:
    """Marks by kind: filled where it counts, hollow where it is in doubt, small where it is simulated."""
    kinds = ((MEASURED, False), (MEASURED, True), (SIMULATED, False))
    found = []
    for how, hollow in kinds:
        some = [v for v in values if v["how"] == how and v["hollow"] is hollow and not v["beyond"]]
        mark = {"filled": False, "fill": PAPER, "strokeWidth": 1.7} if hollow else {"filled": True}
        if some:
            found.append(data(some).mark_point(size=30 if how == SIMULATED else 62, opacity=opacity, **mark))
    return found
