"""Preparing: what the child finds out and makes, what the cache gives back, and what it says when it can't."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.errors import InputError, VariantError
from accel.model import Model, Signature, Source, describe
from accel.model.identity import identity
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Numerics, SetUp
from accel.samples import Samples
from accel.study import prepare_child
from accel.study.folder import StudyFolder
from accel.study.given import Given, give
from accel.study.prepare import ChildFailed, Workshop
from tests import small_models

PLAIN = Variant(name="ort", backend=Named("onnxruntime"))
OPTIONS = {"padding": 0, "seed": 0}


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the child would tell its parent, for its functions called in this process."""
    texts: list[str] = []
    monkeypatch.setattr(prepare_child, "stage", texts.append)
    return texts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    monkeypatch.setenv("ACCEL_CACHE", str(tmp_path / "cache"))
    folder = StudyFolder(tmp_path / "study")
    folder.create(resume=False)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = small_models.cnn(tmp_path).as_form("onnx")
    return Source(kind="onnx", name="cnn", location=str(path))


def command(folder: StudyFolder, source: Source, **more: Any) -> dict[str, Any]:
    fixed = {"source": msgspec.to_builtins(source), "model_folder": str(folder.model), "samples": str(folder.samples)}
    return {**fixed, **more}


def given(folder: StudyFolder, **what: Any) -> dict[str, Any]:
    plain = {n: give(what.get(n), folder.model, n) for n in ("samples", "labels", "metric")}
    return {**msgspec.to_builtins(plain), "options": OPTIONS}


def arrays(count: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(count, 3, 16, 16)).astype(np.float32)}


def inspected(folder: StudyFolder, source: Source, **what: Any) -> dict[str, Any]:
    return prepare_child.inspect(command(folder, source, given=given(folder, **what)))


def known(seen: dict[str, Any]) -> dict[str, Any]:
    """What a plan hands on from inspecting to preparing."""
    return {name: seen[name] for name in ("signature", "facts", "load_s")}


def test_inspecting_tells_what_a_plan_needs(folder: StudyFolder, source: Source, told: list[str]) -> None:
    labels = np.arange(40) % 5
    seen = inspected(folder, source, samples=arrays(), labels=labels)
    signature = msgspec.convert(seen["signature"], Signature)
    assert [(t.name, t.dtype) for t in signature.inputs] == [("x", "float32")]
    assert signature.batch == "any"
    assert seen["facts"]["operators"]["Conv"] == 2
    assert not seen["random_weights"]
    assert len(seen["identity"]) == 64
    samples = seen["samples"]
    assert samples["count"] == samples["evaluation"] + samples["validation"] + samples["calibration"] == 40
    assert [samples[part] for part in ("calibration", "validation", "evaluation")] == [6, 6, 28]
    assert samples["labelled"]
    assert not samples["synthetic"]
    stored = Samples.open(folder.samples)
    np.testing.assert_array_equal(np.sort(np.asarray(stored.labels)), np.sort(labels))
    assert told[:3] == ["reading the samples", "loading the model", "reading the graph"]


def test_without_samples_it_makes_some_and_says_so(folder: StudyFolder, source: Source) -> None:
    seen = inspected(folder, source)
    assert seen["samples"]["synthetic"]
    assert seen["samples"]["count"] == 256
    assert Samples.open(folder.samples).inputs["x"].shape == (256, 3, 16, 16)


def test_other_weights_are_another_model(folder: StudyFolder, source: Source) -> None:
    import onnx
    from onnx import numpy_helper

    before = inspected(folder, source)["identity"]
    assert inspected(folder, source)["identity"] == before
    model = onnx.load(source.location)
    weight = numpy_helper.to_array(model.graph.initializer[0]) * 1.5
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, model.graph.initializer[0].name))
    onnx.save(model, source.location)
    assert inspected(folder, source)["identity"] != before


def test_a_module_that_counts_its_calls_is_known_again(folder: StudyFolder, tmp_path: Path) -> None:
    """By what it was when it was loaded: how often it is run afterwards hangs on what is known of it already."""
    (tmp_path / "counting.py").write_text(
        "import torch\n\n\nclass Counting(torch.nn.Module):\n    calls = 0\n\n    def forward(self, x):\n"
        "        self.calls = self.calls + 1\n        y = x if float(x.sum()) < 1e9 else -x\n"  # no export can trace it
        "        return y.flatten(1).sum(1, keepdim=True)\n\n\n"
        "def build():\n    return Counting()\n"
    )
    source = describe(f"{tmp_path / 'counting.py'}:build", folder=tmp_path / "given")
    found = inspected(folder, source, samples=arrays())["identity"]
    assert found is not None
    assert found == identity(Model.load(source, tmp_path / "loaded", Samples.open(folder.samples)))


def test_samples_that_do_not_fit_are_refused(folder: StudyFolder, source: Source) -> None:
    with pytest.raises(InputError, match="x"):
        inspected(folder, source, samples={"x": np.zeros((8, 3, 16), np.float32)})


def test_a_stored_object_that_was_swapped_is_not_loaded(folder: StudyFolder, source: Source) -> None:
    what = given(folder, samples=arrays())
    stored = msgspec.convert(what["samples"], Given)
    Path(stored.text).write_bytes(b"something else")
    with pytest.raises(InputError, match="isn't the file this study stored"):
        prepare_child.inspect(command(folder, source, given=what))


