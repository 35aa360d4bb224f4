"""What a batch of some size takes, from a measured curve; for the policies that look ahead."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Annotated

import msgspec

Point = tuple[Annotated[int, msgspec.Meta(ge=1)], Annotated[float, msgspec.Meta(gt=0)]]
Curve = tuple[Point, ...]
"""(batch size, seconds): sizes ascending, seconds never falling."""
_KNOWN = 4096


def check(curve: Curve) -> None:
    """Raises ValueError if sizes don't ascend or a larger batch is said to take less."""
    for (a, at_a), (b, at_b) in pairwise(curve):
        if not (a < b and at_a <= at_b):
            raise ValueError(
                f"the curve's sizes must ascend and its seconds never fall, but ({b}, {at_b:g}) follows ({a}, {at_a:g})"
            )


@lru_cache(maxsize=256)
def service_ns(curve: Curve) -> Callable[[int], int]:
    """Service time (ns) by batch size: between measured sizes a line, beyond them the last line goes on.

    >>> service_ns(((1, 0.010), (3, 0.014)))(2), service_ns(((1, 0.010), (3, 0.014)))(5)
    (12000000, 18000000)
    """
    known: dict[int, int] = {}

    def at(size: int) -> int:
        found = known.get(size)
        if found is None:
            found = round(_seconds(curve, size) * 1e9)
            if size < _KNOWN:
                known[size] = found
        return found

    return at


def _seconds(curve: Curve, size: int) -> float:
    first, seconds = curve[0]
    if size <= first:
        return seconds
    if len(curve) == 1:
        return seconds * size / first
    upper = next((i for i in range(1, len(curve)) if curve[i][0] >= size), len(curve) - 1)
    (a, at_a), (b, at_b) = curve[upper - 1], curve[upper]
    return at_a + (at_b - at_a) * (size - a) / (b - a)
