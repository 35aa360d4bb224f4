"""The canary: the median of its pieces, the first one left out, and work that is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accel.measurement import canary


def ticking(steps: list[int]) -> Callable[[], int]:
    """A clock on which the pieces take `steps` nanoseconds, one after the other."""
    times = [0]
    for step in steps:
        times += [times[-1], times[-1] + step]
    left = iter(times[1:])
    return lambda: next(left)


def test_the_median_without_the_first_piece() -> None:
    assert canary.canary_s(ticking([10**9, 5_000, 1_000, 3_000, 4_000, 10**6])) == pytest.approx(4_000e-9)


def test_one_long_pause_does_not_move_it() -> None:
    quiet = canary.canary_s(ticking([1, 100, 100, 100, 100, 100]))
    assert canary.canary_s(ticking([1, 100, 100, 10**9, 100, 100])) == quiet


def test_it_takes_time_and_leaves_no_memory() -> None:
    assert canary.canary_s() > 0
