"""Every setting of OpenVINO reaches the compiled model and is read back from it."""

from __future__ import annotations

import numpy as np
import pytest

from accel import plugins
from accel.plugins import Named
from tests.compilation.denormals import times_one
from tests.fresh_process import run_fresh
from tests.small_models import cnn, facts, items, machine, mlp

SETTINGS = [
    ({}, {"streams": "1", "hint": "latency", "execution mode": "performance"}),
    ({"hint": "throughput", "threads": 2, "requests": 1}, {"hint": "throughput", "streams": "1"}),
    ({"hint": "throughput", "threads": 2, "streams": 2}, {"streams": "2", "requests at once": "2"}),
    ({"execution_mode": "accuracy", "precision": "auto"}, {"execution mode": "accuracy"}),
    ({"pinning": False}, {"pinning": "off"}),
    ({"hyper_threading": False}, {"hyper-threading": "off"}),
]


def backend_of(fields):
    return plugins.make("compilation", Named("openvino", {"threads": 1, **fields}))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One artefact for all: no field here shapes it."""
    place = tmp_path_factory.mktemp("openvino")
    model = mlp(place)
    folder = place / "artefact"
    folder.mkdir()
    backend_of({}).build(model, folder)
    return model, folder


@pytest.mark.parametrize(("fields", "expected"), SETTINGS, ids=lambda v: ",".join(v) or "defaults")
def test_what_is_asked_for_is_what_the_runtime_says(fields, expected, built):
    engine = backend_of(fields).open(built[1])
    detail = engine.effective.detail
    engine.close()
    assert {key: detail.get(key) for key in expected} == expected
    assert "flush denormals" not in detail


def test_with_accuracy_first_nothing_computes_below_the_models_precision(built):
    """Its own choice is bfloat16 wherever the chip has it."""
    model, folder = built
    engine = backend_of({"precision": "auto", "execution_mode": "accuracy"}).open(folder)
    exact = backend_of({"precision": "f32"}).open(folder)
    given = items(model.signature, 4)
    np.testing.assert_allclose(engine.run(given)["y"], exact.run(given)["y"], rtol=1e-5)
    assert "bf16" not in engine.effective.detail["heavy layers"]
    engine.close()
    exact.close()


def test_a_setting_nobody_asked_for_is_not_given():
    assert set(backend_of({}).settings("float32")) == {
        "INFERENCE_NUM_THREADS",
        "PERFORMANCE_HINT",
        "NUM_STREAMS",
        "INFERENCE_PRECISION_HINT",
    }


def test_a_group_of_none_is_said():
    assert backend_of({"dynamic_quantization": 0}).settings("float32")["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == "0"


def test_requests_are_for_throughput():
    refusal = backend_of({"requests": 4}).fits(facts(), machine())
    assert "throughput" in refusal.next_step
    assert backend_of({"requests": 4, "hint": "throughput"}).fits(facts(), machine()) is None


def test_the_compiled_model_is_found_again_wherever_the_artefact_lies_and_with_other_threads(tmp_path):
    model = cnn(tmp_path)
    folder = tmp_path / "artefact"
    folder.mkdir()
    backend_of({"cache": True}).build(model, folder)
    before = sorted(p.name for p in (folder / "cache").iterdir())
    moved = folder.rename(tmp_path / "moved")
    plain = tmp_path / "plain"
    plain.mkdir()
    backend_of({}).build(model, plain)
    given = items(model.signature, 2)
    expected = backend_of({}).open(plain).run(given)["y"]
    for fields in ({}, {"threads": 2, "streams": 2}):
        engine = backend_of({"cache": True, **fields}).open(moved)
        assert engine.effective.detail["compiled model"] == "from the cache"
        assert engine.effective.detail["streams"] == str(fields.get("streams", 1))
        assert engine.effective.detail["heavy layers"] == "f32 3"
        np.testing.assert_allclose(engine.run(given)["y"], expected, rtol=1e-5, atol=1e-6)
        engine.close()
    assert sorted(p.name for p in (moved / "cache").iterdir()) == before


@pytest.mark.parametrize(("flush", "expected"), [(False, 1e-40), (True, 0.0)])
def test_denormals_are_flushed_only_when_asked(flush, expected, tmp_path):
    """In a process of its own: it holds for every later computation of the thread that opened the model."""
    folder = tmp_path / "artefact"
    folder.mkdir()
    model, given = times_one(tmp_path)
    fields = {"threads": 1, "flush_denormals": flush}
    backend_of(fields).build(model, folder)
    answer = run_fresh(Named("openvino", fields), folder, given, [2], tmp_path / "run")
    np.testing.assert_allclose(answer["outputs"]["2/y"], expected, rtol=1e-4)
    assert answer["effective"]["detail"].get("flush denormals") == ("on" if flush else None)
