"""What would the same predictions cost serverless, paid by call and by memory x time, and from which rate on is an
endpoint cheaper? With the user's own prices.
"""

from __future__ import annotations

import math
import re

import msgspec

from accel.analysis import Estimate
from accel.analysis.cost import MILLION, serverless_break_even, serverless_cost
from accel.analysis.propagate import through
from accel.errors import InputError

_FORM = "`0.20/million,0.0000167/GBs` (and `,2GB` for the memory that is paid)"
_PART = re.compile(r"[$€£¥]?([0-9]*\.?[0-9]+(?:[eE][-+]?\d+)?)(/million|/GBs|GB)")


class Serverless(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of a call and of a gigabyte-second; gb: memory that is paid, None: the peak that was measured."""

    per_request: float
    per_gb_s: float
    gb: float | None = None


class ServerlessCost(msgspec.Struct, frozen=True, kw_only=True):
    """per_million: a million calls, warm, one request each. from_rate: requests/s from which one replica costs less;
    carried: whether one replica carries that rate within the limit. gb: paid memory. cold_s: what a call waits that
    starts a new environment, without its provisioning.
    """

    per_million: Estimate
    from_rate: Estimate
    carried: bool
    gb: float
    cold_s: float | None


def parse_serverless(text: str) -> Serverless:
    """The user's prices; raises InputError.

    >>> parse_serverless("5/million,0.0000167/GBs,2GB")
    Serverless(per_request=5e-06, per_gb_s=1.67e-05, gb=2.0)
    """
    parts = [_PART.fullmatch(part.strip()) for part in str(text).split(",")]
    found = {part[2]: float(part[1]) for part in parts if part is not None}
    whole = None not in parts and len(found) == len(parts) and {"/million", "/GBs"} <= set(found)
    if not whole or found.get("GB") == 0 or not all(map(math.isfinite, found.values())):
        raise InputError(f"--serverless must be given like {_FORM}, but is `{text}`.")
    return Serverless(per_request=found["/million"] / MILLION, per_gb_s=found["/GBs"], gb=found.get("GB"))


def serverless(
    prices: Serverless,
    *,
    call_s: Estimate,
    memory_bytes: int | None,
    capacity: Estimate,
    price_per_h: float,
    cold_s: float | None,
) -> ServerlessCost | None:
    """What a million calls cost, and where one replica at `price_per_h` begins to be cheaper.

    call_s: service time of one request alone. capacity: of a replica within the limit (1/s). None if neither the user
    nor the study says how much memory is paid, or where a call costs nothing.
    """
    gb = prices.gb if prices.gb is not None else (None if memory_bytes is None else memory_bytes / 1e9)
    if gb is None or prices.per_request + gb * prices.per_gb_s <= 0:
        return None
    call, second = prices.per_request, prices.per_gb_s
    even = through(
        lambda d: serverless_break_even(price_per_h, d, per_request=call, per_gb_s=second, gb=gb), call_s, unit="1/s"
    )
    million = through(
        lambda d: serverless_cost(MILLION, d, per_request=call, per_gb_s=second, gb=gb), call_s, unit="price units"
    )
    return ServerlessCost(
        per_million=million,
        from_rate=even,
        carried=even.value <= capacity.value,
        gb=gb,
        cold_s=cold_s,
    )
