"""What to try, as checked and typed values: from a TOML file or from keyword arguments."""

from __future__ import annotations

import msgspec

from accel.plugins import Named


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One way to run the model: compressions in their order, then a backend, then who waits for whom.

    batching: None lets the study choose: `fixed` at the best size in batch mode, `dynamic` or `single` online.
    trap: why this variant is here although accel wouldn't propose it; "" for ordinary ones.
    """

    name: str
    backend: Named
    compression: tuple[Named, ...] = ()
    batching: Named | None = None
    instances: int = 1
    trap: str = ""

    def __str__(self) -> str:
        return self.name
