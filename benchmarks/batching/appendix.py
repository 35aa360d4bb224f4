"""The batching policies as the research described them, in the plainest form: one loop, seconds as floats, no policy
objects. An oracle that shares nothing with accel's simulator but the arrivals.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

Curve = Callable[[int], float]


def outcome(
    arrivals: Sequence[float],
    takes: Curve,
    slo_s: float,
    policy: str,
    *,
    size: int,
    timeout_s: float = 0.0,
    workers: int = 1,
) -> tuple[int, int]:
    """(answered within slo_s, late or dropped) of `arrivals` (seconds, ascending).

    policy: greedy, early_commit, window, early (drop), queue (BentoML's drop), age (reject), defer (early drop too).
    """
    if policy == "early_commit":
        return _early_commit(arrivals, takes, slo_s, size, timeout_s, workers)
    queue: deque[float] = deque()
    free, i, n, good = [0.0] * workers, 0, len(arrivals), 0
    while i < n or queue:
        worker = min(range(workers), key=free.__getitem__)
        t = max(free[worker], queue[0] if queue else arrivals[i])
        i = _arrive(arrivals, i, t, queue)
        if policy == "window":
            end = t + timeout_s
            while len(queue) < size and i < n and arrivals[i] <= end:
                t = arrivals[i]
                i = _arrive(arrivals, i, t, queue)
            t = t if len(queue) >= size else end if i < n else t
        if policy == "defer":
            t, i = _defer(arrivals, i, t, queue, takes, slo_s, size)
        _drop(queue, t, takes, slo_s, policy, size)
        if not queue:
            free[worker] = t
            continue
        batch = [queue.popleft() for _ in range(min(len(queue), size))]
        free[worker] = done = t + takes(len(batch))
        good += sum(done - due <= slo_s for due in batch)
    return good, n - good


def _arrive(arrivals: Sequence[float], i: int, t: float, queue: deque[float]) -> int:
    while i < len(arrivals) and arrivals[i] <= t:
        queue.append(arrivals[i])
        i += 1
    return i


def _drop(queue: deque[float], t: float, takes: Curve, slo_s: float, policy: str, size: int) -> None:
    if policy in ("early", "defer"):
        while queue and t + takes(min(len(queue), size)) > queue[0] + slo_s:
            if len(queue) < size and t + takes(1) <= queue[0] + slo_s:
                break
            queue.popleft()
    elif policy == "queue":
        while len(queue) > 1 and t - queue[0] + takes(len(queue)) >= slo_s:
            queue.popleft()
    elif policy == "age":
        while queue and t - queue[0] > slo_s - takes(size):
            queue.popleft()


def _defer(
    arrivals: Sequence[float], i: int, t: float, queue: deque[float], takes: Curve, slo_s: float, size: int
) -> tuple[float, int]:
    while len(queue) < size and i < len(arrivals):
        until = queue[0] + slo_s - takes(len(queue) + 1)
        if until <= t:
            break
        t = min(until, arrivals[i])
        i = _arrive(arrivals, i, t, queue)
    return t, i


def _early_commit(
    arrivals: Sequence[float], takes: Curve, slo_s: float, size: int, timeout_s: float, workers: int
) -> tuple[int, int]:
    free, i, n, good = [0.0] * workers, 0, len(arrivals), 0
    while i < n:
        j = i + 1
        while j < n and j - i < size and arrivals[j] <= arrivals[i] + timeout_s:
            j += 1
        close = arrivals[j - 1] if j - i == size else arrivals[i] + timeout_s if j < n else arrivals[j - 1]
        worker = min(range(workers), key=free.__getitem__)
        free[worker] = done = max(close, free[worker]) + takes(j - i)
        good += sum(done - due <= slo_s for due in arrivals[i:j])
        i = j
    return good, n - good


def highest_rate(share_bad: Callable[[float], float], low: float, high: float, *, most_bad: float = 0.01) -> float:
    """Bisection on the share of late or dropped requests, to half a percent."""
    if share_bad(low) > most_bad:
        return 0.0
    while high / low > 1.005:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if share_bad(middle) <= most_bad else (low, middle)
    return low
