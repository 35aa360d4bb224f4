"""How much evidence each profile gathers (rules 15, 21, 46): numbers only, so that a report can name them."""

from __future__ import annotations

import msgspec

from accel.errors import InputError, nearest


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of profiles; times in seconds.

    blocks, up_to_blocks: interleaved blocks, at least and at most; between the two the width of the intervals decides.
        None: exactly `blocks`.
    confirmations: fresh baseline/winner pairs at the end.
    fresh: a process of its own for every run; False parks one process a variant between its turns.
    screen_s, tune_s, measure_s, server_s: counted time of one run in each phase.
    server_requests: a server trial is lengthened until it holds this many requests, up to server_max_s.
    search_s, search_requests: the least length of a trial that searches for the highest rate, and the least requests in
        it (rules 25, 30). resolution: no claimed rate is finer than this share of itself.
    load_s: the least length of a trial of the load curve.
    cool_down_s: rest before each fresh process; 60 s at most on a GPU until it is as cool as at the start.
    finalists: how many variants beside the baseline go into the blocks.
    *_share: of the budget: until when variants are screened, then tuned; what is kept for the search,
        confirmation and load curve.
    probe_gaps_s: pauses between calls at which the winner and the baseline are looked at once more.
    """

    name: str
    blocks: int
    up_to_blocks: int | None
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
    search_s: float
    search_requests: int
    resolution: float
    load_s: float
    cool_down_s: float
    finalists: int
    screening_share: float
    tuning_share: float
    search_share: float
    confirming_share: float
    load_share: float
    probe_gaps_s: tuple[float, ...]
    budget: str

    @property
    def most_blocks(self) -> int:
        """How many planned blocks there are at most."""
        return self.blocks if self.up_to_blocks is None else max(self.blocks, self.up_to_blocks)


_QUICK = Profile(
    name="quick",
    blocks=6,
    up_to_blocks=None,
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
    search_s=15.0,
    search_requests=1000,
    resolution=0.05,
    load_s=2.0,
    cool_down_s=0.0,
    finalists=3,
    screening_share=0.45,
    tuning_share=0.12,
    search_share=0.0,
    confirming_share=0.16,
    load_share=0.0,
    probe_gaps_s=(0.01, 0.1),
    budget="5m",
)
_SHARED = msgspec.structs.replace(
    _QUICK,
    name="shared",
    blocks=10,
    up_to_blocks=30,
    confirmations=10,
    fresh=True,
    warmup_s=2.0,
    measure_s=3.0,
    tune_s=1.0,
    server_s=15.0,
    server_requests=1000,
    server_max_s=60.0,
    search_s=60.0,
    search_requests=4000,
    load_s=8.0,
    cool_down_s=1.0,
    screening_share=0.18,
    tuning_share=0.06,
    search_share=0.38,
    confirming_share=0.10,
    load_share=0.05,
    probe_gaps_s=(0.01, 0.1, 1.0),
    budget="90m",
)
_QUIET = msgspec.structs.replace(_SHARED, name="quiet", search_s=30.0, resolution=0.02, budget="60m")
PROFILES = {
    "quick": _QUICK,
    "shared": _SHARED,
    "quiet": _QUIET,
    "gpu": msgspec.structs.replace(_QUIET, name="gpu", warmup_s=5.0, budget="75m"),
}


def profile(name: str) -> Profile:
    """Look a profile up; InputError offers the nearest name."""
    if name not in PROFILES:
        raise InputError(f"No profile is called `{name}`. {nearest(name, PROFILES)}")
    return PROFILES[name]
