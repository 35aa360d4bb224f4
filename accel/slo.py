"""A latency limit: a percentile and a time, and how it is written."""

from __future__ import annotations

import re

import msgspec

from accel import units
from accel.errors import InputError


class Slo(msgspec.Struct, frozen=True):
    """A latency limit: the quantile `p` (0 < p < 1) of latencies from schedule stays within `seconds`."""

    p: float
    seconds: float

    def __str__(self) -> str:
        return f"p{100 * self.p:.6g} <= {units.show_seconds(self.seconds)}"


def parse_slo(text: str) -> Slo:
    """Read a latency limit.

    >>> parse_slo("p99=20ms"), str(parse_slo("p99.9 <= 1s"))
    (Slo(p=0.99, seconds=0.02), 'p99.9 <= 1 s')
    """
    match = re.fullmatch(r"\s*p(\d+(?:\.\d+)?)\s*(?:(<=|==|=|<|≤)\s*(\S.*))?\s*", str(text))
    if match is None:
        raise InputError(f"The SLO must be a percentile and a time, such as `p99=20ms`, but is `{text}`.")
    if match[2] is None:
        raise InputError(
            f"The SLO `{text}` has no time: the shell took the rest for a redirection. Quote it, "
            f'as in --slo "p{match[1]}<=20ms", or write p{match[1]}=20ms.'
        )
    if not units.has_unit(time := match[3].strip()):
        raise InputError(f"The SLO `{text}` has no unit: write p{match[1]}={time}ms or {time}s.")
    if not 0 < float(match[1]) < 100:
        raise InputError(f"The percentile of an SLO must lie between 0 and 100, but is `p{match[1]}`.")
    return Slo(round(float(match[1]) / 100, 12), units.seconds(match[3], "The time of the SLO"))
