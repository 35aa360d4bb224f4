"""Curves by length of samples that differ in length: what is run, and what the record keeps of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.analysis.conclusion import StudyRecord
from accel.samples import materialise
from accel.study import lengthwise
from accel.study.budget import Budget, BudgetEnded
from accel.study.live import Turn
from accel.study.profiles import PROFILES
from tests.analysis.test_by_length import offline
from tests.synthetic import synthetic_study

LENGTHS = [5, 10, 20, 80] * 20


class FakeFunnel:
    """A study of `net`, which won both ways; a run writes the trace of batches of like length."""

    def __init__(self, folder: Path, record: StudyRecord, lengths: list[int], *, spent_s: float = 0.0) -> None:
        self.now = 0.0
        self.profile, self.record = PROFILES["quick"], record
        self.budget = Budget(300.0, spent_s=spent_s, now=lambda: self.now)
        self.folder: Any = SimpleNamespace(samples=folder / "samples", runs=folder, write_record=lambda record: None)
        items = [np.zeros(n, np.float32) for n in lengths]
        materialise({"x": items}, None, self.folder.samples, seed=0, calibration=0)
        self.lengths = np.array(lengths)
        self.results: dict[str, Any] = {}
        self.not_bought: list[str] = []
        self.item_s = {"net": 0.001}
        self.sizes = (1, 2, 4, 8, 16)
        self.progress = SimpleNamespace(stage=lambda text: None)
        self.turns: list[Turn] = []
        won = SimpleNamespace(winner="net")
        self.conclusion = SimpleNamespace(batch=won, online=won)
        self.cut_after = 99

    def read(self) -> Any:
        return self.conclusion

    def has_failed(self, name: str) -> bool:
        return False

    @contextmanager
    def survives_look(self, name: str) -> Iterator[None]:
        yield

    @contextmanager
    def live(self, name: str, tag: str) -> Iterator[str]:
        yield name

    def measure(self, live: str, turn: Turn) -> None:
        if len(self.turns) >= self.cut_after:
            raise BudgetEnded("measuring")
        self.turns.append(turn)
        self.now += turn.duration_s
        size = int(turn.batching.fields["max_size"])
        offline(size, self.lengths).save(self.folder.runs / f"{turn.run_id}.npz")
        self.results[turn.run_id] = SimpleNamespace(
            trace=f"{turn.run_id}.npz", validity="valid", variant=SimpleNamespace(name="net"), status="ok"
        )


@pytest.fixture
def record(tmp_path: Path) -> StudyRecord:
    return synthetic_study(tmp_path / "study", blocks=0)


def looked(funnel: FakeFunnel) -> StudyRecord:
    lengthwise.look_by_length(funnel)  # type: ignore[arg-type]
    return funnel.record


def test_the_winner_has_a_curve_for_each_bucket(tmp_path: Path, record: StudyRecord) -> None:
    funnel = FakeFunnel(tmp_path, record, LENGTHS)
    kept = looked(funnel).lengths
    assert [c.bucket for c in kept] == [(5, 5), (10, 10), (20, 20), (80, 80)]
    assert [t.batching.fields["max_size"] for t in funnel.turns] == [1, 4, 8, 16]
    assert all(t.target is None and t.batching.name == "bucketed" for t in funnel.turns), "no comparison uses them"
    assert msgspec.json.decode(msgspec.json.encode(funnel.record), type=StudyRecord) == funnel.record


def test_it_is_looked_at_once(tmp_path: Path, record: StudyRecord) -> None:
    funnel = FakeFunnel(tmp_path, record, LENGTHS)
    looked(funnel)
    looked(funnel)
    assert len(funnel.turns) == 4


def test_what_was_cut_goes_on_where_it_stood(tmp_path: Path, record: StudyRecord) -> None:
    funnel = FakeFunnel(tmp_path, record, LENGTHS)
    funnel.cut_after = 2
    assert looked(funnel).lengths == ()
    assert funnel.not_bought == ["the batch sizes of `net` by length: the budget ended while measuring"]
    funnel.cut_after = 99
    assert len(looked(funnel).lengths) == 4
    assert len(funnel.turns) == 4


def test_samples_of_one_length_have_no_buckets(tmp_path: Path, record: StudyRecord) -> None:
    assert looked(FakeFunnel(tmp_path, record, [12] * 40)).lengths == ()


def test_without_time_it_is_said(tmp_path: Path, record: StudyRecord) -> None:
    funnel = FakeFunnel(tmp_path, record, LENGTHS, spent_s=298.0)
    assert looked(funnel).lengths == ()
    assert funnel.not_bought == ["batch sizes by length"]
