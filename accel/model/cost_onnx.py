"""The cost of an ONNX graph, operator by operator: multiply-accumulates, bytes of weights and of activations.

A constant counts as it is stored, through casts and dequantize steps; a tensor that is quantized for its only readers,
or was just dequantized, counts its 8 bits. Reshapes move nothing; a lookup reads its rows, not its table. So the bytes
are the least that must move where every operator reads its inputs and writes its outputs once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from accel.model.cost import Cost, LayerCost
from accel.model.costs import summed
from accel.model.layer_class import MULTIPLIES, layer_class
from accel.model.macs_onnx import macs_of
from accel.model.onnx_file import read_graph
from accel.model.shapes import Laid, laid_out
from accel.model.types import Signature

_VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Size", "Constant", "Dropout",
          "QuantizeLinear", "DequantizeLinear"}  # fmt: skip
"""Operators that move nothing; of a quantize step what it moves is counted where it is read, in its 8 bits."""
_PARTLY = {"Gather", "GatherElements", "GatherND", "Slice", "Embedding"}
"""Operators that read as much as they write, however large their input."""


def cost_onnx(path: Path, signature: Signature, example: Mapping[str, npt.NDArray[Any]] | None) -> Cost | None:
    """Count a graph at batch 1 (or its one batch size); None where the shapes of what multiplies can't be found.

    example: real inputs, whose lengths stand in for axes without a fixed size.
    """
    graph = _Graph(path, signature, example)
    layers: list[LayerCost] = []
    weighted: list[bool] = []
    for i, node in enumerate(graph.nodes):
        if node.op_type in _VIEWS or graph.is_constant(node.output[0]):
            continue
        layer = graph.layer(node, i)
        if layer is None:
            return None
        layers.append(layer)
        weighted.append(layer.weight_bytes > 0)
    items = 1 if signature.batch == "any" else signature.batch
    return summed(layers, weighted, "onnx", items, bits=graph.commonest_bits())


class _Graph:
    """The nodes, what makes and reads each tensor, and how tensors lie."""

    def __init__(self, path: Path, signature: Signature, example: Mapping[str, npt.NDArray[Any]] | None) -> None:
        model = read_graph(path)
        self.nodes = list(model.graph.node)
        self._maker = {name: node for node in self.nodes for name in node.output if name}
        self._origins: dict[str, int] = {}
        self._readers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._stored = {t.name for t in model.graph.initializer}
        self._stored |= {n.output[0] for n in self.nodes if n.op_type == "Constant"}
        self._constant = set(self._stored)
        for node in self.nodes:
            if any(node.input) and all(n in self._constant for n in node.input if n):
                self._constant.update(node.output)
        wanted = [name for node in self.nodes if layer_class(node.op_type) in MULTIPLIES
                  for name in (*node.input, *node.output)]  # fmt: skip
        self._laid = laid_out(path, model, signature, example, self._wanted(wanted))
        self._laid |= _constants(self.nodes)

    def _wanted(self, names: list[str]) -> list[str]:
        """What must be known of the operators that multiply: what is computed, and what was stored."""
        return [n for n in names if n and (n not in self._constant or n in self._maker)]

    def is_constant(self, name: str) -> bool:
        """True for what doesn't depend on the inputs, through operators that a runtime folds away."""
        return name in self._constant

    def layer(self, node: Any, i: int) -> LayerCost | None:
        """The cost of one operator for the whole batch; None if it multiplies and its shapes aren't known."""
        macs = 0
        if layer_class(node.op_type) in MULTIPLIES:
            counted = macs_of(node, {n: laid.shape for n in (*node.input, *node.output) if (laid := self._at(n))})
            if counted is None:
                return None
            macs = counted
        written = sum(self._moved(name) for name in node.output)
        weights = sum(self._origin_bytes(n) for n in dict.fromkeys(node.input) if n in self._constant)
        read = sum(self._moved(name) for name in dict.fromkeys(node.input) if name not in self._constant)
        if node.op_type in _PARTLY:
            weights, read = min(weights, written), min(read, written)
        return LayerCost(
            name=node.name or f"{node.op_type} {i}",
            type=node.op_type,
            macs=macs,
            weight_bytes=weights,
            activation_bytes=written + read,
        )

    def _at(self, name: str) -> Laid | None:
        return self._laid.get(name)

    def _moved(self, name: str) -> int:
        """Bytes of an activation, in the 8 bits that it was or will be rounded to; 0 where nothing is known."""
        laid = self._laid.get(name)
        if laid is None:
            return 0
        return math.ceil(math.prod(laid.shape) * self._bits(name, laid.bits) / 8)

    def _bits(self, name: str, bits: int) -> int:
        maker, readers = self._maker.get(name), self._readers.get(name, [])
        if maker is not None and maker.op_type == "DequantizeLinear":
            return min(bits, self._laid[maker.input[0]].bits) if maker.input[0] in self._laid else bits
        if readers and all(r.op_type == "QuantizeLinear" for r in readers):
            return min(bits, min(self._laid[r.output[0]].bits if r.output[0] in self._laid else 8 for r in readers))
        return bits

    def _origin_bytes(self, name: str) -> int:
        """Bytes of the largest stored tensor behind a constant; a shape is a few numbers, whatever it belongs to."""
        if name not in self._origins:
            maker, laid = self._maker.get(name), self._laid.get(name)
            if name not in self._stored and maker is not None and any(maker.input):
                behind = (self._origin_bytes(n) for n in maker.input if n)
                self._origins[name] = 8 if maker.op_type == "Shape" else max(behind)
            else:
                self._origins[name] = 0 if laid is None else math.ceil(math.prod(laid.shape) * laid.bits / 8)
        return self._origins[name]

    def commonest_bits(self) -> tuple[int, int]:
        """(of weights, of activations): the element size that holds most bytes."""
        weights: dict[int, int] = {}
        for name in self._stored & set(self._laid):
            laid = self._laid[name]
            weights[laid.bits] = weights.get(laid.bits, 0) + math.prod(laid.shape) * laid.bits
        moved: dict[int, int] = {}
        for name in set(self._maker) - self._constant:
            found = self._laid.get(name)
            if found is not None:
                bits = self._bits(name, found.bits)
                moved[bits] = moved.get(bits, 0) + math.prod(found.shape) * bits
        return _largest(weights), _largest(moved)


def _largest(found: Mapping[int, int]) -> int:
    return max(found, key=lambda bits: found[bits], default=32)


def _constants(nodes: list[Any]) -> dict[str, Laid]:
    """How the tensors of Constant operators lie."""
    from onnx import numpy_helper

    found = {}
    for node in nodes:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value" and not attribute.t.external_data:
                array = numpy_helper.to_array(attribute.t)
                found[node.output[0]] = Laid(array.shape, 8 * array.dtype.itemsize)
    return found
