"""How many multiply-accumulates does an ONNX operator do? From the shapes of what it reads and writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from accel.model.layer_class import layer_class

Shapes = Mapping[str, tuple[int, ...]]
_WEIGHT_AT = {"QLinearConv": 3}


def macs_of(node: Any, shapes: Shapes) -> int | None:
    """Multiply-accumulates of a whole batch; None where a shape is missing or the operator isn't known."""
    kind = layer_class(node.op_type)
    if kind == "convolution":
        return _convolution(node, shapes)
    if node.op_type == "Einsum":
        return _einsum(node, shapes)
    if kind == "matmul":
        return _product(node, shapes)
    if kind == "recurrent":
        return _recurrent(node, shapes)
    return _attention(node, shapes)


def _convolution(node: Any, shapes: Shapes) -> int | None:
    """Each output element takes a kernel of one group's channels; of a transposed one, each input element does."""
    weight = shapes.get(node.input[_WEIGHT_AT.get(node.op_type, 1)])
    moved = shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0])
    return None if weight is None or moved is None else math.prod(moved) * math.prod(weight[1:])


def _product(node: Any, shapes: Shapes) -> int | None:
    """Each output element is a sum over the axis that the two factors share, the first factor's last."""
    first, out = shapes.get(node.input[0]), shapes.get(node.output[0])
    if first is None or out is None or not first:
        return None
    flipped = _attribute(node, "transA") and len(first) > 1
    return math.prod(out) * first[-2 if flipped else -1]


def _einsum(node: Any, shapes: Shapes) -> int | None:
    """Two terms: the product of the sizes of all letters; more: from the left, two at a time. "..." isn't counted."""
    equation = next((a.s.decode() for a in node.attribute if a.name == "equation"), "").replace(" ", "")
    given, arrow, out = equation.partition("->")
    terms = given.split(",")
    kept = set(out) if arrow else {letter for letter in given if given.count(letter) == 1}
    sizes: dict[str, int] = {}
    for name, letters in zip(node.input, terms, strict=False):
        shape = shapes.get(name)
        if shape is None or "." in letters or len(shape) != len(letters):
            return None
        sizes.update(zip(letters, shape, strict=True))
    macs, met = 0, set(terms[0])
    for i, letters in enumerate(terms[1:], 1):
        met |= set(letters)
        macs += math.prod(sizes[letter] for letter in met)
        met &= kept.union(*terms[i + 1 :])
    return macs


def _recurrent(node: Any, shapes: Shapes) -> int | None:
    """Each step and item meets the input weights (directions, gates x hidden, input) and those of the state."""
    given, weight, state = (shapes.get(n) for n in node.input[:3])
    if given is None or weight is None or state is None or len(given) != 3:
        return None
    return given[0] * given[1] * (math.prod(weight) + math.prod(state))


def _attention(node: Any, shapes: Shapes) -> int | None:
    """Scores and their product with the values; `Attention` of com.microsoft projects its input before."""
    first, second = (shapes.get(n) for n in node.input[:2])
    if first is None or second is None:
        return None
    if node.op_type in ("Attention", "QAttention", "FusedAttention") and len(second) == 2:
        rows, width = math.prod(first[:-1]), second[1] // 3
        return rows * first[-1] * second[1] + 2 * rows * first[-2] * width
    values = shapes.get(node.input[2]) if len(node.input) > 2 and node.input[2] else second
    if values is None or len(first) < 3:
        return None
    if len(first) == 4:  # (batch, heads, length, size of a head)
        return math.prod(first[:3]) * second[2] * (first[3] + values[3])
    length = second[1]
    heads = _attribute(node, "num_heads") or _attribute(node, "q_num_heads")
    grouped = _attribute(node, "kv_num_heads")
    # With grouped heads keys and values are narrower than queries, and each is met by several of them.
    wide = values[2] * heads // grouped if heads and grouped else values[2]
    return math.prod(first[:2]) * length * (first[2] + wide)


def _attribute(node: Any, name: str) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), 0)
