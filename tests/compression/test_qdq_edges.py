"""Float operators of a QDQ file read float tensors, except where only the rounded one is right."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from accel import plugins
from accel.compression import _qdq
from accel.compression._qdq_edges import rewired
from accel.plugins import Named
from accel.rescue.floatize import floatize, take_apart
from tests.rescue.test_floatize import Rows, run
from tests.small_models import items, mlp, transformer

pytest.importorskip("onnxruntime")


def graph_of(nodes):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])]
    return helper.make_graph(nodes, "g", inputs, outputs)


def pair(name):
    """A Q and a DQ node behind a tensor; scales are left out of account."""
    return [
        helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}_q"]),
        helper.make_node("DequantizeLinear", [f"{name}_q", "s", "z"], [f"{name}_dq"]),
    ]


def weight(name):
    return helper.make_node("DequantizeLinear", [f"{name}_q", "s", "z"], [f"{name}_dq"])


def readers(graph):
    return {node.op_type: list(node.input) for node in graph.node if "Linear" not in node.op_type}


def test_a_residual_addition_reads_what_was_not_rounded_and_the_product_what_was():
    graph = graph_of(
        [
            helper.make_node("Tanh", ["x"], ["h"]),
            *pair("h"),
            weight("w"),
            helper.make_node("MatMul", ["h_dq", "w_dq"], ["m"]),
            *pair("m"),
            helper.make_node("Add", ["h_dq", "m_dq"], ["y"]),
        ]
    )
    assert rewired(graph, {"MatMul"}) == 2
    assert readers(graph) == {"Tanh": ["x"], "MatMul": ["h_dq", "w_dq"], "Add": ["h", "m"]}
    assert Counter(n.op_type for n in graph.node)["QuantizeLinear"] == 1, "the pair behind the product has no reader"


def test_the_result_of_a_convolution_stays_rounded():
    graph = graph_of(
        [
            *pair("x"),
            weight("w"),
            helper.make_node("Conv", ["x_dq", "w_dq"], ["c"]),
            *pair("c"),
            helper.make_node("HardSwish", ["c_dq"], ["y"]),
        ]
    )
    assert rewired(graph, {"Conv"}) == 0
    assert readers(graph)["HardSwish"] == ["c_dq"]


def test_an_operator_left_in_float_reads_float_though_all_it_reads_was_rounded():
    graph = graph_of(
        [
            helper.make_node("Tanh", ["x"], ["h"]),
            *pair("h"),
            weight("w"),
            helper.make_node("MatMul", ["h_dq", "w_dq"], ["m"]),
            *pair("m"),
            helper.make_node("Mul", ["h_dq", "m_dq"], ["y"]),
        ]
    )
    rewired(graph, {"MatMul"})
    assert readers(graph)["Mul"] == ["h", "m"]


def test_an_8_bit_addition_goes_on_reading_8_bits():
    graph = graph_of(
        [
            *pair("x"),
            weight("w"),
            helper.make_node("MatMul", ["x_dq", "w_dq"], ["m"]),
            *pair("m"),
            helper.make_node("Add", ["x_dq", "m_dq"], ["a"]),
            *pair("a"),
            helper.make_node("Tanh", ["a_dq"], ["y"]),
        ]
    )
    assert rewired(graph, {"MatMul", "Add"}) == 0


def test_what_the_graph_gives_out_is_not_rounded_where_the_kernel_can_give_it_in_float():
    nodes = [*pair("x"), weight("w"), helper.make_node("MatMul", ["x_dq", "w_dq"], ["m"]), *pair("m")]
    nodes[-1].output[0] = "y"
    graph = graph_of(nodes)
    assert rewired(graph, {"MatMul"}) == 1
    assert [list(n.output) for n in graph.node if n.op_type == "MatMul"] == [["y"]]
    assert Counter(n.op_type for n in graph.node) == {"QuantizeLinear": 1, "DequantizeLinear": 2, "MatMul": 1}


def made(model, types=()):
    asked = plugins.make("compression", Named("quantize_static", {"operators": list(types)} if types else {}))
    source = _qdq.prepared_float(model, asked)
    ranges = _qdq.calibrated(source, asked, model, Rows(model.signature))
    return source, ranges, asked


def test_a_transformer_comes_closer_to_the_float_model(tmp_path, monkeypatch):
    model = transformer(tmp_path)
    source, ranges, asked = made(model)
    feed = {"x": items(model.signature, 8, seed=5)["x"]}
    exact = run(str(source), feed)
    ours = run(str(_qdq.quantized(source, ranges, asked, model, tmp_path / "ours.onnx")), feed)
    monkeypatch.setattr(_qdq, "read_in_float", lambda *_: 0)
    plain = run(str(_qdq.quantized(source, ranges, asked, model, tmp_path / "plain.onnx")), feed)
    assert 0 < np.linalg.norm(ours - exact) < 0.8 * np.linalg.norm(plain - exact)


def test_where_a_relu_was_folded_into_a_range_the_rounded_tensor_is_read(tmp_path):
    model = mlp(tmp_path)
    source, ranges, asked = made(model, ["MatMul", "Relu"])
    path = _qdq.quantized(
        source, ranges, msgspec.structs.replace(asked, exclude=("second",)), model, tmp_path / "q.onnx"
    )
    graph = onnx.load(path).graph
    assert "Relu" not in {n.op_type for n in graph.node}, "the tool must have folded it"
    feed = {"x": items(model.signature, 8, seed=5)["x"]}
    exact = run(str(source), feed)
    assert np.linalg.norm(run(str(path), feed) - exact) < 0.1 * np.linalg.norm(exact)


def test_taken_apart_it_answers_like_the_file(tmp_path):
    model = transformer(tmp_path)
    source, ranges, asked = made(model)
    path = _qdq.quantized(source, ranges, asked, model, tmp_path / "q.onnx")
    feed = {"x": items(model.signature, 4, seed=6)["x"]}
    parts = take_apart(source, path, ["MatMul", "Gemm"])
    assert np.allclose(run(floatize(parts, frozenset()), feed), run(str(path), feed), atol=1e-5)
    for left in ("query", "narrow", "context"):
        excluded = msgspec.structs.replace(asked, exclude=(left,))
        clean = _qdq.quantized(source, ranges, excluded, model, tmp_path / f"{left}.onnx")
        assert np.allclose(run(floatize(parts, {left}), feed), run(str(clean), feed), atol=1e-5), left
