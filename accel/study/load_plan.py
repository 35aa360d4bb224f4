"""Which server runs draw the curve from idle to twice saturation, and which of them come first? Pure: no clock, no
folder; the same answers for the same numbers, so a resumed study plans the same runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from accel.plugins import Named
from accel.simulation.policies import LOOK_AHEAD_P
from accel.simulation.service_times import ServiceTimes

Key = Literal["single", "dynamic", "dynamic-keeps", "early_commit", "window"]
Policies = dict[Key, Named]
_SHARES = (0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0)
"""Of saturation."""
REPEATS = 3
"""A loss is only said with an interval, which takes three trials at a rate (rule 19)."""
_PEER_SIZE, _PEER_TIMEOUT_S = 10, 0.01
"""Ray Serve's defaults: ten requests, 10 ms."""
_WHOLE: tuple[Key, ...] = ("single", "dynamic")
"""Whose curves are drawn at every rate, in the end; the others' lie between, and are simulated there."""
_DEADLINE: tuple[Key, ...] = ("dynamic", "dynamic-keeps")
_TRIALS = 50_000
"""Schedules are drawn from other seeds than those of blocks, pairs, rounds and looks (up to 40,000)."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One server run of the load curve. trial: the same for every policy at a rate, so they get the same schedule."""

    name: str
    key: Key
    policy: Named
    rate: float
    trial: int

    @property
    def run_id(self) -> str:
        """Stable over attempts."""
        return f"load-{self.trial - _TRIALS:04d}-{self.name}-{self.key}-{self.rate:g}"


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """One variant: its policies and the rates (1/s) of its curve; claim: what it carries within the SLO, or 0.

    saturation: with full batches of its best size on every instance (1/s).
    """

    name: str
    policies: Policies
    saturation: float
    claim: float = 0.0

    @property
    def rates(self) -> tuple[float, ...]:
        """From nearly idle to twice saturation, with those at which policies are compared, ascending."""
        found = {_rounded(share * self.saturation) for share in _SHARES}
        return tuple(sorted(found | set(self.key_rates)))

    @property
    def key_rates(self) -> tuple[float, float, float]:
        """Half of what it carries, all of it, and twice saturation."""
        carried = self.claim or 0.7 * self.saturation
        return _rounded(0.5 * carried), _rounded(carried), _rounded(2 * self.saturation)


def policies(tuned: Named, times: ServiceTimes, slo_s: float) -> Policies:
    """What is compared: one at a time, the study's own dynamic policy (and the same giving nobody up), and two that
    servers ship with.

    tuned: what the study chose. Where that isn't `dynamic`, one that takes up to the largest batch stands for it.
    """
    ours = tuned if tuned.name == "dynamic" else Named("dynamic", {"max_size": times.largest})
    if ours.fields.get("drop", "none") == "none":
        curve = [list(point) for point in times.curve(LOOK_AHEAD_P)]
        fields: dict[str, Any] = {**ours.fields, "slo_s": slo_s, "drop": "early", "curve": curve}
        ours = Named("dynamic", fields)
    kept = {k: v for k, v in ours.fields.items() if k in ("max_size", "target")}
    size = min(_PEER_SIZE, times.largest)
    largest = int(ours.fields.get("target") or ours.fields.get("max_size", times.largest))
    return {
        "single": Named("single"),
        "dynamic": ours,
        "dynamic-keeps": Named("dynamic", kept),
        "early_commit": Named("early_commit", {"size": size, "timeout_s": _PEER_TIMEOUT_S}),
        "window": Named("window", {"size": largest, "timeout_s": _PEER_TIMEOUT_S}),
    }


def saturation(times: ServiceTimes, instances: int = 1) -> float:
    """Requests a second if full batches of the best measured size follow one another on every instance."""
    return max(instances * size / times.median_ns(size) * 1e9 for size in times.sizes)


def stages(grids: Sequence[Grid]) -> list[list[Cell]]:
    """The runs in the order of their worth; each stage is interleaved by itself, none is begun before the last ended.

    grids: the winner, then the baseline where that is another variant. First the chosen policy against none below and
    at the limit, and beyond it with and without giving up; then the servers' policies, repeats where an interval is
    wanted, the baseline, and the rest of two curves.
    """
    first = grids[0]
    half, claim, over = first.key_rates
    compared: tuple[Key, ...] = ("single", "dynamic", "early_commit", "window")
    found = [
        [
            *(_cell(first, key, rate) for rate in (half, claim) for key in _WHOLE),
            *(_cell(first, key, over) for key in _DEADLINE),
        ],
        [
            *(_cell(first, key, rate) for rate in (claim, over) for key in ("early_commit", "window")),
            _cell(first, "single", over),
        ],
        *(
            [
                *(_cell(first, key, claim, repeat) for key in compared),
                *(_cell(first, key, over, repeat) for key in _DEADLINE),
            ]
            for repeat in range(1, REPEATS)
        ),
        *([_cell(other, key, rate) for rate in other.key_rates for key in other.policies] for other in grids[1:]),
        [_cell(first, key, rate) for rate in first.rates for key in _WHOLE],
    ]
    first_in = {cell.run_id: number for number, stage in reversed(list(enumerate(found))) for cell in stage}
    return [[c for c in stage if first_in[c.run_id] == number] for number, stage in enumerate(found)]


def _cell(grid: Grid, key: Key, rate: float, repeat: int = 0) -> Cell:
    trial = _TRIALS + 100 * repeat + grid.rates.index(rate)
    return Cell(name=grid.name, key=key, policy=grid.policies[key], rate=rate, trial=trial)


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")
