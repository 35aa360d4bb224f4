"""ONNX graphs of networks whose cost is in the literature, with weights that have shapes and no numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes and weights in the order in which they are added; each call returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def weight(self, *shape: int) -> str:
        """A tensor that only has a shape: counting must need no more."""
        name = f"w_{len(self.weights)}"
        self.weights.append(TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT))
        return name

    def constant(self, *values: int) -> str:
        name = f"c_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def conv(self, x: str, channels: int, out: int, kernel: int, stride: int = 1) -> str:
        pads = [kernel // 2] * 4
        return self.add("Conv", [x, self.weight(out, channels, kernel, kernel)], strides=[stride] * 2, pads=pads)

    def linear(self, x: str, width: int, out: int) -> str:
        return self.add("Add", [self.add("MatMul", [x, self.weight(width, out)]), self.weight(out)])

    def save(self, path: Path, given: list[Any], kind: int, out: str, shape: list[Any]) -> Path:
        inputs = [helper.make_tensor_value_info("x", kind, given)]
        outputs = [helper.make_tensor_value_info(out, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
        return path


def resnet50(path: Path) -> Path:
    """He et al. 2015 with the stride on the 3x3 convolutions, as everybody runs it; 224 x 224."""
    g = Graph()
    x = g.add("Relu", [g.conv("x", 3, 64, 7, 2)])
    x = g.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            h = g.add("Relu", [g.conv(x, channels, width, 1)])
            h = g.add("Relu", [g.conv(h, width, width, 3, stride)])
            h = g.conv(h, width, 4 * width, 1)
            x = g.add("Relu", [g.add("Add", [h, x if block else g.conv(x, channels, 4 * width, 1, stride)])])
            channels = 4 * width
    x = g.add("Flatten", [g.add("GlobalAveragePool", [x])])
    x = g.add("Gemm", [x, g.weight(2048, 1000), g.weight(1000)])
    return g.save(path, ["n", 3, 224, 224], TensorProto.FLOAT, x, ["n", 1000])


def bert_base(path: Path) -> Path:
    """Devlin et al. 2018: 12 layers of 768, 12 heads, a table of 30,522 words; any length."""
    g = Graph()
    x = g.add("Gather", [g.weight(30522, 768), "x"])
    for _ in range(12):
        q, k, v = (_heads(g, g.linear(x, 768, 768)) for _ in range(3))
        scores = g.add("MatMul", [q, g.add("Transpose", [k], perm=[0, 1, 3, 2])])
        met = g.add("MatMul", [g.add("Softmax", [scores], axis=-1), v])
        met = g.add("Reshape", [g.add("Transpose", [met], perm=[0, 2, 1, 3]), g.constant(0, 0, 768)])
        x = _normed(g, g.add("Add", [x, g.linear(met, 768, 768)]))
        h = g.add("Erf", [g.linear(x, 768, 3072)])
        x = _normed(g, g.add("Add", [x, g.linear(h, 3072, 768)]))
    first = g.add("Gather", [x, g.constant(0)], axis=1)
    x = g.add("Tanh", [g.linear(first, 768, 768)])
    return g.save(path, ["n", "length"], TensorProto.INT64, x, ["n", 1, 768])


def _heads(g: Graph, x: str) -> str:
    return g.add("Transpose", [g.add("Reshape", [x, g.constant(0, 0, 12, 64)])], perm=[0, 2, 1, 3])


def _normed(g: Graph, x: str) -> str:
    return g.add("LayerNormalization", [x, g.weight(768), g.weight(768)], axis=-1)
