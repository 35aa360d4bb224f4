"""Is the number of replicas right that `accel plan` gives? One and two replicas under two rates, on this machine.

    python -m benchmarks.batching.replicas [--seconds 10] [--rounds 3] [--budget 3m] [--slo p99=20ms]

A replica is a process with one core of its own: the digits network is studied on one core, `accel.plan` says how many
replicas each rate takes, and then one and two of them get that rate. Two replicas answer at the same time, each its own
Poisson stream of half the rate, which is what a balancer that splits at random hands to each. The plan is right if as
many as it says keep the limit and fewer don't. Started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import accel
from accel import demo
from accel.analysis.online import keeps_up, latencies_s
from accel.analysis.percentiles import quantile
from accel.analysis.policy import said
from accel.errors import AccelError, NothingMeasured
from accel.measurement.affinity import pinned, usable
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.slo import Slo
from accel.study.folder import StudyFolder
from accel.study.kept import find
from accel.study.live import Live, Turn
from accel.study.load import server_at
from accel.study.profiles import profile
from accel.study.rounds import shuffled
from accel.study.study import Study
from benchmarks.batching import rows
from benchmarks.subject import kept, place

SHARES = (0.85, 1.7)
"""Of what one replica carries: the first takes one, the second two."""
_LEAST_LIMIT = 1e-3


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One rate with one number of replicas. rate: 1/s in all. planned: by `accel.plan` at the claimed capacity;
    fewest, most: at the ends of its interval. quantile_ms: by round, over the requests of all replicas together.
    within: how many of the rounds kept the limit. holds: the runs say what the plan said.
    """

    rate: float
    planned: int
    fewest: int
    most: int | None
    replicas: int
    quantile_ms: tuple[float | None, ...]
    within: str
    validity: str
    holds: bool


class Confirmed(msgspec.Struct, frozen=True, kw_only=True):
    """What BATCHING.md shows."""

    about: str
    where: rows.Where
    rows: tuple[Row, ...]


class Replicas:
    """Processes with a core each and the same artefact in them, opened late."""

    def __init__(self, study: Study, name: str, policy: Named, seconds: float) -> None:
        self._study, self._name, self._policy, self._seconds = study, name, policy, seconds
        self._one = find(study.folder, name)
        self._open: list[Live] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def answer(self, rate: float, replicas: int, number: int, slo: Slo) -> list[tuple[Result, Trace]]:
        """One round: all replicas at once, each with its share of the rate and a schedule of its own."""
        turns = [self._turn(rate, replicas, number, k, slo) for k in range(replicas)]
        runs = self._study.folder / "runs"
        if any(kept(runs, turn.run_id) is None for turn in turns):
            self._start(replicas)
            for turn in turns:
                (runs / f"{turn.run_id}.json").unlink(missing_ok=True)
            self._together(turns)
        found = [Result.load(runs / f"{turn.run_id}.json") for turn in turns]
        return [(result, Trace.load(runs / str(result.trace))) for result in found]

    def _turn(self, rate: float, replicas: int, number: int, k: int, slo: Slo) -> Turn:
        return Turn(
            run_id=f"replicas-{rate:.5g}-of-{replicas}-{number}-{k}",
            phase="load",
            target=None,
            scenario=server_at(float(f"{rate / replicas:.5g}"), slo.seconds),
            batching=self._policy,
            duration_s=self._seconds,
            trial=7000 + 10 * number + k,
        )

    def _start(self, replicas: int) -> None:
        cores = usable()
        for k in range(len(self._open), replicas):
            # Started from a thread that keeps to this core, so the child does too.
            with pinned((cores[k],)):
                live = Live(
                    self._one.prepared(self._study.folder),
                    StudyFolder(self._study.folder),
                    profile("quick"),
                    seed=self._study.record.seed,
                    tag=f"replica-{k}",
                )
            self._open.append(self._stack.enter_context(live))

    def _together(self, turns: Sequence[Turn]) -> None:
        failed: list[BaseException] = []

        def run(live: Live, turn: Turn) -> None:
            try:
                live.run(turn, reference=None, check_limit=_LEAST_LIMIT, common=self._common)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=pair) for pair in zip(self._open, turns, strict=False)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def _common(self, fields: dict[str, Any]) -> Result:
        record = self._study.record
        return Result(study_id=record.study_id, env_id=record.env_id, created_unix_ns=time.time_ns(), **fields)


