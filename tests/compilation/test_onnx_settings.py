"""Every setting of ONNX Runtime reaches the session, is read back from it, and stands in run.py."""

from __future__ import annotations

import msgspec
import numpy as np
import onnxruntime as ort
import pytest

from accel import plugins
from accel.compilation import _onnx_settings
from accel.compilation._artefact import Artefact
from accel.errors import VariantError
from accel.plugins import Named
from tests.compilation.denormals import times_one
from tests.fresh_process import run_fresh
from tests.small_models import items, mlp

SETTINGS = [
    ({}, {"optimization": "all", "spinning": "default (on)", "inter_threads": "1"}),
    ({"optimization": "layout"}, {"optimization": "layout"}),
    ({"spinning": False}, {"spinning": "false"}),
    ({"spinning": True, "stop_spinning": True}, {"spinning": "true", "stop spinning": "on"}),
    ({"inter_threads": 2}, {"inter_threads": "2", "operators": "side by side"}),
    ({"prepacking": False}, {"prepacking": "off"}),
    ({"arena": False, "memory_pattern": False}, {"arena": "off", "memory pattern": "off"}),
    ({"dynamic_block_base": 4}, {"dynamic block base": "4"}),
]


def backend_of(fields):
    return plugins.make("compilation", Named("onnxruntime", {"threads": 1, **fields}))


def built(fields, model, folder):
    folder.mkdir()
    backend = backend_of(fields)
    backend.build(model, folder)
    return backend


@pytest.mark.parametrize(("fields", "expected"), SETTINGS, ids=lambda v: ",".join(v) or "defaults")
def test_what_is_asked_for_is_what_the_session_says(fields, expected, tmp_path):
    engine = built(fields, mlp(tmp_path), tmp_path / "a").open(tmp_path / "a")
    detail = engine.effective.detail
    engine.close()
    assert {key: detail.get(key) for key in expected} == expected
    assert set(detail) == {"optimization", "spinning", "inter_threads", *expected}


@pytest.mark.parametrize(("fields", "expected"), SETTINGS, ids=lambda v: ",".join(v) or "defaults")
def test_run_py_opens_a_session_of_the_same_settings(fields, expected, tmp_path):
    backend = built(fields, mlp(tmp_path), tmp_path / "a")
    space = {"here": tmp_path / "a"}
    exec(backend.script(tmp_path / "a"), space)
    detail = _onnx_settings.read_back(space["session"])
    assert {key: detail.get(key) for key in expected} == expected
    assert space["session"].get_session_options().intra_op_num_threads == 1


def test_at_its_defaults_nothing_but_threads_and_level_is_set():
    backend = backend_of({})
    assert _onnx_settings.entries(backend, leave_float=False) == {}
    assert set(_onnx_settings.attributes(backend, "all")) == {
        "graph_optimization_level",
        "intra_op_num_threads",
        "inter_op_num_threads",
    }


def test_every_key_is_one_that_the_library_itself_knows():
    """It takes unknown keys in silence; those it knows stand in the library as text."""
    library = next((p for p in _library().glob("onnxruntime_pybind11_state*.so")), None)
    if library is None:
        pytest.skip("no library of this form")
    known = library.read_bytes()
    everything = {"spinning": True, "stop_spinning": True, "flush_denormals": True, "prepacking": False}
    keys = _onnx_settings.entries(backend_of(everything | {"dynamic_block_base": 1}), leave_float=True)
    assert len(keys) == 7
    assert [key for key in keys if key.encode() not in known] == []
    assert b"session.bogus" not in known


def _library():
    from pathlib import Path

    return Path(ort.__file__).parent / "capi"


def test_a_saved_graph_says_so_and_holds_the_processor(tmp_path):
    engine = built({"save_optimized": True}, mlp(tmp_path), tmp_path / "a").open(tmp_path / "a")
    assert engine.effective.detail["optimization"] == "all, saved while building"
    assert Artefact.load(tmp_path / "a").made_for
    engine.close()


def test_a_graph_saved_for_another_processor_is_left_for_the_original(tmp_path):
    model = mlp(tmp_path)
    backend = built({"save_optimized": True}, model, tmp_path / "a")
    artefact = Artefact.load(tmp_path / "a")
    msgspec.structs.replace(artefact, made_for=("avx2",)).save(tmp_path / "a")
    (tmp_path / "a" / "optimized.onnx").write_bytes(b"of another processor")
    engine = backend.open(tmp_path / "a")
    assert "another kind of processor" in engine.effective.detail["saved graph"]
    assert engine.effective.detail["optimization"] == "all"
    assert engine.run(items(model.signature, 2))["y"].shape[0] == 2
    engine.close()


@pytest.mark.parametrize(("flush", "expected"), [(False, 1e-40), (True, 0.0)])
def test_denormals_are_flushed_only_when_asked(flush, expected, tmp_path):
    """In a process of its own: it holds for every later computation of the thread that opened the session."""
    model, given = times_one(tmp_path)
    fields = {"flush_denormals": flush, "threads": 1}
    built(fields, model, tmp_path / "a")
    answer = run_fresh(Named("onnxruntime", fields), tmp_path / "a", given, [2], tmp_path / "run")
    np.testing.assert_allclose(answer["outputs"]["2/y"], expected, rtol=1e-4)
    assert answer["effective"]["detail"].get("flush denormals") == ("on" if flush else None)


@pytest.mark.parametrize("file", ["../model.onnx", "/model.onnx", "a/../../model.onnx", "..\\model.onnx"])
def test_an_artefact_names_no_file_outside_its_folder(file, tmp_path):
    Artefact(file=file, inputs=(), outputs=(), sizes=None).save(tmp_path)
    with pytest.raises(VariantError, match="outside its folder"):
        plugins.make("compilation", Named("onnxruntime", {})).open(tmp_path)
