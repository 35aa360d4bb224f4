"""Strategy 1: change the model so that it is smaller or cheaper. One file a technique.

A technique takes a Model and returns a new one; it never changes its argument. Order matters and is part of a
variant's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from accel.compilation import Refusal

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model
    from accel.plugins import Named
    from accel.samples import Samples

__all__ = ["Compression", "Refusal", "is_probe"]


class Compression(Protocol):
    """The contract of a technique: a frozen struct whose fields are its knobs.

    needs_samples: True if `apply` reads calibration samples.
    reads: forms it can start from, the best first, given the backend it is for.
    writes: the form it leaves, given the backend it is for.
    fits: None, or why it isn't tried for this model, machine and backend.
    apply: a new Model; `samples` holds the calibration part only; raises VariantError.

    Two more class attributes, False where they are absent: `removes` (parts of the model are taken out, so that its
    accuracy is gone until the rest was trained again) and `tunes` (it trains).
    """

    needs_samples: ClassVar[bool]

    def reads(self, target: str) -> tuple[str, ...]: ...

    def writes(self, target: str) -> str: ...

    def fits(self, facts: Facts, machine: Machine, target: str) -> Refusal | None: ...

    def apply(self, model: Model, samples: Samples, target: str) -> Model: ...


def is_probe(compression: Sequence[Named]) -> bool:
    """True for a speed probe: something was removed from the model and nothing trained the rest afterwards.

    Raises InputError for a technique that isn't known.
    """
    from accel import plugins

    untuned = False
    for named in compression:
        technique = plugins.load("compression", named.name)
        untuned = (untuned or getattr(technique, "removes", False)) and not getattr(technique, "tunes", False)
    return untuned
