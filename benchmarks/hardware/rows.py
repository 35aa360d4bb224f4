"""What the experiment with less processor keeps: a JSON file a model in reports/hardware/."""

from __future__ import annotations

import msgspec

from benchmarks.batching.rows import Where
from benchmarks.compression.rows import Run

SIZE = 8
"""Of the batches."""
RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "eager": "torch"}


class Under(Run, frozen=True, kw_only=True):
    """A run under a limit; `value` is items/s in batches of `size`.

    one_rate: items/s one at a time, without a pause; one_p50_s, one_p99_s: seconds of such a call. held, periods: in
    how many periods the quota held it up, of how many; None without a quota. cpu_s: processor time of both loops.
    """

    one_rate: float
    one_p50_s: float
    one_p99_s: float
    cpu_s: float
    held: int | None = None
    periods: int | None = None


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """accel's defaults for a runtime beside the runtime left to itself. settings: what really ran, by side."""

    runtime: str
    ours: tuple[Under, ...]
    theirs: tuple[Under, ...]
    settings: dict[str, dict[str, str]] = {}


class Limited(msgspec.Struct, frozen=True, kw_only=True):
    """One limit. words: for the page. says: what accel said of it."""

    name: str
    words: str
    says: str
    pairs: tuple[Pair, ...]


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """One model under every limit."""

    model: str
    random_weights: bool
    where: Where
    limits: tuple[Limited, ...]
