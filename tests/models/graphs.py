"""ONNX graphs built by hand, with sizes a person can count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RNG.normal(size=shape).astype(np.float32), name)


def graph(
    nodes: list[Any],
    weights: list[Any],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    *,
    types: dict[str, int] | None = None,
) -> onnx.ModelProto:
    kinds = types or {}

    def infos(tensors: dict[str, list[Any]]) -> list[Any]:
        return [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), s) for n, s in tensors.items()]

    made = helper.make_graph(nodes, "g", infos(inputs), infos(outputs), weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def linear(path: Path, batch: int | str = "n") -> Path:
    """x (n, 4) @ w (4, 3) -> y: 12 weights, 12 MACs an item."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    onnx.save(graph([node], [weight("w", 4, 3)], {"x": [batch, 4]}, {"y": [batch, 3]}), str(path))
    return path


def external(path: Path, location: str) -> Path:
    """The same with its weight in another file, named `location` in the graph."""
    model = onnx.load(str(linear(path)))
    onnx.save(model, str(path), save_as_external_data=True, location="w.data", size_threshold=0)
    model = onnx.load(str(path), load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(model.SerializeToString())
    return path


def depthwise(path: Path) -> Path:
    """Pointwise 3->8, depthwise 3x3 on 8 channels, pointwise 8->4, on 6x6 images."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h"]),
        helper.make_node("Conv", ["h", "b"], ["i"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["i", "c"], ["y"]),
    ]
    weights = [weight("a", 8, 3, 1, 1), weight("b", 8, 1, 3, 3), weight("c", 4, 8, 1, 1)]
    onnx.save(graph(nodes, weights, {"x": ["n", 3, 6, 6]}, {"y": ["n", 4, 6, 6]}), str(path))
    return path


def attention(path: Path) -> Path:
    """ids (n, t) -> table (50, 8) -> softmax(h @ h^T) @ h @ w (8, 5)."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["h"]),
        helper.make_node("Transpose", ["h"], ["ht"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["h", "ht"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "h"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "w"], ["y"]),
    ]
    weights = [weight("table", 50, 8), weight("w", 8, 5)]
    model = graph(nodes, weights, {"ids": ["n", "t"]}, {"y": ["n", "t", 5]}, types={"ids": TensorProto.INT64})
    onnx.save(model, str(path))
    return path


def classifier(path: Path) -> Path:
    """A multilayer perceptron that ends in a Softmax: no attention."""
    nodes = [
        helper.make_node("Gemm", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=-1),
    ]
    weights = [weight("a", 4, 6), weight("b", 6, 3)]
    onnx.save(graph(nodes, weights, {"x": ["n", 4]}, {"y": ["n", 3]}), str(path))
    return path
