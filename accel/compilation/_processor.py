"""Is what was compiled or rewritten for one kind of processor right for this one?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accel.measurement.facts import cpu_flags


def instruction_sets(root: Path = Path("/")) -> tuple[str, ...]:
    """What this processor can do, as far as it shapes compiled code; () where the system doesn't say."""
    return cpu_flags(root) or ()


def same_kind(made_for: Sequence[str], here: Sequence[str] | None = None) -> bool:
    """True if a graph laid out for the vectors of `made_for` fits this processor: the same instruction sets.

    Layouts follow the width of the vectors, so a richer processor isn't the same kind either.
    """
    return set(made_for) == set(instruction_sets() if here is None else here)


def lacking(made_for: Sequence[str], here: Sequence[str] | None = None) -> tuple[str, ...]:
    """The instruction sets that code compiled for `made_for` may use and this processor lacks; such code dies here."""
    return tuple(sorted(set(made_for) - set(instruction_sets() if here is None else here)))
