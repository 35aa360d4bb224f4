"""The measure child's energy, in this process with counters that count: it is in the reply, a request's share too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accel.measurement import energy, worker
from tests.measurement.places import null_folder, samples_folder


def test_counters_that_count_end_in_the_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = [0]

    def reading(packages: Any, nvml: Any, root: Any) -> energy.Reading:
        read[0] += 1
        return energy.Reading(at_ns=read[0] * 10**8, rapl_uj={"p": 3_000_000 * read[0] % 10**7})

    monkeypatch.setattr(worker, "stage", lambda _: None)
    monkeypatch.setattr(energy, "ranges_uj", lambda _: {"p": 10**7})
    monkeypatch.setattr(energy, "reading", reading)
    monkeypatch.setattr(energy, "POLL_S", 0.0)
    monkeypatch.setattr(energy, "LEAST_S", 0.0)
    monkeypatch.setattr(energy, "LEAST_UPDATES", 1)
    child = worker.Worker()
    child.open(
        {
            "backend": {"name": "null", "fields": {}},
            "folder": str(null_folder(tmp_path / "null")),
            "samples": str(samples_folder(tmp_path / "samples")),
        }
    )
    reply = child.measure(
        {
            "do": "measure",
            "scenario": {"name": "single_stream", "fields": {"limit": 300}},
            "batching": {"name": "single", "fields": {}},
            "seed": 7,
            "trial": 0,
            "duration_s": 5.0,
            "warmup_iterations": 3,
            "warmup_s": 0.0,
            "out": str(tmp_path / "t.npz"),
        }
    )
    found = reply["energy"]
    steps = read[0] - 1
    assert found["source"] == "rapl"
    assert found["gross_j"] == pytest.approx(3.0 * steps), "3 J between two readings, over the wraps"
    assert found["window_s"] == pytest.approx(0.1 * steps)
    assert found["joules_per_request"] == pytest.approx(found["gross_j"] / 300)
    assert (found["idle_w"], found["net_j"]) == (None, None)
