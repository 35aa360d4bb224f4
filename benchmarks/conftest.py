"""One study of the demo for all benchmarks; ACCEL_BENCH_STUDY names a finished one to use instead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import accel


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> accel.Study:
    """A finished study of the demo: which variants are worth a benchmark, and their artefacts."""
    given = os.environ.get("ACCEL_BENCH_STUDY")
    if given:
        return accel.open_study(Path(given))
    out = tmp_path_factory.mktemp("bench") / "demo"
    return accel.bench("demo", budget=os.environ.get("ACCEL_BENCH_BUDGET", "3m"), out=out)
