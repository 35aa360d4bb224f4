"""Interleaved blocks of anything that is prepared: each entrant once a block, in a fresh random order.

The study's own blocks, the gate of `accel compare`, `accel doctor --measure` and the experiments all race through here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from accel.errors import VariantError
from accel.measurement.machine import Machine, detect, env_id
from accel.plugins import Named
from accel.result import Result, Role
from accel.study.folder import StudyFolder
from accel.study.live import Live, Target, Turn
from accel.study.prepare import Prepared
from accel.study.profiles import Profile
from accel.study.resting import rest_of
from accel.study.rounds import Rounds, Who, shuffled


class Entrant(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes part: a prepared artefact and its role. The baseline enters twice, as "baseline" and as "repeat".

    reference: outputs that timed ones are held against; None checks nothing. asks: its own runs in each block, such as
    batches of its own best size; none means those of the race.
    """

    prepared: Prepared
    role: Role = "candidate"
    asks: tuple[Ask, ...] = ()
    reference: Path | None = None
    check_limit: float = 1e-3

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.prepared.variant.name


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One run that every entrant makes in each block."""

    target: Target
    scenario: Named
    batching: Named
    duration_s: float


class Race:
    """Blocks over a fixed field of entrants; a context manager that ends their children.

    A fresh process for every turn if the profile says so, else one an entrant, stopped between its turns. Every run is
    a committed Result in `folder.runs` as `blocks-BLOCK-[repeat-]NAME-TARGET`. Who fails is out; `failed` says why.
    """

    def __init__(
        self,
        folder: StudyFolder,
        profile: Profile,
        entrants: Sequence[Entrant],
        asks: Sequence[Ask],
        *,
        seed: int,
        patience_s: float = 60.0,
        study_id: str = "race",
        machine: Machine | None = None,
    ) -> None:
        self.entrants, self.asks = list(entrants), list(asks)
        self.failed: dict[str, VariantError] = {}
        self._folder, self._profile, self._seed, self._patience_s = folder, profile, seed, patience_s
        self._common: dict[str, Any] = {"study_id": study_id, "env_id": env_id(machine or detect())}
        self._rounds = Rounds(self._open, fresh=profile.fresh, rest=rest_of(profile))

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *_: object) -> None:
        self._rounds.__exit__()

    def block(self, number: int) -> list[Result]:
        """One block; block 0 lets every entrant open. Same seed and number: same order, schedule and samples."""
        found: list[Result] = []
        for position, entrant in enumerate(shuffled(self.entrants, seed=self._seed, block=number)):
            if entrant.name in self.failed:
                continue
            try:
                with self._rounds.turn((entrant.name, entrant.role)) as live:
                    found += [self._run(live, entrant, number, position, ask) for ask in entrant.asks or self.asks]
            except VariantError as error:
                self.failed[entrant.name] = error
        return found

    def _run(self, live: Live, entrant: Entrant, number: int, position: int, ask: Ask) -> Result:
        repeat = "repeat-" if entrant.role == "repeat" else ""
        turn = Turn(
            run_id=f"blocks-{number}-{repeat}{entrant.name}-{ask.target}",
            phase="blocks",
            trial=1000 + number,
            role=entrant.role,
            block=number,
            position=position,
            target=ask.target,
            scenario=ask.scenario,
            batching=ask.batching,
            duration_s=ask.duration_s,
        )
        return live.run(turn, reference=entrant.reference, check_limit=entrant.check_limit, common=self._result)

    def _result(self, fields: dict[str, Any]) -> Result:
        return Result(created_unix_ns=time.time_ns(), **self._common, **fields)

    def _open(self, who: Who) -> Live:
        entrant = next(e for e in self.entrants if (e.name, e.role) == who)
        return Live(
            entrant.prepared,
            self._folder,
            self._profile,
            seed=self._seed,
            tag=f"block-{entrant.role}",
            patience_s=self._patience_s,
        )
