"""Which requests a report draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from accel.plugins import Named
from accel.report import traces
from accel.result import Result
from tests.report import example


def stored(folder: Path, run_id: str, name: str, n: int, **other: object) -> Result:
    trace = example.trace(0.01, n, seed=n)
    trace.save(folder / f"{run_id}.npz")
    fields: dict[str, object] = {
        "run_id": run_id,
        "study_id": "s",
        "phase": "blocks",
        "variant": example.conclusion().row(name).variant,
        "role": "candidate",
        "status": "ok",
        "scenario": Named("single_stream"),
        "trace": f"{run_id}.npz",
        **other,
    }
    return Result(**fields)  # type: ignore[arg-type]


def test_runs_of_the_deepest_phase_are_joined_and_others_left_out(tmp_path: Path) -> None:
    results = [
        stored(tmp_path, "b", "ORT INT8", 40),
        stored(tmp_path, "a", "ORT INT8", 30),
        stored(tmp_path, "c", "ORT INT8", 50, phase="screening"),
        stored(tmp_path, "d", "ORT INT8", 60, scenario=Named("offline")),
        stored(tmp_path, "e", "ORT INT8", 70, validity="invalid"),
        stored(tmp_path, "f", "OpenVINO INT8", 25, phase="screening"),
    ]
    found = traces.read(tmp_path, results, example.conclusion())
    assert {name: len(t) for name, t in found.items()} == {"ORT INT8": 70, "OpenVINO INT8": 25}
    first = example.trace(0.01, 30, seed=30)
    assert np.array_equal(found["ORT INT8"].finished[:30], first.finished)


def test_a_trace_that_is_gone_is_left_out(tmp_path: Path) -> None:
    result = stored(tmp_path, "a", "ORT INT8", 30)
    (tmp_path / "a.npz").unlink()
    assert traces.read(tmp_path, [result], example.conclusion()) == {}
