"""What an experiment says: one row a criterion."""

from __future__ import annotations

from typing import Literal

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One criterion of one experiment and what was measured for it.

    experiment: "V3". what: what was done, in words. criterion: what had to hold. measured: the figures.
    kind: "virtual" (a fake clock or recorded data: the same anywhere) or "real" (timed on this machine).
    seconds: how long it took; 0 lets the frame fill it in.
    not_run: why this criterion can't be tried on this machine; such a row neither passes nor fails.
    """

    experiment: str
    what: str
    criterion: str
    measured: str
    passed: bool
    kind: Literal["virtual", "real"]
    seconds: float = 0.0
    not_run: str = ""
