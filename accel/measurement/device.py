"""An engine on a device of its own: the most of the device's memory that a run held, and one batch taken apart.

Engines on the processor tell neither. Both are read outside the counted time, in the process that ran.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from accel.compilation import DeviceTimes
from accel.measurement.feeding import Feed
from accel.measurement.memory import total
from accel.measurement.trace import Trace

REPEATS = 20


def peak_bytes(feeds: Sequence[Feed], *, reset: bool = False) -> int | None:
    """The most that all engines' device memory held since the last reset; None if one doesn't tell."""
    asked: list[Callable[..., Any] | None] = [_of(feed, "device_peak_bytes") for feed in feeds]
    if not asked or None in asked:
        return None
    return total(ask(reset=reset) for ask in asked if ask is not None)


def taken_apart(feed: Feed, trace: Trace) -> DeviceTimes | None:
    """The first engine's times for a batch of the size that most requests of the run were served in."""
    apart = _of(feed, "apart")
    size = usual_size(trace)
    if apart is None or size is None:
        return None
    n = feed.padded(size)
    ids = [int(i) for i in trace.counted().sample[:n]]
    found: DeviceTimes = apart(feed.stacked([*ids, *[ids[-1]] * (n - len(ids))]), REPEATS)
    return found


def usual_size(trace: Trace) -> int | None:
    """The batch size that most counted, answered requests were in; None if none was answered."""
    sizes = trace.counted().ok().batch_size
    return int(np.bincount(sizes).argmax()) if len(sizes) else None


def _of(feed: Feed, name: str) -> Callable[..., Any] | None:
    return getattr(getattr(feed, "engine", None), name, None)
