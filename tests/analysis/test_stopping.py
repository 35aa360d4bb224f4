from __future__ import annotations

import math

import pytest

from accel.analysis.comparison import Pair
from accel.analysis.stopping import enough, half_width

DELTA = math.log(1.03)


def pairs(logs: list[float], *, stable: bool = True, first: int = 0) -> list[Pair]:
    return [Pair(block=first + i, base=1.0, candidate=math.exp(x), stable=stable) for i, x in enumerate(logs)]


def alternating(n: int, spread: float, shift: float = 0.0) -> list[Pair]:
    return pairs([shift + (spread if i % 2 else -spread) for i in range(n)])


def test_half_width_by_hand() -> None:
    # -0.1, 0, 0.1: s = 0.1, t(0.975, 2) = 4.302653
    assert half_width(pairs([-0.1, 0.0, 0.1])) == pytest.approx(4.302653 * 0.1 / math.sqrt(3))
    assert half_width(pairs([0.1])) == math.inf


@pytest.mark.parametrize("shift", [0.0, 0.5, -0.5])
def test_what_the_interval_says_does_not_matter(shift: float) -> None:
    assert enough({"a": alternating(10, 0.01, shift)}, DELTA)
    assert not enough({"a": alternating(10, 0.05, shift)}, DELTA)


def test_never_before_the_least_number_of_undisturbed_blocks() -> None:
    assert not enough({"a": alternating(9, 0.0)}, DELTA)
    assert enough({"a": alternating(9, 0.0)}, DELTA, least=9)
    disturbed = alternating(9, 0.0) + pairs([0.0, 0.0], stable=False, first=9)
    assert not enough({"a": disturbed}, DELTA)


def test_disturbed_blocks_do_not_widen() -> None:
    assert enough({"a": alternating(10, 0.01) + pairs([2.0], stable=False, first=10)}, DELTA)


def test_every_finalist_has_to_be_sure() -> None:
    narrow, wide = alternating(12, 0.01), alternating(12, 0.1)
    assert enough({"a": narrow, "b": narrow}, DELTA)
    assert not enough({"a": narrow, "b": wide}, DELTA)


def test_the_most_ends_it_and_so_does_an_empty_field() -> None:
    assert enough({"a": alternating(30, 1.0)}, DELTA)
    assert not enough({"a": alternating(29, 1.0)}, DELTA)
    assert enough({}, DELTA)
