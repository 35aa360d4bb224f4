"""A study's reading as JSON for other programs: the Conclusion under its own field names, which stay what they are."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from accel.analysis.conclusion import Conclusion

FORMAT = 1


def as_json(conclusion: Conclusion) -> bytes:
    """UTF-8 JSON, keys sorted, numbers that aren't finite as null; the same conclusion gives the same bytes.

    Keys on top: `format`, `accel_version` and every field of Conclusion. Times in s, rates in 1/s, sizes in bytes.
    """
    plain = msgspec.to_builtins(conclusion, str_keys=True)
    data = {"format": FORMAT, "accel_version": conclusion.record.accel_version, **_finite(plain)}
    return msgspec.json.format(msgspec.json.encode(data, order="sorted"), indent=1) + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
