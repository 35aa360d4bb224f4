"""A backend that answers wrongly without a word, as zentorch did, is caught before a number of it is believed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import accel
from accel import plugins
from accel.study.profiles import PROFILES
from tests import small_models
from tests.study import unruly

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[accel.Study]:
    folder = tmp_path_factory.mktemp("wrong")
    unruly.install(folder)
    caches = (plugins._third_party, plugins.names, plugins.load)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
        brief = msgspec.structs.replace(PROFILES["quick"], blocks=1, confirmations=1)
        patch.setitem(PROFILES, "quick", brief)
        for cache in caches:
            cache.cache_clear()
        model = small_models.cnn(folder)
        yield accel.bench(
            model.as_form("onnx"),
            samples=small_models.items(model.signature, 80),
            variants=[{"name": name, "backend": name} for name in unruly.WRONG],
            budget="1m",
            target="batch",
            batch=[8],
            out=folder / "out",
        )
    for cache in caches:
        cache.cache_clear()


def test_wrong_answers_leave_before_anything_is_timed(study: accel.Study) -> None:
    row = study.conclusion.row("answers_wrongly")
    assert row.status == "wrong"
    assert "differs from the reference: median relative error" in row.reason
    runs = [r for r in study.results if r.variant.name == "answers_wrongly"]
    assert [r.status for r in runs] == ["wrong"]
    assert all(r.trace is None for r in runs), "nothing was timed"


def test_answers_that_turn_wrong_once_timed_are_no_measurement(study: accel.Study) -> None:
    runs = [r for r in study.results if r.variant.name == "wrong_once_timed"]
    timed = [r for r in runs if r.check is not None]
    assert timed
    assert all(r.check is not None and r.check.mismatched for r in timed)
    assert all(r.validity == "invalid" for r in timed)


def test_neither_wins_and_a_finding_names_the_first(study: accel.Study) -> None:
    winners = {a.winner for a in (study.conclusion.batch, study.conclusion.online) if a is not None}
    assert not winners & set(unruly.WRONG)
    assert any("`answers_wrongly` answers wrongly" in f.what for f in study.conclusion.findings)
