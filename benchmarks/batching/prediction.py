"""Does the simulator say what a run said? It is fed the very arrivals and service times of each run of `policies`.

    python -m benchmarks.batching.prediction [--models digits,minilm]

Nothing is measured here: the runs that `policies` kept are read. Per run the SLO's quantile is compared, per policy the
rate at which the limit is met: measured by trials, and simulated from the curve that was measured before them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from accel import plugins
from accel.analysis.online import generator_was_late, latencies_s
from accel.analysis.percentiles import quantile
from accel.measurement.trace import Trace
from accel.result import Result
from accel.simulation.predict import capacity
from accel.simulation.retrace import predicted_from_trace, times_of
from benchmarks.batching import rows
from benchmarks.batching.policies import MODELS, busy, folder_of, rate_of

_PATTERNS = ("load-*.json", "policies-*.json")


def predictions(runs: Path, p: float) -> list[rows.Prediction]:
    """Every kept server run against the simulator; overload is left out, since what grows with time has no quantile."""
    found = []
    for path in sorted(p for pattern in _PATTERNS for p in runs.glob(pattern)):
        result = Result.load(path)
        if result.batching is None or result.trace is None or generator_was_late(result):
            continue
        trace = Trace.load(runs / result.trace)
        measured = quantile(latencies_s(trace), p)
        predicted = predicted_from_trace(trace, plugins.make("batching", result.batching)).quantile_s(p)
        found.append(
            rows.Prediction(
                policy=result.batching.name,
                rate=rate_of(result),
                busy=busy(trace),
                n=len(trace.counted()),
                level=result.validity,
                measured_s=measured if np.isfinite(measured) else None,
                predicted_s=predicted if np.isfinite(predicted) else None,
            )
        )
    return sorted(found, key=lambda row: (row.policy, row.rate))


def of_model(model: str, folder: Path = rows.FOLDER) -> rows.Predictions | None:
    """One model's predictions; None before `policies` has written its rows, or where its runs are gone."""
    measured = rows.read(rows.Policies, f"policies-{model}.json", folder)
    runs = folder_of(model, measured[0].variant) / "runs" if measured else None
    if runs is None or not any(runs.glob("policies-*.npz")):
        return None
    one = measured[0]
    return rows.Predictions(
        model=one.model,
        variant=one.variant,
        where=one.where,
        p=one.p,
        rows=tuple(predictions(runs, one.p)),
        capacities=tuple(_crossing(policy, one, runs) for policy in one.policies),
    )


def _crossing(policy: rows.Policy, one: rows.Policies, runs: Path) -> rows.Crossing:
    traces = [Trace.load(path) for path in sorted(runs.glob(f"policies-{policy.name}-*.npz"))]
    predicted = capacity(times_of(traces), policy.batching, one.p, one.slo_s, near=policy.crossing.value or None)
    return rows.Crossing(
        policy=policy.name,
        measured=policy.crossing,
        predicted=predicted,
        beforehand=policy.simulated,
        busy=_busy_there(policy),
    )


def _busy_there(policy: rows.Policy) -> float:
    """How busy the worker was in the trial nearest the crossing."""
    points = [p for p in policy.points if p.level != "invalid"]
    nearest = min(points, key=lambda p: abs(p.rate - policy.crossing.value), default=None)
    return 1.0 if nearest is None else nearest.busy


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS), type=lambda text: text.split(","))
    parser.add_argument("--rows", type=Path, default=rows.FOLDER, help="folder of the JSON files")
    given = parser.parse_args(arguments)
    for model in given.models:
        found = of_model(model, given.rows)
        if found is None:
            print(f"{model}: there are no runs yet. Start benchmarks.batching.policies first.", file=sys.stderr)
            continue
        print(rows.write(found, f"prediction-{found.model}", given.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
