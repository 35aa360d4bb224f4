"""What a search may ask of a quantized graph: its nodes, how wrong it is with some of them in float, what they save."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


class Ablation(Protocol):
    """One quantized graph whose nodes can be put back to float in memory.

    nodes: (name, operator type) of those that compute in 8 bits, in the order of the graph.
    """

    nodes: tuple[tuple[str, str], ...]

    @property
    def self_check_error(self) -> float:
        """The larger error of the two ends: all in float against the float model, none against the quantized one."""
        ...

    def units(self) -> dict[str, frozenset[str]]:
        """Which nodes are worth looking at together: each alone, and those that share an 8-bit tensor."""
        ...

    def outputs(self, left: Set[str]) -> dict[str, npt.NDArray[Any]]:
        """Answers to one calibration batch with the nodes `left` in float."""
        ...

    def error(self, left: Set[str]) -> float:
        """Distance of those answers from the float model's."""
        ...

    def saved_ms(self) -> Mapping[str, float]:
        """Milliseconds of a call that each node saves by its 8 bits, by name; below zero where it costs."""
        ...


def joined(batches: list[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """Answers to several batches as one: rows under each other, or values in a line where the shapes differ."""
    found: dict[str, npt.NDArray[Any]] = {}
    for name in batches[0]:
        values = [np.asarray(batch[name]) for batch in batches]
        same = values[0].ndim > 0 and len({v.shape[1:] for v in values}) == 1
        found[name] = np.concatenate(values if same else [v.reshape(-1) for v in values])
    return found
