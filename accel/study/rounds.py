"""Who takes turns, in which order, in which process: the one way in which runs of several variants are interleaved.

Races of stand-ins, a study's blocks and its confirmations all go through here (rules 32, 34).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from accel.errors import VariantError
from accel.result import Role
from accel.scenarios import generator
from accel.study.live import Live

Who = tuple[str, Role]
One = TypeVar("One")


def shuffled(entrants: Sequence[One], *, seed: int, block: int) -> list[One]:
    """A fresh random order for every block; same seed and block: same order (rule 6, stream 3)."""
    return [entrants[int(i)] for i in generator(seed, 3, block).permutation(len(entrants))]


class Rounds:
    """The children of those who take turns; a context manager that ends them.

    fresh: a process of its own for every turn, after a rest; else one an entrant, stopped between its turns, so that
    its pools don't spin while others are measured.
    """

    def __init__(
        self, open_child: Callable[[Who], Live], *, fresh: bool, rest: Callable[[], None] = lambda: None
    ) -> None:
        self._open_child, self._fresh, self._rest = open_child, fresh, rest
        self._parked: dict[Who, Live] = {}

    def __enter__(self) -> Rounds:
        return self

    def __exit__(self, *_: object) -> None:
        for live in self._parked.values():
            live.close()
        self._parked.clear()

    @contextlib.contextmanager
    def turn(self, who: Who) -> Iterator[Live]:
        """The child of one entrant for one turn; one that fails in it is ended."""
        if self._fresh:
            self._rest()
            with self._open_child(who) as live:
                yield live
            return
        if who in self._parked:
            self._parked[who].resume()
        else:
            self._parked[who] = self._open_child(who)
        try:
            yield self._parked[who]
            self._parked[who].park()
        except VariantError:
            self._parked.pop(who).close()
            raise
