"""Measures an old and a new artefact here, now, in interleaved blocks, until the limits can be told or the time is up.

The old one enters twice in each block (baseline and repeat), the new one once; every turn is a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from accel.analysis.duel import measured, narrow
from accel.analysis.gate import MIN_BLOCKS, Limit, Measured, changed
from accel.analysis.runs import Run, load_runs
from accel.errors import InputError, VariantError
from accel.measurement.outputs import load_ids
from accel.plugins import Named
from accel.result import Role
from accel.study.folder import StudyFolder
from accel.study.live import Live
from accel.study.prepare import Prepared
from accel.study.profiles import Profile, profile
from accel.study.racing import Ask, Entrant, Race
from accel.study.standin import renamed

OLD, NEW = "old", "new"
MOST_BLOCKS = 60
_SHORTEST_S, _LONGEST_S = 1.0, 20.0
SHARE = 0.8
"""Of a duel's time, what is planned for its first MIN_BLOCKS blocks at most."""

Say = Callable[[str], None]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What to open, what it runs in each block, how far its timed outputs may be from its own answers."""

    prepared: Prepared
    asks: tuple[Ask, ...]
    check_limit: float = 1e-3


class Fought(msgspec.Struct, frozen=True, kw_only=True):
    """What the blocks gave: the change per limit, how many whole blocks there were and what one took.

    failed: why a side couldn't go on, by "old" and "new".
    """

    measured: dict[Limit, Measured]
    blocks: int
    block_s: float
    failed: dict[str, VariantError] = {}


def gate_profile() -> Profile:
    """`quick`, with a fresh process for every turn: the layout of one process must not speak for an artefact."""
    return msgspec.structs.replace(profile("quick"), fresh=True)


class Duel:
    """Old against new over one set of samples. place: where the runs go. samples: a folder of samples of a study."""

    def __init__(
        self,
        old: Side,
        new: Side,
        limits: Sequence[Limit],
        *,
        place: Path,
        samples: Path,
        profile: Profile | None = None,
        seed: int = 0,
        patience_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = tuple(limits)
        self.folder = StudyFolder(place)
        self.folder.create(resume=False)
        self.folder.samples = samples
        self.failed: dict[str, VariantError] = {}
        self._sides = {OLD: old, NEW: new}
        self._profile = profile or gate_profile()
        self._seed, self._patience_s, self._clock = seed, patience_s, clock
        self._answers: dict[str, Path] = {}

    def answer(self, ids: Sequence[int]) -> bool:
        """Both answer the same samples once, so that wrong answers are seen before they are timed; False if one can't.

        The answers lie in `folder.reference` as old.npz and new.npz.
        """
        for name, side in self._sides.items():
            out = self.folder.reference / f"{name}.npz"
            try:
                with Live(
                    renamed(side.prepared, name),
                    self.folder,
                    self._profile,
                    seed=self._seed,
                    tag="answers",
                    patience_s=self._patience_s,
                ) as live:
                    step = max(live.sizes) if live.sizes else 8
                    live.answer(list(ids), step, out, timeout_s=self._patience_s)
                    assert len(load_ids(out)) == len(ids)
            except VariantError as error:
                self.failed[name] = error
                continue
            except InputError as error:  # a third party's backend, or a field of a newer one, isn't known here
                self.failed[name] = VariantError(str(error))
                continue
            self._answers[name] = out
        return not self.failed

    def fight(self, budget_s: float, say: Say | None = None) -> Fought:
        """Blocks until every limit's interval is narrow enough, or the time is up."""
        begun = self._clock()
        longest = 0.0
        with Race(
            self.folder, self._profile, self._entrants(), (), seed=self._seed, patience_s=self._patience_s
        ) as race:

            def block(number: int) -> list[Run] | None:
                nonlocal longest
                start = self._clock()
                if number and start - begun + 1.1 * longest > budget_s:
                    return None
                runs, _ = load_runs(race.block(number), self.folder.runs)
                longest = max(longest, self._clock() - start)
                return None if race.failed else runs

            found = until_narrow(self.limits, block, say)
            self.failed |= race.failed
        blocks = max((m.blocks for m in found.values()), default=0)
        took = (self._clock() - begun) / max(1, blocks)
        return Fought(measured=found, blocks=blocks, block_s=took, failed=dict(self.failed))

    def _entrants(self) -> list[Entrant]:
        old, new = self._sides[OLD], self._sides[NEW]
        return [
            self._entrant(OLD, old, "baseline"),
            self._entrant(OLD, old, "repeat"),
            self._entrant(NEW, new, "candidate"),
        ]

    def _entrant(self, name: str, side: Side, role: Role) -> Entrant:
        return Entrant(
            prepared=renamed(side.prepared, name),
            role=role,
            asks=side.asks,
            reference=self._answers.get(name),
            check_limit=side.check_limit,
        )


def until_narrow(
    limits: Sequence[Limit], block: Callable[[int], Sequence[Run] | None], say: Say | None = None
) -> dict[Limit, Measured]:
    """Ask for block after block until every interval is narrow enough; stops on width only, never on what it shows.

    block: the runs of one block; None means that there is no time for it, or that a side can't go on.
    """
    runs: list[Run] = []
    for number in range(MOST_BLOCKS):
        found = block(number)
        if found is None:
            break
        runs += found
        if say is not None:
            say(f"block {number + 1}: {_standing(limits, runs)}")
        if all(narrow(limit, runs, most=MOST_BLOCKS) for limit in limits):
            break
    return {limit: measured(limit, runs) for limit in limits}


def _standing(limits: Sequence[Limit], runs: Sequence[Run]) -> str:
    return ", ".join(f"{limit.metric} {changed(measured(limit, runs))}" for limit in limits)


def latency_ask(duration_s: float) -> Ask:
    """One client at a time."""
    return Ask(
        target="latency", scenario=Named("single_stream"), batching=Named("single"), duration_s=round(duration_s, 3)
    )


def batch_ask(size: int, duration_s: float) -> Ask:
    """Everything at once, in batches of one size."""
    fixed = Named("fixed", {"size": size})
    return Ask(target="batch", scenario=Named("offline"), batching=fixed, duration_s=round(duration_s, 3))


def seconds_for(requests: int, latency_s: float, *, budget_s: float, asks: int, start_s: float) -> float:
    """How long a single_stream run must be to hold that many requests, cut to what MIN_BLOCKS blocks can afford.

    latency_s: of the slower side. asks: runs a turn. start_s: what a fresh process takes before it is timed.
    """
    wanted = 1.15 * requests * latency_s
    affordable = (SHARE * budget_s / (3 * MIN_BLOCKS) - start_s) / asks
    return max(_SHORTEST_S, min(wanted, affordable, _LONGEST_S))
