"""Variants that crash, hang, eat memory or raise become rows with a reason a person understands; the study goes on."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

import accel
from accel import plugins
from accel.analysis.conclusion import Row
from accel.errors import VariantError
from accel.study import lengths, session, tuning
from accel.study.budget import Budget
from accel.study.decisions import Decisions
from accel.study.live import Turn
from accel.study.profiles import PROFILES
from tests import small_models
from tests.study import unruly
from tests.study.processes import children_of

ROOT = Path(__file__).parents[2]
MEMORY = 700_000_000


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[accel.Study]:
    """One study over all of them, with short patience so that hanging costs seconds."""
    folder = tmp_path_factory.mktemp("unruly")
    unruly.install(folder)
    caches = (plugins._third_party, plugins.names, plugins.load)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
        brief = msgspec.structs.replace(PROFILES["quick"], blocks=1, confirmations=1)
        patch.setitem(PROFILES, "quick", brief)
        patch.setattr(session, "patience_s", lambda budget_s, reference_s: 3.0)
        patch.setattr(session, "memory_limit_bytes", lambda: 4_000_000_000)
        patch.setattr("accel.study.live.memory_limit_bytes", lambda: MEMORY)
        build = session.Session._workshop

        def hurried(*given: Any) -> object:
            workshop = build(*given)
            workshop._timeout_s = 6.0
            return workshop

        patch.setattr(session.Session, "_workshop", hurried)
        for cache in caches:
            cache.cache_clear()
        model = small_models.cnn(folder)
        yield accel.bench(
            model.as_form("onnx"),
            samples=small_models.items(model.signature, 80),
            variants=[{"name": name, "backend": name} for name in unruly.NAMES],
            budget="2m",
            target="batch",
            batch=[8],
            out=folder / "out",
        )
    for cache in caches:
        cache.cache_clear()


def row(study: accel.Study, name: str) -> Row:
    return study.conclusion.row(name)


def test_the_baseline_and_the_healthy_are_measured_all_the_same(study: accel.Study) -> None:
    assert row(study, "onnxruntime").status == "ok"
    asked = {r.name for r in study.conclusion.rows if r.variant.instances == 1}
    assert asked == {"onnxruntime", *unruly.NAMES}
    assert (study.folder / "report.html").is_file()
    assert study.record.finished_unix_ns is not None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("crashes_timed", r"crashed with SIGSEGV while (warming up|measuring)"),
        ("hangs", r"did not answer within 3(\.0)? s while running the first inference"),
        ("hangs_building", r"did not answer within 6(\.0)? s while compiling for hangs_building"),
        ("eats_memory", r"was killed for using more than 700 MB while running the first inference"),
        ("raises", r"the flux capacitor is empty"),
    ],
)
def test_each_failure_says_what_happened_and_when(study: accel.Study, name: str, reason: str) -> None:
    found = row(study, name)
    assert found.status == "failed"
    assert re.search(reason, found.reason), found.reason
    assert "Traceback" not in found.reason
    failures = [r for r in study.results if r.variant.name == name and r.status == "failed"]
    assert len(failures) == 1


def test_memory_says_what_to_do(study: accel.Study) -> None:
    (failure,) = [r for r in study.results if r.variant.name == "eats_memory" and r.status == "failed"]
    assert "smaller batch" in failure.next_step


def test_one_that_takes_single_items_only_is_kept_with_those(study: accel.Study) -> None:
    found = row(study, "crashes_at_8")
    assert found.status == "ok", found.reason
    screened = next(r for r in study.results if r.run_id == "screening-crashes_at_8-batch")
    assert screened.batching is not None
    assert screened.batching.fields["size"] == 1
    assert any("fails at batches of 8 (crashed with SIGSEGV" in note for note in screened.notes)


def test_no_child_is_left(study: accel.Study) -> None:
    assert not children_of(study.folder)


class FakeFunnel:
    """What tuning uses of a funnel; its runs fail from a size on."""

    def __init__(self, fails_from: int) -> None:
        self.fails_from = fails_from
        self.record = SimpleNamespace(baseline="base")
        self.sizes = (1, 2, 4, 8, 16, 32)
        self.results: dict[str, object] = {}
        self.decisions = Decisions()
        self.budget = Budget(300.0)
        self.profile = PROFILES["quick"]
        self.not_bought: list[str] = []
        self.item_s = {"base": 0.001}
        self.progress = SimpleNamespace(stage=lambda text: None)
        self.failed: list[str] = []
        self.asked: list[int] = []

    @contextlib.contextmanager
    def live(self, name: str, tag: str) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(sizes=None, prepared=SimpleNamespace(variant=SimpleNamespace(name=name)))

    @contextlib.contextmanager
    def survives(self, name: str) -> Iterator[None]:
        try:
            yield
        except VariantError as error:
            self.failed.append(error.reason)

    def measure(self, live: object, turn: Turn) -> None:
        self.asked.append(turn.trial)
        if turn.trial >= self.fails_from:
            raise VariantError("ran out of memory")
        self.results[turn.run_id] = SimpleNamespace(rate=float(turn.trial))

    def decide(self, **settled: Any) -> None:
        self.decisions = msgspec.structs.replace(self.decisions, **settled)


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "throughput", lambda funnel, run_id: funnel.results[run_id].rate)
    monkeypatch.setattr(lengths, "throughput", lambda funnel, run_id: 0.0)


@pytest.mark.usefixtures("rates")
def test_one_that_fails_at_a_large_batch_goes_on_with_smaller_ones_and_is_not_tried_there_again() -> None:
    funnel = FakeFunnel(fails_from=16)
    tuning.tune(funnel, [])  # type: ignore[arg-type]
    assert funnel.asked == [1, 2, 4, 8, 16]
    assert not funnel.failed
    assert funnel.decisions.too_large == {"base": (16, "ran out of memory")}
    assert tuning.best_size(funnel, "base") == 8  # type: ignore[arg-type]
    tuning.tune(funnel, [])  # type: ignore[arg-type]
    assert funnel.asked == [1, 2, 4, 8, 16], "a resumed study doesn't run into it again"


@pytest.mark.usefixtures("rates")
def test_one_that_runs_at_no_size_fails() -> None:
    funnel = FakeFunnel(fails_from=1)
    tuning.tune(funnel, [])  # type: ignore[arg-type]
    assert funnel.failed == ["ran out of memory"]
    assert not funnel.decisions.too_large
