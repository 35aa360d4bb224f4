"""How many replicas does a load need, what happens when one fails, and what while further ones start?

Each replica is a copy of what was measured, behind a balancer that splits requests at random. A Poisson stream split
at random stays Poisson at every replica, so the capacity that was measured with Poisson arrivals holds for each of
them; a round-robin balancer makes gaps more even, which can only help. Arithmetic of `accel.analysis.cost`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import msgspec

from accel.analysis import Estimate
from accel.analysis.cost import HOUR_S, late_requests, replicas, utilisation_at_slo
from accel.analysis.propagate import through

_CERTAIN = 3.0


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """How replicas are to be sized and scaled.

    headroom: the share of its capacity that a replica may be filled to, so that growth until further ones are up finds
        room. spare: so many may fail and the rest still carry the rate within the limit (N + spare).
    start_s: from ordering a replica to its first answer. window_s: the metric window, how long the scaler looks before
        it acts. cool_down_s: it takes replicas away only once that long fewer were needed.
    """

    headroom: float = 1.0
    spare: int = 0
    start_s: float = 0.0
    window_s: float = 60.0
    cool_down_s: float = 600.0

    @property
    def delay_s(self) -> float:
        """From more requests to more replicas: the metric window and a start."""
        return self.window_s + self.start_s


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas for one rate: `count` at the claimed capacity, `fewest` and `most` at the ends of its interval.

    most is None where the interval is open below. utilisation: rate / (count x capacity), with its interval.
    """

    rate: float
    count: int
    fewest: int
    most: int | None
    utilisation: Estimate


class Scaled(msgspec.Struct, frozen=True, kw_only=True):
    """What an autoscaler makes of a load.

    replica_hours: paid ones, from being ordered. late: requests beyond what the replicas that were up carry within the
    limit; requests: all. most, fewest: replicas up at once. changes: how often it scaled. ready: replicas that were up
    at the end of each step.
    """

    replica_hours: float
    late: float
    requests: float
    most: int
    fewest: int
    changes: int
    ready: tuple[int, ...]


def needed(rate: float, capacity: float, scaling: Scaling) -> int:
    """R = max(ceil(lambda / (rho X_s)), ceil(lambda / X_s) + spare): room to grow, or room for one to fail.

    >>> needed(5000, 400, Scaling()), needed(5000, 400, Scaling(headroom=0.8)), needed(5000, 400, Scaling(spare=1))
    (13, 16, 14)
    """
    return max(replicas(rate, capacity, scaling.headroom), replicas(rate, capacity) + scaling.spare)


def count(rate: float, capacity: Estimate, scaling: Scaling) -> Count:
    """Replicas for a rate, with what the capacity's interval makes of them."""
    found = needed(rate, capacity.value, scaling)
    high = max(capacity.high or capacity.value, capacity.value)
    low = None if capacity.low is None or capacity.low <= 0 else min(capacity.low, capacity.value)
    return Count(
        rate=rate,
        count=found,
        fewest=needed(rate, high, scaling),
        most=None if low is None else needed(rate, low, scaling),
        utilisation=through(lambda x: utilisation_at_slo(rate, found, x), capacity, unit="1"),
    )


def lost_one(rate: float, found: int, capacity: float, scaling: Scaling) -> float:
    """Requests beyond what the rest carry while a failed replica is replaced: (lambda - (R - 1) X_s) D.

    >>> lost_one(5000, 13, 400, Scaling(start_s=30)), lost_one(5000, 14, 400, Scaling(start_s=30))
    (18000.0, 0.0)
    """
    return late_requests(rate, found - 1, capacity, scaling.delay_s)


def growth_of(
    rates: Sequence[float], step_s: float, delay_s: float, noise: float = 0.0, *, carried: float = 0.0
) -> float:
    """The fastest growth (share a second) over a stretch of `delay_s`, in rates on an even grid; 0 if it never grows.

    noise: variance of a window's rate over the rate, where windows were counted (index of dispersion / window): a rise
    counts as far as it exceeds three standard deviations on both sides, since the next burst is no trend.
    carried: what one replica carries; one is always up, so a rise counts from there where it begins below.

    >>> round(growth_of([100, 110, 100, 130], 60, 60) * 60, 6)
    0.3
    >>> growth_of([0.01, 1000], 60, 60, carried=1000), round(growth_of([0.01, 1000], 60, 60, carried=800) * 60, 6)
    (0.0, 0.25)
    """
    ahead = max(1, round(delay_s / step_s))
    steepest = 0.0
    for now, later in zip(rates, rates[ahead:], strict=False):
        if max(now, carried) > 0:
            least = later - _CERTAIN * math.sqrt(noise * later)
            steepest = max(steepest, least / max(now + _CERTAIN * math.sqrt(noise * now), carried) - 1)
    return steepest / (ahead * step_s)


def autoscaled(rates: Sequence[float], capacity: float, scaling: Scaling) -> Scaled:
    """A scaler that looks at the mean rate of each metric window and orders what `needed` says.

    rates: mean rate in each successive window. A replica that is ordered answers `start_s` later and is paid from its
    order on. It takes away down to the most that any window of the last `cool_down_s` needed. What comes beyond the
    capacity of those that are up is late (the policy gives up early who can't be answered in time; without that, all
    are late until the backlog is worked off). The first window finds the replicas that it needs.
    """
    up = needed(rates[0], capacity, scaling)
    starting: list[tuple[float, int]] = []
    cool_down = math.ceil(scaling.cool_down_s / scaling.window_s)
    recent: deque[int] = deque(maxlen=max(1, min(cool_down, len(rates) + 1)))
    paid = late = 0.0
    ready: list[int] = []
    changes = 0
    for step, rate in enumerate(rates):
        begin = step * scaling.window_s
        arrived, starting, helped = _arriving(starting, begin, scaling.window_s)
        late += late_requests(rate, up + helped, capacity, scaling.window_s)
        paid += (up + sum(n for _, n in starting) + arrived) * scaling.window_s / HOUR_S
        up += arrived
        want = needed(rate, capacity, scaling)
        recent.append(want)
        ordered = up + sum(n for _, n in starting)
        if want > ordered:
            starting.append((begin + scaling.delay_s, want - ordered))
            changes += 1
        elif not starting and max(recent) < up and len(recent) == recent.maxlen:
            up = max(recent)
            changes += 1
        ready.append(up)
    return Scaled(
        replica_hours=paid,
        late=late,
        requests=float(sum(rates)) * scaling.window_s,
        most=max(ready),
        fewest=min(ready),
        changes=changes,
        ready=tuple(ready),
    )


def _arriving(
    starting: list[tuple[float, int]], begin: float, window_s: float
) -> tuple[int, list[tuple[float, int]], float]:
    """Who gets ready in this window, who after it, and how many of them help over the whole window on average."""
    end = begin + window_s
    here = [(max(at, begin), n) for at, n in starting if at < end]
    later = [(at, n) for at, n in starting if at >= end]
    return sum(n for _, n in here), later, sum(n * (end - at) / window_s for at, n in here)


def split_dispersion(dispersion: float, ways: int) -> float:
    """Index of dispersion of counts at one of `ways` replicas after a random split: 1 + (I - 1) / ways.

    Thinning by q: the variance of a binomial share is q^2 Var N + q (1 - q) E N, over the mean q E N.

    >>> split_dispersion(1.0, 7), split_dispersion(9.0, 4)
    (1.0, 3.0)
    """
    return 1 + (dispersion - 1) / ways
