"""Who is profiled, with how many items, in a child of its own; what is kept, and when there is no time for it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from accel.analysis import layers as reading
from accel.analysis.conclusion import Answer
from accel.compilation._profile import Call, layers
from accel.errors import InputError, VariantError
from accel.plugins import Named
from accel.recipe import Variant
from accel.samples.store import Samples, write
from accel.study import layers as studying
from accel.study.budget import Budget
from accel.study.profiles import PROFILES
from tests.small_models import cnn

BACKENDS = {"base": "onnxruntime", "fast": "openvino", "none": "null"}


class Fake:
    """A study of three variants; every profile takes what it is expected to take, on a clock of its own."""

    def __init__(self, root: Path, *, budget_s: float = 300.0, fixed: Any = "any", **winners: str) -> None:
        self.now = 0.0
        self.profile, self.budget = PROFILES["quick"], Budget(budget_s, now=lambda: self.now)
        self.folder = SimpleNamespace(root=root, runs=root, samples=root / "samples", log=root)
        self.record: Any = SimpleNamespace(baseline="base", signature=SimpleNamespace(batch=fixed))
        self.services = SimpleNamespace(evaluation=[5, 6, 7], patience_s=60.0)
        self.progress = SimpleNamespace(stage=lambda text: None)
        self.results: dict[str, Any] = {}
        self.item_s = {"base": 0.001}
        self.not_bought: list[str] = []
        found = {t: self._answer(t, w) for t, w in winners.items()}
        self.conclusion: Any = SimpleNamespace(
            record=self.record,
            batch=found.get("batch"),
            online=found.get("online"),
            memory=found.get("memory"),
            row=lambda name: SimpleNamespace(batch_size=None if name == "none" else 16),
        )

    def _answer(self, target: Any, winner: str) -> Answer:
        keeps = winner == "base"
        return Answer(target=target, winner=winner, keeps_baseline=keeps, speedup=None, sentence="", evidence="blocks")

    def read(self) -> Any:
        return self.conclusion

    def variant(self, name: str) -> Variant:
        return Variant(name=name, backend=Named(BACKENDS[name]))

    def prepared(self, variant: Variant) -> Any:
        return SimpleNamespace(variant=variant)

    def has_failed(self, name: str) -> bool:
        return False

    @contextmanager
    def survives_look(self, name: str) -> Any:
        try:
            yield
        except VariantError as error:
            self.not_bought.append(f"a closer look at `{name}`: {error.reason}")


def made(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    """Whom the study asks for, and with which samples."""
    told: list[tuple[str, list[int]]] = []

    def asked(funnel: Any, prepared: Any, ids: list[int]) -> Any:
        told.append((prepared.variant.name, ids))
        return layers([Call("Conv", "", 1.0)], items=len(ids), runs=3, source="by hand")

    monkeypatch.setattr(studying, "asked", asked)
    studying.profile_layers(fake)  # type: ignore[arg-type]
    return told


@pytest.mark.parametrize(
    ("winners", "fixed", "items"),
    [
        ({"batch": "fast"}, "any", {"base": 16, "fast": 16}),
        ({"online": "fast"}, "any", {"base": 1, "fast": 1}),
        ({"batch": "fast", "online": "base"}, "any", {"base": 1, "fast": 16}),
        ({"memory": "fast"}, "any", {"base": 1, "fast": 1}),
        ({"batch": "fast"}, 4, {"base": 4, "fast": 4}),
        ({"batch": "none"}, "any", {"base": 16, "none": 1}),
        ({}, "any", {"base": 16}),
    ],
)
def test_winners_run_as_they_are_to_be_used(
    winners: dict[str, str], fixed: Any, items: dict[str, int], tmp_path: Path
) -> None:
    found = studying.wanted(Fake(tmp_path, fixed=fixed, **winners).conclusion)
    assert found == items


def test_profiles_are_kept_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(tmp_path, fixed=4, batch="fast")
    assert made(fake, monkeypatch) == [("base", [5, 6, 7, 5]), ("fast", [5, 6, 7, 5])]
    assert [one.items for one in reading.read(tmp_path)] == [4, 4]
    assert made(fake, monkeypatch) == [], "a study that resumes has them"


def test_a_backend_without_a_profiler_is_left_out_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(tmp_path, online="none")
    assert [name for name, _ in made(fake, monkeypatch)] == ["base"]
    assert fake.not_bought == []


def test_too_little_time_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(tmp_path, budget_s=30.0, online="fast")
    assert made(fake, monkeypatch) == []
    assert fake.not_bought == [f"where the time of `{name}` goes, layer by layer" for name in ("base", "fast")]


def test_a_damaged_profile_is_named(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "base.json").write_text("{")
    with pytest.raises(InputError, match=r"base\.json` can't be read"):
        reading.read(tmp_path)


def test_a_child_of_its_own_profiles_a_real_artefact(tmp_path: Path) -> None:
    from accel import plugins

    pixels = np.random.default_rng(0).normal(size=(6, 3, 16, 16)).astype(np.float32)
    ids = np.arange(6)
    write(Samples(inputs={"x": pixels}, calibration=ids[:1], evaluation=ids[1:], sha256=""), tmp_path / "samples")
    (tmp_path / "artefact").mkdir()
    backend = Named("onnxruntime")
    plugins.make("compilation", backend).build(cnn(tmp_path), tmp_path / "artefact")
    variant = Variant(name="fast", backend=backend, instances=2)
    prepared: Any = SimpleNamespace(variant=variant, folder=str(tmp_path / "artefact"))
    found = studying.asked(Fake(tmp_path), prepared, [1, 2, 3])  # type: ignore[arg-type]
    assert found is not None
    assert (found.variant, found.items, found.calls("convolution")) == ("fast", 3, 2.0)
    assert found.notes == ("one of its 2 instances, alone",)
