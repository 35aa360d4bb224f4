"""Error texts as the runtimes really write them, and what a person reads instead."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from accel import plugins
from accel.compilation._reasons import explain
from accel.errors import VariantError
from accel.plugins import Named
from tests.small_models import FileModel, cnn, mlp

SEEN = [
    (
        "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Add(14) node with name 'n'",
        "no kernel on this processor for the operator Add (version 14)",
    ),
    ("Fatal error: com.example:Bar(-1) is not a registered function/op", "doesn't know the operator com.example:Bar"),
    (
        "Unsupported model IR version: 99, max supported IR version: 13",
        "up to IR version 13, and this one is version 99",
    ),
    (
        "INVALID_GRAPH ... Unrecognized attribute: axis for operator DequantizeLinear",
        "DequantizeLinear has no attribute `axis`",
    ),
    ("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model failed:Protobuf parsing failed.", "cut short"),
    (
        "Got invalid dimensions for input: x for the following indices\n index: 0 Got: 3 Expected: 1\n",
        "an input `x` whose axis 0 is 3, and the model takes 1",
    ),
    ("std::bad_alloc", "ran out of memory"),
    ("NotFound: Unsupported property AFFINITY by CPU plugin", "doesn't know the setting AFFINITY"),
]


@pytest.mark.parametrize(("text", "says"), SEEN)
def test_a_known_text_becomes_a_sentence_with_a_next_step(text, says):
    found = explain(RuntimeError(text), "The runtime", "loading the model")
    assert says in found.reason
    assert found.reason.endswith("(loading the model).")
    assert found.next_step.endswith(".")


def test_an_unknown_text_keeps_its_first_telling_line():
    error = RuntimeError("Exception from src/core.cpp:75:\nthe moon is full\nmore")
    found = explain(error, "The runtime", "loading the model")
    assert found.reason == "The runtime failed while loading the model: RuntimeError: the moon is full."


def test_a_variant_error_stays_as_it_is():
    error = VariantError("already said")
    assert explain(error, "x", "y") is error


def built(model, folder, name="onnxruntime"):
    folder.mkdir()
    backend = plugins.make("compilation", Named(name))
    backend.build(model, folder)
    return backend, folder


def altered(model, change):
    proto = onnx.load(model.as_form("onnx"))
    change(proto)
    onnx.save(proto, model.as_form("onnx"))
    return model


def test_an_opset_from_the_future_is_said(tmp_path):
    model = altered(mlp(tmp_path), lambda p: setattr(p.opset_import[0], "version", 99))
    backend, folder = built(model, tmp_path / "a")
    with pytest.raises(VariantError, match="99") as raised:
        backend.open(folder)
    assert "opset" in raised.value.next_step


def test_an_unknown_operator_is_named(tmp_path):
    model = altered(mlp(tmp_path), lambda p: setattr(p.graph.node[1], "op_type", "Frobnicate"))
    backend, folder = built(model, tmp_path / "a")
    with pytest.raises(VariantError, match="Frobnicate"):
        backend.open(folder)


def test_bf16_on_onnxruntime_is_explained(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.BFLOAT16, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.BFLOAT16, ["batch", 2])],
    )
    path = tmp_path / "bf16.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    signature = mlp(tmp_path).signature
    backend, folder = built(FileModel(signature, {"onnx": path}), tmp_path / "a")
    with pytest.raises(VariantError, match="operator Add"):
        backend.open(folder)


def test_a_truncated_file_is_said_when_building(tmp_path):
    model = cnn(tmp_path)
    path = model.as_form("onnx")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(VariantError, match="cut short"):
        built(model, tmp_path / "a")


def test_missing_external_data_is_said_when_building(tmp_path):
    model = cnn(tmp_path)
    proto = onnx.load(model.as_form("onnx"))
    path = tmp_path / "outside.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(VariantError, match=r"are missing: `weights\.bin`"):
        built(FileModel(model.signature, {"onnx": path}), tmp_path / "a")


def test_external_data_travels_with_the_artefact(tmp_path):
    model = cnn(tmp_path)
    path = tmp_path / "outside.onnx"
    onnx.save(
        onnx.load(model.as_form("onnx")), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    backend, folder = built(FileModel(model.signature, {"onnx": path}), tmp_path / "a")
    (tmp_path / "weights.bin").unlink()
    engine = backend.open(folder)
    assert engine.run({"x": np.zeros((1, 3, 16, 16), np.float32)})["y"].shape == (1, 5)
    engine.close()
