"""A whole study in which two instances win: of a function that sleeps, so that their speed is no matter of load."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import accel
from accel.measurement import affinity
from accel.recipe import Variant
from accel.study import instances
from accel.study.decisions import Decisions
from accel.study.profiles import PROFILES

pytestmark = pytest.mark.skipif(len(affinity.usable()) < 2, reason="needs two cores")

ITEM_S = 0.004
TWO = "callable+2-instances"


def slow(x: Any) -> Any:
    """Takes 4 ms an item without using a processor."""
    time.sleep(ITEM_S * len(x))
    return {"y": 2 * x}


def derived(parent: Variant, cores: int, *, quick: bool = False) -> list[Variant]:
    """What is derived from a backend with threads; a function's own aren't known, so nobody derives it by default."""
    return [msgspec.structs.replace(parent, name=TWO, instances=2, placement="processes")]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("derived")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instances, "derived", derived)
        times = {"warmup_s": 0.05, "warmup_iterations": 2, "screen_s": 0.3, "tune_s": 0.2, "measure_s": 0.3}
        brief = msgspec.structs.replace(PROFILES["quick"], blocks=2, confirmations=1, **times)
        patch.setitem(PROFILES, "quick", brief)
        samples = {"x": np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)}
        yield accel.bench(slow, samples=samples, target="batch", batch=[2, 4], budget="2m", out=folder / "out")


def test_it_is_part_of_the_study_and_raced_in_blocks(study: accel.Study) -> None:
    row = study.conclusion.row(TWO)
    assert (row.variant.instances, row.variant.placement, row.status) == (2, "processes", "ok")
    assert row.throughput is not None
    assert row.throughput.value == pytest.approx(2 / ITEM_S, rel=0.25)
    decisions = Decisions.load(study.folder)
    assert decisions.derived == {TWO: "callable"}
    assert [entry.name for entry in decisions.blocks or ()] == ["callable", TWO]
    assert row.quality is not None
    assert row.quality == study.conclusion.row("callable").quality, "the artefact and its outputs are the parent's"


def test_every_run_of_it_was_checked_and_says_where_it_ran(study: accel.Study) -> None:
    runs = [r for r in study.results if r.variant.name == TWO]
    assert {r.phase for r in runs} >= {"screening", "tuning", "blocks"}
    for run in runs:
        assert run.check is not None
        assert run.check.checked > 0
        assert run.check.mismatched == 0
        assert run.effective is not None
        assert run.effective.detail["instances"] == "2, an engine each in a process of its own"


def test_what_is_kept_of_a_winner_names_its_instances(study: accel.Study, tmp_path: Path) -> None:
    best = study.best("batch")
    assert best.name in (TWO, "callable"), "a disturbed machine proves nothing, and then the original stays"
    if best.name == TWO:
        best.save(tmp_path / "winner")
        assert json.loads((tmp_path / "winner/settings.json").read_text())["variant"]["instances"] == 2
        assert "The study ran 2 of it side by side" in (tmp_path / "winner/run.py").read_text()


def test_a_study_that_resumes_reads_it_from_its_record(study: accel.Study) -> None:
    again = accel.bench(
        slow, samples={"x": np.zeros((1, 8), np.float32)}, target="batch", out=study.folder, resume=True
    )
    assert [v.name for v in again.record.variants] == ["callable", TWO]
    assert {r.run_id for r in again.results} >= {r.run_id for r in study.results}
