"""One run against an endpoint: in a measure child of its own, committed as a Result whatever came of it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Literal

import msgspec

from accel.compilation.endpoint import FAILURES
from accel.endpoint.look import Server
from accel.errors import VariantError
from accel.measurement.noise import validity
from accel.measurement.trace import ERROR, Trace
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Phase, Result, SetUp, Witness
from accel.slo import Slo
from accel.study.folder import StudyFolder
from accel.study.live import Live, Target, Turn
from accel.study.prepare import Prepared
from accel.study.profiles import profile

NAME = "endpoint"
_BUSY_WARN, _BUSY = 0.3, 0.6


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: limit or None, the rates named, connections, seconds in all, seconds for one answer."""

    limit: Slo | None
    rates: tuple[float, ...]
    connections: int
    budget_s: float
    timeout_s: float
    seed: int
    study_id: str
    env_id: str


class Stopped(VariantError):
    """Driving ended early, for the reason given."""


class Runs:
    """Makes runs against one endpoint, whose requests lie in the study's folder; `sent` counts its requests.

    client_s: processor seconds that one call takes here; set it once it is known, and runs at a rate are judged by it.
    """

    def __init__(self, server: Server, folder: StudyFolder, settings: Settings) -> None:
        self.server, self.folder, self.settings = server, folder, settings
        self.sent = 0
        self.client_s = 0.0

    def live(self, call: str, instances: int) -> Live:
        """A measure child that makes this call over so many connections."""
        server, settings = self.server, self.settings
        fields = {"url": server.url, "protocol": server.protocol, "timeout_s": settings.timeout_s, "call": call}
        fields |= {"binary": True} if server.binary else {}
        prepared = Prepared(
            variant=Variant(name=NAME, backend=Named(NAME, fields), instances=instances),
            folder=str(self.folder.artefacts / NAME),
            form="callable",
            set_up=SetUp(),
            artefact_bytes=0,
        )
        return Live(
            prepared,
            self.folder,
            profile("quick"),
            seed=settings.seed,
            tag=f"{call}-{instances}",
            patience_s=60.0 + settings.timeout_s,
        )

    def run(
        self,
        live: Live,
        run_id: str,
        phase: Phase,
        target: Target | None,
        scenario: Named,
        seconds: float,
        trial: int = 0,
        *,
        gently: bool = False,
    ) -> tuple[Result, Trace]:
        """One run and its Result on disk; raises Stopped, with a failed Result on disk, if it couldn't be made.

        gently: a warm-up of three calls only, for calls that a server isn't made to take thousands of a second.
        """
        turn = Turn(
            run_id=run_id,
            phase=phase,
            target=target,
            scenario=scenario,
            batching=Named("single"),
            duration_s=seconds,
            trial=trial,
            role="baseline",
            warmup_iterations=3 if gently else None,
            warmup_s=0.0 if gently else None,
        )
        try:
            result = live.run(turn, reference=None, check_limit=0.0, common=self._result)
        except VariantError as error:
            tail = getattr(error, "log_tail", "")
            known = {"run_id": run_id, "phase": phase, "target": target, "scenario": scenario, "role": "baseline"}
            failed = {"variant": live.prepared.variant, "status": "failed", "reason": error.reason, "log_tail": tail}
            self._result({**known, **failed}).save(self.folder.runs)
            raise Stopped(error.reason.rstrip(".")) from None
        trace = Trace.load(self.folder.runs / str(result.trace))
        self.sent += len(trace)
        return self._judged(result, scenario.fields.get("rate")), trace

    def errors(self, trace: Trace) -> dict[str, int]:
        """Why calls of the last run failed: the last lines of the engine's list, one for each failed call of it."""
        failed = int((trace.status == ERROR).sum())
        path = self.folder.artefacts / NAME / FAILURES
        if not failed or not path.is_file():
            return {}
        return dict(Counter(path.read_text("utf-8", "replace").splitlines()[-failed:]).most_common())

    def _result(self, fields: dict[str, Any]) -> Result:
        settings = self.settings
        return Result(study_id=settings.study_id, created_unix_ns=time.time_ns(), env_id=settings.env_id, **fields)

    def _judged(self, result: Result, rate: float | None) -> Result:
        """The run as a reading of somebody's server, and what the generator itself takes beside it."""
        witnesses = [as_answers(w) for w in result.witnesses]
        if rate is not None:
            witnesses.append(busy(rate * self.client_s))
        judged = msgspec.structs.replace(result, witnesses=tuple(witnesses), validity=validity(witnesses))
        judged.save(self.folder.runs)
        return judged


def as_answers(found: Witness) -> Witness:
    """W13 counts what a server refuses and W10 how its times change, with its queue for one: both are what is measured
    here and no fault of the measurement, so they warn at most.
    """
    if found.id in ("W10", "W13") and found.level in ("unstable", "invalid"):
        return msgspec.structs.replace(found, level="warn")
    return found


def busy(share: float) -> Witness:
    """W11: how much of one core sending and reading takes; above 60 % the generator's own work is in the latencies.

    >>> busy(0.7).level
    'unstable'
    """
    level: Literal["ok", "warn", "unstable"] = "ok" if share <= _BUSY_WARN else "warn" if share <= _BUSY else "unstable"
    return Witness(
        id="W11",
        value=share,
        warn=_BUSY_WARN,
        unstable=_BUSY,
        invalid=None,
        level=level,
        sentence=f"Sending and reading takes {100 * share:.2g} % of one core at this rate, which is in the latencies.",
    )
