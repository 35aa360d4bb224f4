"""How numbers are read and written: the only place that turns text into seconds and seconds into text."""

from __future__ import annotations

import math
import re

from accel.errors import InputError

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = r"\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?\d+)?)\s*([a-zµ]*)\s*"


def has_unit(text: str) -> bool:
    """Whether a duration says its unit.

    >>> has_unit("20ms"), has_unit(" 1e-2 ")
    (True, False)
    """
    match = re.fullmatch(_DURATION, text)
    return match is None or bool(match[2])


def seconds(text: str | float, what: str = "duration") -> float:
    """Read a positive duration; a bare number is seconds.

    >>> seconds("20ms"), seconds("5m"), seconds(3)
    (0.02, 300.0, 3.0)
    """
    match = re.fullmatch(_DURATION, str(text))
    if match is None or (match[2] and match[2] not in _SECONDS):
        raise InputError(f"{what} must be a time such as `20ms`, `3s` or `5m`, but is `{text}`.")
    value = float(match[1]) * _SECONDS.get(match[2] or "s", 1.0)
    if not math.isfinite(value) or value <= 0:
        raise InputError(f"{what} must be greater than zero, but is `{text}`.")
    return value


def fraction(text: str | float, what: str = "limit") -> float:
    """Read `1pp` or `1%` as 0.01; a bare number is a fraction between 0 and 1.

    >>> fraction("1pp"), fraction("0.5%"), fraction(0.02)
    (0.01, 0.005, 0.02)
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(pp|%)?\s*", str(text))
    if match is None:
        raise InputError(f"{what} must be given like `1pp` (percentage points), but is `{text}`.")
    value = float(match[1]) / (100.0 if match[2] else 1.0)
    if not 0 <= value < 1:
        raise InputError(f"{what} must lie between 0 and 100 percentage points, but is `{text}`.")
    return value


def show_seconds(value: float) -> str:
    """Three significant digits with a unit that suits.

    >>> show_seconds(0.0123), show_seconds(2.5e-6), show_seconds(95), show_seconds(15900)
    ('12.3 ms', '2.5 µs', '1 min 35 s', '4 h 25 min')
    """
    if not math.isfinite(value):
        return "–"
    if value >= 3600:
        return f"{int(value // 3600)} h {int(value % 3600 // 60)} min"
    if value >= 60:
        return f"{int(value // 60)} min {int(value % 60)} s"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def show_bytes(value: float) -> str:
    """Decimal bytes with a unit that suits.

    >>> show_bytes(23_000_000)
    '23 MB'
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{int(value)} B"


def show_rounded(value: float, half_width: float) -> str:
    """Round to two significant digits of the half-width (rule 47: no digit the interval doesn't carry).

    >>> show_rounded(52.3456, 1.27), show_rounded(1234.5, 100.0)
    ('52.3', '1230')
    """
    if not math.isfinite(half_width) or half_width <= 0 or not math.isfinite(value):
        return f"{value:.3g}"
    digits = 1 - math.floor(math.log10(half_width))
    if digits >= 0:
        return f"{value:.{min(digits, 4)}f}"
    return f"{round(value, digits):.0f}"
