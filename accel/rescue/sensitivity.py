"""In which order should operators go back to float? By how much error they take with them per millisecond they save.

Errors are those of one calibration batch and only order what is then scored on the validation part: they aren't
additive (two nodes that share a tensor change nothing alone and everything together), so pairs are looked at where
single groups explain little, and every set that is proposed is scored as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import TypeVar

Names = frozenset[str]
Error = Callable[[Names], float]
T = TypeVar("T")
_LITTLE = 0.2
"""Single groups that take less than this share of the error with them don't explain it: then pairs are tried."""
_SETTLED = 0.05
_FLOOR = 0.01
_GOLDEN = 0.6180339887498949


def forward(groups: Mapping[str, Names], error: Error, *, may_go_on: Callable[[], bool]) -> list[str]:
    """Groups in the order in which each takes the most of the error that is left, given those before it.

    Where no single one takes a fifth of what is left, the best pair comes next. Ends early, with what it has, when it
    may not go on or a twentieth of the error is left.
    """
    order: list[str] = []
    left: Names = frozenset()
    start = rest = error(left)
    while len(order) < len(groups) and rest > _SETTLED * start and may_go_on():
        waiting = [name for name in groups if name not in order]
        found = _best([(name,) for name in waiting], groups, left, error, may_go_on)
        if found[0] > (1 - _LITTLE) * rest and len(waiting) > 1:
            found = min(found, _best(list(combinations(waiting, 2)), groups, left, error, may_go_on))
        if not found[1] or found[0] >= rest:
            break
        order += found[1]
        left |= frozenset().union(*(groups[name] for name in found[1]))
        rest = found[0]
    return order


def _best(
    candidates: list[tuple[str, ...]],
    groups: Mapping[str, Names],
    left: Names,
    error: Error,
    may_go_on: Callable[[], bool],
) -> tuple[float, tuple[str, ...]]:
    found: tuple[float, tuple[str, ...]] = (float("inf"), ())
    for names in candidates:
        if not may_go_on():
            break
        found = min(found, (error(left.union(*(groups[name] for name in names))), names))
    return found


def by_gain(
    units: Mapping[T, Names], error: Error, cost_ms: Mapping[str, float], *, may_go_on: Callable[[], bool]
) -> list[T]:
    """Units by error taken per millisecond given up, the most first; those that take nothing are left out.

    units: key -> names of the nodes that go back together. cost_ms: what each node saves now; one that saves nothing
    counts as a hundredth of the costliest, so that free ones come first but no infinity decides. They are looked at in
    golden-ratio strides, so that a ranking that is cut short has seen all parts of the graph.
    """
    start = error(frozenset())
    dearest = max((sum(max(0.0, cost_ms.get(n, 0.0)) for n in names) for names in units.values()), default=0.0)
    least = _FLOOR * dearest or 1.0
    found: list[tuple[float, int, T]] = []
    numbered = sorted(enumerate(units.items()), key=lambda one: one[0] * _GOLDEN % 1)
    for i, (unit, names) in numbered:
        if not may_go_on():
            break
        gain = start - error(names)
        cost = max(least, sum(max(0.0, cost_ms.get(name, 0.0)) for name in names))
        if gain > 0:
            found.append((-gain / cost, i, unit))
    return [unit for _, _, unit in sorted(found, key=lambda one: one[:2])]
