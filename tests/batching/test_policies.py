"""What each policy decides, by hand."""

from __future__ import annotations

import pytest

from accel import plugins
from accel.batching import Decision, Waiting, taking
from accel.batching.dynamic import Dynamic
from accel.batching.fixed import Fixed
from accel.batching.single import Single
from accel.errors import InputError
from accel.plugins import Named


@pytest.mark.parametrize(
    ("count", "draining", "single", "fixed", "dynamic"),
    [
        (1, False, 1, 0, 1),
        (3, False, 1, 0, 3),
        (4, False, 1, 4, 4),
        (9, False, 1, 4, 6),
        (3, True, 1, 3, 3),
        (9, True, 1, 4, 6),
    ],
)
def test_takes(count: int, draining: bool, single: int, fixed: int, dynamic: int) -> None:
    waiting = Waiting(count=count, draining=draining)
    assert Single().decide(waiting, 0).take == single
    assert Fixed(size=4).decide(waiting, 0).take == fixed
    assert Dynamic(max_size=6).decide(waiting, 0).take == dynamic


def test_largest() -> None:
    assert (Single().largest, Fixed(size=3).largest, Dynamic(max_size=5).largest) == (1, 3, 5)


@pytest.mark.parametrize("n", [0, 1, 256, 257, 5000])
def test_cached_decisions_are_decisions(n: int) -> None:
    assert taking(n) == Decision(n)


@pytest.mark.parametrize(("name", "fields"), [("fixed", {"size": 0}), ("dynamic", {"max_size": -1})])
def test_sizes_below_one_are_refused(name: str, fields: dict[str, int]) -> None:
    with pytest.raises(InputError, match=">= 1"):
        plugins.make("batching", Named(name, fields))
