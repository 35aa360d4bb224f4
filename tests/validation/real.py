"""A race on this machine between stand-ins of known service time, in measure children of their own, read by accel."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from accel.analysis.comparison import MIN_EFFECTS
from accel.analysis.conclusion import Comparison
from accel.analysis.paired import compare_all
from accel.plugins import Named
from accel.result import Result
from accel.study.profiles import profile
from accel.study.racing import Ask, Entrant, Race
from accel.study.standin import folder_of, renamed, stand_in

BASE = "original"


def compared(
    candidates: Mapping[str, float],
    *,
    seed: int,
    blocks: int = 6,
    item_s: float = 0.002,
    warmup_s: float = 0.2,
    measured_s: float = 0.5,
) -> dict[str, Comparison]:
    """The verdicts of the profile `quick` on candidates that take so many times as long as the baseline.

    The baseline runs twice in each block. A block lasts about 0.7 s a run, and starting the children a second each.
    Raises VariantError if one of them failed.
    """
    with tempfile.TemporaryDirectory() as root:
        folder = folder_of(Path(root) / "race", seed=seed)
        base = stand_in(folder, BASE, item_s=item_s)
        entrants = [Entrant(prepared=base, role="baseline"), Entrant(prepared=base, role="repeat")]
        for name, times in candidates.items():
            entrants.append(Entrant(prepared=renamed(base, name, item_s=item_s * times)))
        ask = Ask(target="latency", scenario=Named("single_stream"), batching=Named("single"), duration_s=measured_s)
        short = msgspec.structs.replace(profile("quick"), warmup_s=warmup_s)
        results: list[Result] = []
        with Race(folder, short, entrants, [ask], seed=seed) as race:
            for number in range(blocks):
                results += race.block(number)
        for error in race.failed.values():
            raise error
        return compare_all(results, folder.runs, BASE, "latency", min_effect=MIN_EFFECTS["quick"], seed=seed)
