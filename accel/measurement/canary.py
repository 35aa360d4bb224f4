"""How fast is this machine right now? A fixed piece of work, timed right before and right after a run (rule 36, W7).

The time means nothing by itself; beside the other runs of a study it shows a machine that became slower or faster.
"""

from __future__ import annotations

import mmap
import statistics
from collections.abc import Callable
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt

REPEATS = 5
_STEPS, _ROUNDS, _COPIES, _BYTES = 5_000, 55, 10, 2 << 20
"""About a third of the time for each kind of work."""

Float = npt.NDArray[np.float64]


def canary_s(now_ns: Callable[[], int] = perf_counter_ns) -> float:
    """Median seconds of five pieces of work of about 2 ms: integers, floating point and memory, on one thread.

    The median of five short pieces instead of one of 20 ms: a pause that hits one of them is another witness's
    business (W3), and a run of the quick profile has no 40 ms to spare. The memory (4 MiB, more than a core's own
    caches) is mapped for the purpose and given back, so it is in no run's peak.
    """
    with mmap.mmap(-1, 2 * _BYTES) as memory:
        times = _times(memory, now_ns)
    return statistics.median(times) * 1e-9


def _times(memory: mmap.mmap, now_ns: Callable[[], int]) -> list[int]:
    words = np.frombuffer(memory, np.float64)
    half = len(words) // 2
    small = np.linspace(0.5, 1.5, 4096)
    times = []
    for _ in range(REPEATS + 1):
        start = now_ns()
        _work(words[:half], words[half:], small)
        times.append(now_ns() - start)
    # The first round touches the pages.
    return times[1:]


def _work(source: Float, target: Float, small: Float) -> int:
    total = 0
    for i in range(_STEPS):
        total = (total * 31 + i) & 0xFFFFFFFF
    values = small
    for _ in range(_ROUNDS):
        values = np.sqrt(values * values + 1.0)
    for _ in range(_COPIES):
        target[:] = source
    return total + int(values[0])
