"""How many requests a second does each batching policy carry within the limit, on real models, and under overload?

    python -m benchmarks.batching.policies [--models digits,minilm] [--seconds 6] [--rounds 7]

Per model: one good variant is prepared, its latency-against-batch curve measured, each policy's best fields found on
the simulator (benchmarks/batching/candidates.py). Then every policy searches for its highest rate by short server
trials, one policy after another in random order each round, over the same unit schedule (rule 6), in one process. Then
runs at 40 and 70 % of saturation, which `prediction` reads, and at twice saturation with early drop and without.
Each run is kept; started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel import plugins
from accel.analysis.capacity import Capacity, ratio
from accel.analysis.online import Trial, generator_was_late, goodput, read_trial
from accel.errors import AccelError
from accel.measurement.trace import DROPPED, Trace
from accel.plugins import Named
from accel.result import Level, Result, write_atomically
from accel.simulation.predict import goodput as simulated_goodput
from accel.simulation.service_times import ServiceTimes
from accel.study.live import Turn
from accel.study.load import server_at
from accel.study.max_qps import Search
from accel.study.rounds import shuffled
from benchmarks.batching import rows
from benchmarks.batching.candidates import Candidate, Field, field
from benchmarks.subject import SIZES, Runner, Subject, curve, place

SHARES = (0.4, 0.7)
LOADED = ("single", "dynamic")
_OVERLOADS = 2
_PLAN = "policies.json"


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What is run of a recipe: which variant, and how long a trial is counted."""

    backend: str
    compression: str = ""
    seconds: float = 6.0

    @property
    def name(self) -> str:
        """As accel names it."""
        return f"{self.compression}+{self.backend}" if self.compression else self.backend


MODELS = {
    "digits": Chosen(backend="onnxruntime", seconds=3.0),
    "minilm": Chosen(backend="onnxruntime", compression="quantize_dynamic", seconds=5.0),
    "ocr": Chosen(backend="onnxruntime", compression="quantize_static", seconds=6.0),
    "bert_base": Chosen(backend="onnxruntime", compression="quantize_dynamic", seconds=10.0),
}


def subject_of(model: str, chosen: Chosen) -> tuple[Subject, Runner]:
    """A model with its chosen variant, ready to be timed."""
    compression = [chosen.compression] if chosen.compression else []
    subject = Subject(model, folder_of(model, chosen.name), backend=[chosen.backend], compression=compression)
    return subject, Runner(subject, subject.ready(subject.variants[chosen.name]))


def folder_of(model: str, variant: str) -> Path:
    """Where the runs of a model's variant are kept."""
    return place() / "batching" / f"{Path(model).stem}-{variant}"


class Experiment:
    """One model's runs, in their order."""

    def __init__(self, runner: Runner, *, seconds: float, curve_s: float, sizes: Sequence[int], rounds: int) -> None:
        self.runner, self.record = runner, runner.subject.record
        self.rounds = rounds
        by_size = curve(runner, curve_s, sizes)
        self.times = ServiceTimes(by_size)
        self.field = self._settled(seconds)

    def _settled(self, seconds: float) -> Field:
        """Who takes part; decided once, so that what goes on later goes on alike."""
        path = self.runner.subject.folder.root / _PLAN
        if path.is_file():
            return msgspec.json.decode(path.read_bytes(), type=Field)
        slo_s, seed = self.record.slo_s or 1.0, self.record.seed
        found = field(self.times, wanted_p=self.record.slo_p, slo_s=slo_s, seconds=seconds, seed=seed)
        write_atomically(path, msgspec.json.encode(found))
        return found

    def trials(self) -> dict[str, tuple[Search, list[rows.Point]]]:
        """Every policy's search, interleaved."""
        seed = self.record.seed
        found = {
            c.name: (
                # One more than are made: the last would be a look at a quarter of the claim.
                Search(self.field.p, self.field.slo_s, c.simulated, seed, fresh=0, most=self.rounds + 1),
                list[rows.Point](),
            )
            for c in self.field.candidates
        }
        for number in range(self.rounds):
            for one in shuffled(self.field.candidates, seed=seed, block=number):
                search, points = found[one.name]
                rate = search.ask()
                if rate is None:
                    continue
                result, trace = self._server(f"policies-{one.name}-{number}", one.batching, rate, trial=3000 + number)
                search.tell(self._trial(result, trace))
                points.append(self._point(result, trace))
        return found

    def loads(self) -> None:
        """Runs at shares of saturation; `prediction` reads them."""
        for share in SHARES:
            for one in self.field.candidates:
                if one.name in LOADED:
                    rate = self._rounded(share * self._own_saturation(one))
                    self._server(f"load-{one.name}-{share:g}", one.batching, rate, trial=4000, phase="load")

    def overload(self) -> tuple[rows.Overload, ...]:
        """Twice saturation, with the tuned `dynamic` and the same without dropping, by turns."""
        best = next((c for c in self.field.candidates if c.name == "dynamic"), None)
        if best is None:
            return ()
        rate = self._rounded(2 * self.field.saturation)
        ways = {drop: Named("dynamic", {**best.batching.fields, "drop": drop}) for drop in ("early", "none")}
        good: dict[str, list[float]] = {drop: [] for drop in ways}
        levels: dict[str, list[Level]] = {drop: [] for drop in ways}
        for number in range(_OVERLOADS):
            for drop in shuffled(list(ways), seed=self.record.seed, block=9000 + number):
                run_id = f"overload-{drop}-{number}"
                result, trace = self._server(run_id, ways[drop], rate, trial=5000 + number, phase="load")
                levels[drop].append(result.validity)
                good[drop].append(goodput(trace.counted(), self.field.slo_s))
        return tuple(
            rows.Overload(
                drop=drop,
                rate=rate,
                goodputs=tuple(good[drop]),
                levels=tuple(levels[drop]),
                simulated=simulated_goodput(
                    self.times, plugins.make("batching", way), rate, self.field.slo_s, seed=self.record.seed
                ),
            )
            for drop, way in ways.items()
        )

    def _own_saturation(self, one: Candidate) -> float:
        if one.name == "single":
            return 1e9 / self.times.median_ns(1)
        return self.field.saturation

    def _rounded(self, rate: float) -> float:
        return float(f"{rate:.5g}")

    def _server(
        self, run_id: str, batching: Named, rate: float, *, trial: int, phase: Any = "search"
    ) -> tuple[Result, Trace]:
        turn = Turn(
            run_id=run_id,
            phase=phase,
            target="online" if phase == "search" else None,
            scenario=server_at(rate, self.field.slo_s),
            batching=batching,
            duration_s=self.field.seconds,
            trial=trial,
        )
        print(f"  {run_id}: {rate:g}/s", file=sys.stderr, flush=True)
        return self.runner.run(turn)

    def _trial(self, result: Result, trace: Trace) -> Trial:
        return read_trial(
            trace,
            rate=rate_of(result),
            p=self.field.p,
            slo_s=self.field.slo_s,
            level=result.validity,
            phase=result.phase,
            generator_late=generator_was_late(result),
        )

    def _point(self, result: Result, trace: Trace) -> rows.Point:
        trial = self._trial(result, trace)
        counted = trace.counted()
        return rows.Point(
            rate=trial.rate,
            quantile_s=trial.quantile_s if math.isfinite(trial.quantile_s) else None,
            n=trial.n,
            level=trial.level,
            keeps_up=trial.keeps_up,
            goodput=trial.goodput,
            busy=busy(trace),
            dropped=float(np.mean(counted.status == DROPPED)) if len(counted) else 0.0,
        )