def test_preparing_builds_an_artefact_and_keeps_each_step_apart(
    folder: StudyFolder, source: Source, tmp_path: Path, told: list[str]
) -> None:
    seen = known(inspected(folder, source, samples=arrays()))
    told.clear()
    out = tmp_path / "artefact"
    variant = Variant(name="q", backend=Named("onnxruntime"), compression=(Named("quantize_dynamic"),))
    reply = prepare_child.prepare(command(folder, source, variant=msgspec.to_builtins(variant), out=str(out), **seen))
    assert reply["form"] == "onnx"
    assert (out / "model.onnx").stat().st_size > 0
    set_up = msgspec.convert(reply["set_up"], SetUp)
    assert set_up.compress_s is not None
    assert set_up.load_s is not None
    assert set_up.import_s is None
    assert [t.split("(")[0] for t in told] == [
        "loading the model",
        "converting to onnx",
        "compressing with quantize_dynamic",
        "converting to onnx",
        "compiling for onnxruntime",
        "reading what computes in 8 bits",
    ]
    numerics = msgspec.convert(reply["numerics"], Numerics)
    assert sum(o.low for o in numerics.operators) > 0
    assert sum(o.total for o in numerics.operators) >= sum(o.low for o in numerics.operators)


def test_a_form_that_cannot_be_had_is_a_reason(folder: StudyFolder, source: Source, tmp_path: Path) -> None:
    seen = known(inspected(folder, source, samples=arrays()))
    eager = msgspec.to_builtins(Variant(name="eager", backend=Named("eager")))
    with pytest.raises(VariantError, match="`eager` needs the model as torch.*only onnx"):
        prepare_child.prepare(command(folder, source, variant=eager, out=str(tmp_path / "artefact"), **seen))


def workshop(folder: StudyFolder, source: Source, timeout_s: float = 60.0) -> Workshop:
    return Workshop(folder, source, memory_limit_bytes=4_000_000_000, timeout_s=timeout_s)


@pytest.fixture
def seen(folder: StudyFolder, source: Source) -> dict[str, Any]:
    return known(inspected(folder, source, samples=arrays()))


def quiet(text: str) -> None:
    """Nobody is told."""


def test_an_artefact_from_the_cache_says_so_and_keeps_the_seconds_it_took(
    folder: StudyFolder, source: Source, seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = workshop(folder, source).prepare(PLAIN, "k1", seen, quiet)
    assert not first.set_up.cached
    assert Path(first.folder).is_dir()
    assert first.artefact_bytes > 0
    assert not list(Path(first.folder).parents[1].glob(".making-*"))

    def no_child(*_: object, **__: object) -> None:
        raise AssertionError("a cached artefact needs no child")

    monkeypatch.setattr("accel.study.prepare.Child", no_child)
    again = workshop(folder, source).prepare(msgspec.structs.replace(PLAIN, name="renamed"), "k1", seen, quiet)
    assert again.set_up == msgspec.structs.replace(first.set_up, cached=True)
    assert again.variant.name == "renamed"
    assert again.folder == first.folder


def test_half_an_entry_is_made_anew(folder: StudyFolder, source: Source, seen: dict[str, Any]) -> None:
    import shutil

    first = workshop(folder, source).prepare(PLAIN, "k2", seen, quiet)
    shutil.rmtree(first.folder)
    again = workshop(folder, source).prepare(PLAIN, "k2", seen, quiet)
    assert not again.set_up.cached
    assert Path(again.folder).is_dir()


def test_a_study_that_was_faster_keeps_its_artefact(
    folder: StudyFolder, source: Source, seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two studies make the same artefact at once; the first to finish may be measuring with it already."""
    ours = workshop(folder, source)
    ask = ours._ask

    def overtaken(*args: Any) -> dict[str, Any]:
        reply = ask(*args)
        workshop(folder, source).prepare(PLAIN, "k3", seen, quiet)
        return reply

    monkeypatch.setattr(ours, "_ask", overtaken)
    inode = []
    monkeypatch.setattr(ours, "_place", lambda *a: inode.append(1) or Workshop._place(ours, *a))
    found = ours.prepare(PLAIN, "k3", seen, quiet)
    assert inode
    assert found.set_up.cached, "the other study's artefact stays in place"


def test_what_cannot_be_cached_lies_in_the_study(folder: StudyFolder, source: Source, seen: dict[str, Any]) -> None:
    found = workshop(folder, source).prepare(PLAIN, None, seen, quiet)
    assert Path(found.folder).is_relative_to(folder.artefacts)
    again = workshop(folder, source).prepare(PLAIN, None, seen, quiet)
    assert again.folder == found.folder
    assert not again.set_up.cached


def test_a_failure_leaves_nothing_behind_but_its_log(
    folder: StudyFolder, source: Source, seen: dict[str, Any], tmp_path: Path
) -> None:
    Path(source.location).write_bytes(b"not a model")
    broken = msgspec.structs.replace(source, name="broken")
    fresh = StudyFolder(tmp_path / "fresh")
    fresh.create(resume=False)
    inspected_samples = folder.samples.rename(fresh.samples)
    assert inspected_samples.is_dir()
    with pytest.raises(ChildFailed) as failed:
        workshop(fresh, broken).prepare(PLAIN, None, seen, quiet)
    assert failed.value.cause == "error"
    assert "onnx" in failed.value.reason.lower()
    assert "Traceback" not in failed.value.reason
    assert list(fresh.artefacts.iterdir()) == []
    assert (fresh.log / "ort-prepare.log").exists()


def test_a_child_that_takes_too_long_is_ended(folder: StudyFolder, source: Source, seen: dict[str, Any]) -> None:
    begun = time.monotonic()
    with pytest.raises(ChildFailed) as failed:
        workshop(folder, source, timeout_s=0.01).prepare(PLAIN, None, seen, quiet)
    assert failed.value.cause == "hang"
    assert "did not answer within" in failed.value.reason
    assert time.monotonic() - begun < 30
