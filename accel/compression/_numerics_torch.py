"""What torch.compile was given to compute in 8 bits: counted in the graph that PT2E left, since inductor tells nothing.

An operator counts as low if all it multiplies was dequantized just before; inductor matches such groups to 8-bit
kernels, but whether it did isn't recorded anywhere that can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accel.compression._numerics import Asked, Operator, bytes_of, counted
from accel.result import Numerics

_HEAVY = {"conv1d": "conv", "conv2d": "conv", "conv3d": "conv", "linear": "linear", "addmm": "linear", "mm": "matmul",
          "matmul": "matmul", "bmm": "matmul", "scaled_dot_product_attention": "attention"}  # fmt: skip
_PASSING = ("view", "reshape", "permute", "transpose", "t", "contiguous", "clone", "expand", "to")


def numerics(form: Any, asked: Asked) -> Numerics:
    """Read a TorchForm; one that isn't a graph has no operators to count, and says so."""
    graphs = [m.graph for m in form.module.modules() if hasattr(m, "graph")]
    nodes = [node for graph in graphs for node in graph.nodes]
    note = () if nodes else ("the module isn't a graph, so its operators can't be counted",)
    return Numerics(
        operators=counted(_operators(nodes), asked),
        weight_bytes=weight_bytes(form.module),
        source="the graph given to inductor; which of its kernels run in 8 bits can't be asked",
        notes=note,
    )


def weight_bytes(module: Any) -> dict[str, int]:
    """Bytes of parameters and buffers by dtype; single numbers and indices aren't weights."""
    given = [t for whole in (*module.parameters(), *module.buffers()) for t in _stored(whole)]
    tensors = [t for t in given if t.numel() > 1 and str(t.dtype) != "torch.int64"]
    return bytes_of((str(t.dtype).removeprefix("torch."), t.nbytes) for t in tensors)


def _stored(tensor: Any) -> Iterator[Any]:
    """The plain tensors that one holds: torchao's quantized ones call themselves float32 and hold int8 and scales."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield tensor
        return
    names, _ = tensor.__tensor_flatten__()
    for name in names:
        yield from _stored(getattr(tensor, name))


def _operators(nodes: list[Any]) -> Iterator[Operator]:
    for node in nodes:
        kind = _HEAVY.get(_word(node))
        if kind is None:
            continue
        at = 1 if _word(node) == "addmm" else 0
        inputs = [_origin(a) for a in node.args[at : at + 2]]
        low = bool(inputs) and all(_word(i).startswith("dequantize") for i in inputs)
        yield Operator(
            type=kind,
            name=str(node.name),
            low=low,
            depthwise=kind == "conv" and _groups(node) > 1,
            computed=kind in ("matmul", "attention"),
            stored=not low and any(_word(i).startswith("dequantize") for i in inputs[1:]),
        )


def _word(node: Any) -> str:
    """`conv2d` of `aten.conv2d.default`; "" of what calls nothing."""
    if getattr(node, "op", "") != "call_function":
        return ""
    parts = str(node.target).split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def _origin(node: Any, depth: int = 4) -> Any:
    while depth and _word(node) in _PASSING and node.args:
        node, depth = node.args[0], depth - 1
    return node


def _groups(node: Any) -> int:
    """The argument `groups` of aten.convNd (input, weight, bias, stride, padding, dilation, groups)."""
    return int(node.args[6]) if len(node.args) > 6 else 1
