"""How much evidence each profile gathers (rules 15, 21, 46): numbers only, so that a report can name them."""

from __future__ import annotations

import msgspec

from accel.errors import InputError, nearest


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of profiles; times in seconds.

    blocks: how many interleaved blocks; confirmations: fresh baseline/winner pairs at the end.
    fresh: a process of its own for every run; False parks one process a variant between its turns.
    screen_s, tune_s, measure_s, server_s: counted time of one run in each phase.
    server_requests: a server trial is lengthened until it holds this many requests, up to server_max_s.
    finalists: how many variants beside the baseline go into the blocks.
    """

    name: str
    blocks: int
    confirmations: int
    fresh: bool
    warmup_iterations: int
    warmup_s: float
    screen_s: float
    tune_s: float
    measure_s: float
    server_s: float
    server_requests: int
    server_max_s: float
    cool_down_s: float
    finalists: int
    budget: str


_QUICK = Profile(
    name="quick",
    blocks=6,
    confirmations=4,
    fresh=False,
    warmup_iterations=10,
    warmup_s=0.3,
    screen_s=0.6,
    tune_s=0.4,
    measure_s=1.0,
    server_s=2.0,
    server_requests=120,
    server_max_s=4.0,
    cool_down_s=0.0,
    finalists=3,
    budget="5m",
)
_SHARED = msgspec.structs.replace(
    _QUICK,
    name="shared",
    blocks=10,
    confirmations=10,
    fresh=True,
    warmup_s=2.0,
    measure_s=3.0,
    tune_s=1.0,
    server_s=15.0,
    server_requests=1000,
    server_max_s=60.0,
    cool_down_s=1.0,
    budget="60m",
)
PROFILES = {
    "quick": _QUICK,
    "shared": _SHARED,
    "quiet": msgspec.structs.replace(_SHARED, name="quiet"),
    "gpu": msgspec.structs.replace(_SHARED, name="gpu", warmup_s=5.0),
}


def profile(name: str) -> Profile:
    """Look a profile up; InputError offers the nearest name."""
    if name not in PROFILES:
        raise InputError(f"No profile is called `{name}`. {nearest(name, PROFILES)}")
    return PROFILES[name]
