"""How near is the recommended variant to what the machine can do at most, and what would make it faster then?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from accel.analysis.conclusion import Finding, Row
from accel.analysis.findings.seen import Seen
from accel.analysis.roofline import RooflinePoint
from accel.units import show_seconds

_NEAR, _FAR = 0.8, 0.3
_BEYOND = 1.0
_LEVELS = {"l2": "L2", "l3": "L3", "ram": "main memory"}
_MODES = {"latency": "one at a time", "batch": "in batch"}


def _near_the_limit(seen: Seen) -> Iterator[Finding]:
    """What the whole interval shows to lie above 80 % of its bound."""
    for row, point in _points(seen):
        if point.of_bound.low is None or point.of_bound.low < _NEAR or _is_beyond(point):
            continue
        limit = "peak" if point.bound == "compute" else f"bandwidth of {_LEVELS[point.level]}"
        less = "lower-precision" if point.bound == "compute" else "more compressed"
        yield Finding(
            what=f"`{row.name}` is already at {_percent(point)} of the machine's {limit} {_where(point)}: "
            f"only a smaller or {less} model will be faster.",
            why=f"The machine can't {_DOES[point.bound]} faster than was measured, whatever the runtime.",
            command=f"accel list {'prune_structured' if row.variant.compression else 'quantize_static'}",
            weight=52,
        )
        return


def _far_from_it(seen: Seen) -> Iterator[Finding]:
    """What the whole interval shows to lie below 30 % of its bound: time goes elsewhere than into the arithmetic."""
    for row, point in _points(seen):
        if point.of_bound.high is None or point.of_bound.high >= _FAR:
            continue
        yield Finding(
            what=f"`{row.name}` uses {_percent(point)} of what the machine could do {_where(point)}: its "
            f"{'arithmetic' if point.bound == 'compute' else 'memory'} alone would take "
            f"{show_seconds(point.bound_s.value)} of {show_seconds(point.seconds.value)}.",
            why="The rest goes into small operators, conversions, waiting of threads or calls of the runtime.",
            command=f"accel list {row.variant.backend.name}",
            weight=24,
        )
        return


def _faster_than_possible(seen: Seen) -> Iterator[Finding]:
    """A share above 1 by its whole interval: the peaks were measured too low, or the model does less than counted."""
    for row, point in _points(seen):
        if _is_beyond(point):
            yield Finding(
                what=f"`{row.name}` ran faster {_where(point)} than this machine's peaks allow: {_percent(point)}.",
                why="The peaks were measured while the machine was busy, or the model skips work that its graph shows.",
                command="accel doctor --measure",
                weight=30,
            )
            return


_DOES = {"compute": "multiply", "memory": "move bytes"}


def _is_beyond(point: RooflinePoint) -> bool:
    return point.of_bound.low is not None and point.of_bound.low > _BEYOND


def _points(seen: Seen) -> Iterator[tuple[Row, RooflinePoint]]:
    """Those of the winners, or of the original where it stays; only what was measured without disturbance."""
    names = seen.winners or ((seen.record.baseline,) if seen.answers else ())
    for row in seen.rows:
        if row.name in names and row.roofline is not None:
            yield from ((row, p) for p in row.roofline.points if p.of_bound.validity == "valid")


def _percent(point: RooflinePoint) -> str:
    share = point.of_bound
    ends = "" if share.low is None or share.high is None else f" [{100 * share.low:.0f}–{100 * share.high:.0f}]"
    return f"{100 * share.value:.0f} %{ends}"


def _where(point: RooflinePoint) -> str:
    return _MODES[point.target] + (f" of {point.batch}" if point.target == "batch" else "")


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (_near_the_limit, _far_from_it, _faster_than_possible)