def rate_of(result: Result) -> float:
    """The rate a server run was asked for."""
    return float(result.scenario.fields["rate"]) if result.scenario is not None else 0.0


def busy(trace: Trace) -> float:
    """Which share of the time in which counted requests were due the engine ran a batch (one worker)."""
    counted = trace.counted()
    start, end = int(counted.due.min()), int(counted.due.max())
    done = trace.ok()
    firsts = np.unique(done.batch, return_index=True)[1]
    inside = np.minimum(done.finished[firsts], end) - np.maximum(done.started[firsts], start)
    return float(np.maximum(inside, 0).sum() / max(end - start, 1))


def measured(model: str, given: argparse.Namespace) -> rows.Policies:
    """All of one model's rows."""
    chosen = MODELS.get(model, Chosen(backend="onnxruntime"))
    subject, runner = subject_of(model, chosen)
    with runner:
        experiment = Experiment(
            runner,
            seconds=given.seconds or chosen.seconds,
            curve_s=given.curve_seconds,
            sizes=given.sizes,
            rounds=given.rounds,
        )
        searches = experiment.trials()
        experiment.loads()
        overload = experiment.overload()
    found = experiment.field
    conclusions = {name: search.conclusion() for name, (search, _) in searches.items()}
    return rows.Policies(
        model=subject.record.name,
        variant=runner.ready.name,
        random_weights=subject.record.source.random_weights,
        where=rows.Where.here(),
        p=found.p,
        wanted_p=subject.record.slo_p,
        slo_s=found.slo_s,
        seconds=found.seconds,
        curve=found.curve,
        saturation=found.saturation,
        verdict=found.verdict,
        policies=tuple(
            _policy(c, conclusions[c.name], conclusions.get("single"), searches[c.name][1]) for c in found.candidates
        ),
        overload=overload,
    )


def _policy(
    one: Candidate, found: Capacity | None, single: Capacity | None, points: Sequence[rows.Point]
) -> rows.Policy:
    against = None if found is None or single is None or one.name == "single" else ratio(found, single)
    crossing = (
        rows.Span(value=0.0) if found is None else rows.Span(value=found.crossing, low=found.low, high=found.high)
    )
    return rows.Policy(
        name=one.name,
        batching=one.batching,
        simulated=one.simulated,
        claim=0.0 if found is None else found.claim,
        crossing=crossing,
        level="invalid" if found is None else found.level,
        flags=() if found is None else found.flags,
        points=tuple(points),
        against_single=None
        if against is None
        else rows.Span(value=against[0].value, low=against[0].low, high=against[0].high),
    )


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS), type=lambda text: text.split(","))
    parser.add_argument("--seconds", type=float, help="counted seconds of a trial; by default each model's own")
    parser.add_argument("--curve-seconds", type=float, default=1.0)
    parser.add_argument("--sizes", type=lambda text: [int(s) for s in text.split(",")], default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=7, help="server trials a policy")
    parser.add_argument("--rows", type=Path, default=rows.FOLDER, help="folder of the JSON files")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given = parsed(arguments)
    failed = 0
    for model in given.models:
        print(model, file=sys.stderr, flush=True)
        try:
            found = measured(model, given)
        except (AccelError, ValueError) as error:
            print(f"{model}: {error}", file=sys.stderr)
            failed += 1
            continue
        print(rows.write(found, f"policies-{found.model}", given.rows))
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
