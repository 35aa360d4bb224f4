"""One whole study with settings tried: nothing is prepared while something is measured, and whoever left says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

import accel
from accel.cli import list as listing
from accel.measurement import affinity
from accel.measurement.isolation import Child
from accel.study import funnel, live, prepare, session
from accel.study.decisions import Decisions
from accel.study.profiles import PROFILES
from tests import small_models

pytestmark = pytest.mark.skipif(len(affinity.usable()) < 2, reason="settings of threads need two cores")
SETTINGS = {"onnxruntime-threads-1", "onnxruntime-spinning-off"}
NEVER_BESIDE = {"inspect", "prepare", "rescue", "score"}


class Watched:
    """Which children are alive, of which kind, and what was asked of one while others were."""

    def __init__(self) -> None:
        self.alive: dict[int, tuple[str, bool]] = {}
        self.measured_beside: list[str] = []
        self.prepared_beside: list[str] = []
        self.measured = 0

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        opened, closed, parked, resumed = Child.__init__, Child.close, Child.park, Child.resume

        def init(child: Any, module: str, **more: Any) -> None:
            opened(child, module, **more)
            self.alive[id(child)] = (module.rpartition(".")[2], True)

        def close(child: Any) -> None:
            closed(child)
            self.alive.pop(id(child), None)

        def park(child: Any) -> None:
            parked(child)
            self.alive[id(child)] = (self.alive[id(child)][0], False)

        def resume(child: Any) -> None:
            resumed(child)
            self.alive[id(child)] = (self.alive[id(child)][0], True)

        for name, new in (("__init__", init), ("close", close), ("park", park), ("resume", resume)):
            patch.setattr(Child, name, new)
        asked = prepare.ask_within

        def ask(child: Any, command: dict[str, Any], **more: Any) -> dict[str, Any]:
            beside = [kind for key, (kind, runs) in self.alive.items() if key != id(child) and runs]
            if command["do"] == "measure":
                self.measured += 1
                self.measured_beside += beside
            if command["do"] in NEVER_BESIDE:
                self.prepared_beside += beside
            reply: dict[str, Any] = asked(child, command, **more)
            return reply

        for module in (prepare, live):
            patch.setattr(module, "ask_within", ask)


@pytest.fixture(scope="module")
def watched() -> Watched:
    return Watched()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, watched: Watched) -> Iterator[accel.Study]:
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        watched.patch(patch)
        # What is measured after the answers has tests of its own.
        patch.setattr(session, "with_peaks", lambda record, *_: record)
        for after in ("measure_steps", "probe", "profile_layers"):
            patch.setattr(funnel, after, lambda funnel: None)
        patch.setenv("ACCEL_CACHE", str(folder / "cache"))
        times = {"warmup_s": 0.01, "warmup_iterations": 2, "screen_s": 0.1, "tune_s": 0.1, "measure_s": 0.1}
        brief = msgspec.structs.replace(PROFILES["quick"], blocks=2, confirmations=1, **times)
        patch.setitem(PROFILES, "quick", brief)
        model = small_models.cnn(folder).as_form("onnx")
        samples = {"x": np.random.default_rng(0).normal(size=(40, 3, 16, 16)).astype(np.float32)}
        given: dict[str, Any] = {"backend": ["onnxruntime"], "target": "batch", "batch": [2, 4], "budget": "3m"}
        yield accel.bench(str(model), samples, **given, out=folder / "out")


def test_nothing_is_prepared_beside_a_measurement(study: accel.Study, watched: Watched) -> None:
    assert watched.measured > 6
    assert watched.measured_beside == [], "every other child is gone or stopped"
    assert watched.prepared_beside == []


def test_settings_were_tried_or_the_budget_did_not_buy_them(study: accel.Study) -> None:
    entered = set(Decisions.load(study.folder).knobs or {})
    said = " ".join(study.record.not_bought)
    # The two at once are called by the better one first.
    assert entered <= SETTINGS | {"onnxruntime-threads-1-spinning-off", "onnxruntime-spinning-off-threads-1"}
    assert all(name in entered or f"`{name}`" in said for name in SETTINGS)
    for name in entered:
        row = study.conclusion.row(name)
        assert row.quality == study.conclusion.row("onnxruntime").quality, (
            "the artefact and its outputs are the parent's"
        )
        runs = [r for r in study.results if r.variant.name == name]
        assert all(r.check is not None and r.check.mismatched == 0 for r in runs if r.status == "ok")


def test_whoever_is_no_answer_says_why(study: accel.Study) -> None:
    won = {answer.winner for answer in study.conclusion.answers}
    for row in study.conclusion.rows:
        told = CliRunner().invoke(listing.command, [str(study.folder / row.name)], standalone_mode=False).output
        assert ("why no further: " in told) == (row.name not in won and not row.is_baseline), told


def test_a_study_that_resumes_decides_the_same_and_measures_nothing_again(study: accel.Study, watched: Watched) -> None:
    before, measured = Decisions.load(study.folder), watched.measured
    runs = {r.run_id: r.created_unix_ns for r in study.results}
    again = accel.bench(str(Path(study.record.source.location)), out=study.folder, resume=True)
    after = Decisions.load(study.folder)
    assert (after.knobs, after.derived, after.blocks) == (before.knobs, before.derived, before.blocks)
    assert {r.run_id: r.created_unix_ns for r in again.results if r.run_id in runs} == runs
    assert [v.name for v in again.record.variants] == [v.name for v in study.record.variants]
    assert measured <= watched.measured, "it may look closer, and never measures anything twice"
