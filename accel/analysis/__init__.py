"""From traces to numbers with intervals and verdicts; knows numpy and scipy, no model and no runtime."""

from __future__ import annotations

from typing import Literal

import msgspec


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its 95 % interval, its unit and whether it may be believed.

    low, high: ends of the interval; None where an end is open. n: how many independent values it rests on
    (runs where there are several, else requests). method: how the interval was made, in words.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    unit: str
    method: str
    validity: Literal["valid", "unstable", "invalid"] = "valid"
