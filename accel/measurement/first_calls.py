"""What did the first call at each batch size take, and what do later ones take?

A runtime may plan, allocate or compile when it first meets a shape; whoever serves requests pays that in a request.
"""

from __future__ import annotations

from accel.result import FirstCall


class FirstCalls:
    """Calls of one engine as they happen, outside what is timed."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        self._later: dict[int, float] = {}
        self._told: set[int] = set()

    def note(self, size: int, seconds: float) -> None:
        """A call with a batch of `size` (padding counted) took `seconds`."""
        if size not in self._first:
            self._first[size] = seconds
        else:
            self._later[size] = min(seconds, self._later.get(size, seconds))

    def told(self) -> list[FirstCall]:
        """Every size that was called twice at least, once: first and fastest later call. In the order they came."""
        new = [s for s in self._first if s in self._later and s not in self._told]
        self._told |= set(new)
        return [FirstCall(size=s, first_s=self._first[s], later_s=self._later[s]) for s in new]
