"""How are replicas to be sized and scaled? The options of `accel plan`, checked at once."""

from __future__ import annotations

import re

import msgspec

from accel import units
from accel.analysis import cost
from accel.analysis.conclusion import StudyRecord
from accel.analysis.serverless import Serverless, parse_serverless
from accel.errors import InputError
from accel.slo import Slo, parse_slo

_MOST_GROWTH = 1e6
_MOST_SPARE = 1_000_000
_LONGEST_START_S = 86_400.0
_PER = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The checked options of a plan; None where a default follows from the study."""

    slo: Slo
    serverless: Serverless | None
    price_per_h: float | None
    headroom: float | None
    growth_per_s: float | None
    spare: int
    start_s: float | None
    window_s: float
    cool_down_s: float


def checked(
    record: StudyRecord,
    slo: str | None,
    price: str | float | None,
    headroom: str | float | None,
    growth: str | None,
    spare: int,
    start_seconds: float | None,
    metric_window: str | float,
    cool_down: str | float,
    serverless: str | None,
) -> Asked:
    """Read each option of `accel plan`; raises InputError for the first that is wrong."""
    if isinstance(spare, bool) or not isinstance(spare, int) or not 0 <= spare <= _MOST_SPARE:
        raise InputError(f"--spare must be a whole number of replicas from 0 to {_MOST_SPARE:,}, but is `{spare}`.")
    if start_seconds is not None and not 0 <= start_seconds <= _LONGEST_START_S:
        raise InputError(f"--start-seconds must be from 0 to {_LONGEST_START_S:g} (a day), but is `{start_seconds}`.")
    if headroom is not None and growth is not None:
        raise InputError("--headroom and --growth say the same thing: give one of them.")
    if slo is None and record.slo_s is None:
        raise InputError("The study has no latency limit. Give one: --slo p99=50ms.")
    price_per_h = record.price_per_h if price is None else cost.parse_price(price)
    if serverless is not None and price_per_h is None:
        raise InputError("--serverless is held against an endpoint's price: give --price too, such as 0.20/h.")
    return Asked(
        serverless=None if serverless is None else parse_serverless(serverless),
        slo=parse_slo(slo) if slo is not None else Slo(record.slo_p, float(record.slo_s or 0.0)),
        price_per_h=price_per_h,
        headroom=None if headroom is None else parse_headroom(headroom),
        growth_per_s=None if growth is None else parse_growth(growth),
        spare=spare,
        start_s=start_seconds,
        window_s=units.seconds(metric_window, "--metric-window"),
        cool_down_s=units.seconds(cool_down, "--cool-down"),
    )


def parse_headroom(text: str | float) -> float:
    """A share of the capacity, above 0 and at most 1.

    >>> parse_headroom("80%"), parse_headroom("0.8"), parse_headroom(1)
    (0.8, 0.8, 1.0)
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%)?\s*", str(text))
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share <= 1:
        raise InputError(f"--headroom must be a share of the capacity such as `80%` or `0.8`, but is `{text}`.")
    return share


def parse_growth(text: str) -> float:
    """A share a time, given back as a share a second.

    >>> parse_growth("10%/min") == 0.10 / 60, parse_growth("1%/s"), parse_growth("0%/h")
    (True, 0.01, 0.0)
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*%\s*/\s*(s|min|m|h)\s*", str(text))
    if match is None or float(match[1]) > _MOST_GROWTH:
        raise InputError(f"--growth must be a share a time such as `10%/min`, but is `{text}`.")
    return float(match[1]) / 100 / _PER[match[2]]
