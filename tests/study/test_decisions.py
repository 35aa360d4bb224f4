"""What is settled once: a later attempt goes on with the very same values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from accel.plugins import Named
from accel.simulation.service_times import ServiceTimes
from accel.study.decisions import Decisions, Entry
from accel.study.load_plan import Grid, policies

TUNED = Named("dynamic", {"max_size": 16, "target": 9, "drop": "early", "curve": ((1, 0.0085), (16, 0.016))})


def test_a_tuned_policy_reads_the_same_in_the_attempt_that_settled_it_and_in_the_next(tmp_path: Path) -> None:
    """Trials are grouped by their policy's text, which differs between a tuple and the list it is stored as."""
    settled = Decisions(blocks=(Entry(name="net", policy=TUNED, rate=400.0),)).save(tmp_path)
    later = Decisions.load(tmp_path)
    assert settled == later
    assert settled.blocks is not None
    assert later.blocks is not None
    assert str(settled.blocks[0].policy) == str(later.blocks[0].policy)


def test_load_curves_are_settled_with_their_policies_and_rates(tmp_path: Path) -> None:
    times = ServiceTimes({1: np.array([8_500_000]), 16: np.array([16_000_000])})
    grid = Grid(name="net", policies=policies(TUNED, times, 0.05), saturation=1000.0, claim=500.0)
    settled = Decisions(offered=(grid,)).save(tmp_path)
    assert settled.offered is not None
    assert settled.offered[0].rates == grid.rates
    assert list(settled.offered[0].policies) == list(grid.policies)


def test_an_older_study_has_settled_no_load_curves(tmp_path: Path) -> None:
    (tmp_path / "decisions.json").write_text('{"blocks": [{"name": "base"}], "confirming": null, "repeats": []}')
    found = Decisions.load(tmp_path)
    assert found.offered is None
    assert found.blocks == (Entry(name="base"),)