def studied(folder: Path, slo: str, budget: str) -> Study:
    """The digits network on one core; what is there already is used."""
    if (folder / "study.json").is_file():
        found = Study(folder)
        if found.record.finished_unix_ns is not None:
            return found
    with pinned(usable()[:1]):
        return accel.bench(
            str(demo.onnx_path()),
            samples=str(demo.samples_path()),
            backend=["onnxruntime"],
            slo=slo,
            budget=budget,
            out=folder,
            resume=folder.exists(),
            name="digits",
        )


def judged(plan: accel.CapacityPlan, rate: float, replicas: int, rounds: Sequence[list[tuple[Result, Trace]]]) -> Row:
    """What the rounds say of one cell; invalid ones say nothing."""
    slo, wanted = plan.slo, plan.chosen.replicas
    usable_rounds = [r for r in rounds if all(result.validity != "invalid" for result, _ in r)]
    found, passed = [], 0
    for one in usable_rounds:
        at = quantile(np.concatenate([latencies_s(trace) for _, trace in one]), slo.p)
        found.append(at)
        passed += at <= slo.seconds and all(keeps_up(trace.counted(), slo.seconds) for _, trace in one)
    within = passed > len(usable_rounds) / 2
    levels = {result.validity for one in rounds for result, _ in one}
    return Row(
        rate=rate,
        planned=wanted.count,
        fewest=wanted.fewest,
        most=wanted.most,
        replicas=replicas,
        quantile_ms=tuple(1e3 * at if np.isfinite(at) else None for at in found),
        within=f"{passed} of {len(usable_rounds)}",
        validity=next(level for level in ("invalid", "unstable", "valid") if level in levels),
        holds=bool(usable_rounds) and within == (replicas >= wanted.count),
    )


def confirmed(given: argparse.Namespace) -> Confirmed:
    """The study, the plans, and the runs that hold them to account."""
    if len(usable()) < max(given.replicas):
        raise NothingMeasured(f"{max(given.replicas)} replicas need as many cores, but {len(usable())} can be used.")
    study = studied(given.out, given.slo, given.budget)
    capacity = accel.plan(study, rate=1).chosen.capacity.value
    plans = {rate: accel.plan(study, rate=rate) for share in SHARES for rate in [float(f"{share * capacity:.4g}")]}
    chosen = next(iter(plans.values())).chosen
    policy = next(r.batching for r in study.results if str(r.batching) == chosen.policy)
    if policy is None:
        raise NothingMeasured("The study has no server run of the policy that it recommends.")
    cells = [(rate, replicas) for rate in plans for replicas in given.replicas]
    rounds: dict[tuple[float, int], list[list[tuple[Result, Trace]]]] = {cell: [] for cell in cells}
    with Replicas(study, chosen.variant, policy, given.seconds) as replicas:
        for number in range(given.rounds):
            for rate, count in shuffled(cells, seed=study.record.seed, block=number):
                print(f"  round {number + 1}: {rate:g}/s on {count}", file=sys.stderr, flush=True)
                rounds[rate, count].append(replicas.answer(rate, count, number, plans[rate].slo))
    first = next(iter(plans.values()))
    return Confirmed(
        about=(
            f"The digits network, `{chosen.variant}` ({said(first.chosen.policy)}), {first.slo}; "
            f"one replica (a process on one core) carries {chosen.capacity.value:.4g} requests/s. As many replicas as "
            "`accel plan` says must keep the limit, fewer must not."
        ),
        where=rows.Where.here(),
        rows=tuple(judged(plans[rate], rate, count, found) for (rate, count), found in rounds.items()),
    )


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slo", default="p99=20ms")
    parser.add_argument("--budget", default="3m", help="of the study on one core")
    parser.add_argument("--seconds", type=float, default=10.0, help="counted seconds of a run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each rate and number")
    parser.add_argument("--replicas", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--out", type=Path, default=place() / "batching" / "replicas")
    parser.add_argument("--rows", type=Path, default=rows.FOLDER, help="folder of the JSON file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given = parsed(arguments)
    try:
        found = confirmed(given)
    except AccelError as error:
        print(f"replicas: {error}", file=sys.stderr)
        return error.exit_code
    print(rows.write(found, "replicas", given.rows))
    for row in found.rows:
        print(f"{row.rate:g}/s on {row.replicas}: planned {row.planned}, {row.within} within, holds: {row.holds}")
    return 0 if all(row.holds for row in found.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
