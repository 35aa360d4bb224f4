"""Which operator of the file is this one of the rewritten graph? A runtime renames what it fuses and lays out anew."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from accel.compilation._onnx import graphs

_DECORATED = re.compile(r"(^fused |_nchwc$|_nhwc$|_quant$|_token_\d+$|_Q8$|_Q4$)")
_FUSED_AT_MOST = 6
_LOW = {
    "ConvInteger": "Conv", "MatMulInteger": "MatMul", "MatMulIntegerToFloat": "MatMul", "MatMulInteger16": "MatMul",
    "DynamicQuantizeMatMul": "MatMul", "MatMulNBits": "MatMul", "MatMulBnb4": "MatMul", "QGemm": "Gemm",
    "QAttention": "Attention", "DynamicQuantizeLSTM": "LSTM", "QEmbedLayerNormalization": "EmbedLayerNormalization",
    "GatherBlockQuantized": "Gather",
}  # fmt: skip
_FUSED = {"FusedConv": "Conv", "NhwcFusedConv": "Conv", "FusedMatMul": "MatMul", "FusedGemm": "Gemm"}


def is_low(node: Any) -> bool:
    """True for an operator whose very type computes on numbers of 8 bits or fewer."""
    return node.op_type in _LOW or node.op_type.startswith("QLinear")


def plain_type(node: Any) -> str:
    """The operator's type as everybody knows it: `Conv` of QLinearConv, ConvInteger or FusedConv."""
    kind = str(node.op_type)
    return _LOW.get(kind) or _FUSED.get(kind) or kind.removeprefix("QLinear")


class Names:
    """The operators of a file by name, by what they write and by what they read."""

    def __init__(self, proto: Any) -> None:
        nodes = [n for g in graphs(proto.graph) for n in g.node]
        self._by_name = {n.name: n for n in nodes if n.name}
        self._by_output = {o: n for n in nodes for o in n.output if o}
        self._shapes = {w.name: tuple(w.dims) for g in graphs(proto.graph) for w in g.initializer}
        self._dequantized = {o: n.input[0] for n in nodes if n.op_type == "DequantizeLinear" for o in n.output}

    def of(self, node: Any) -> str:
        """The name in the file; the runtime's own where the operator isn't found there."""
        found = self._found(node)
        return str(node.name if found is None else found.name or found.output[0])

    def depthwise(self, node: Any) -> bool:
        """True for a convolution with a filter for each channel alone (group = channels > 1)."""
        group = next((int(a.i) for a in node.attribute if a.name == "group"), 1)
        found = self._found(node)
        weight = () if found is None else self._shape(found)
        return group > 1 and len(weight) > 2 and weight[1] == 1 and math.prod(weight) > 0

    def _shape(self, node: Any) -> tuple[int, ...]:
        name = node.input[3] if node.op_type == "QLinearConv" else node.input[1] if len(node.input) > 1 else ""
        return self._shapes.get(self._dequantized.get(name, name), ())

    def _found(self, node: Any) -> Any:
        """By name, else by what it writes; what it was fused with may have given it its output."""
        kind, plain = plain_type(node), _DECORATED.sub("", node.name)
        written = [o for output in node.output for o in (output, _DECORATED.sub("", output))]
        named = (self._by_name.get(node.name), self._by_name.get(plain), self._by_output.get(plain))
        for found in (*named, *(self._by_output.get(o) for o in written)):
            for one in self._back_from(found):
                if plain_type(one) == kind:
                    return one
        return None

    def _back_from(self, node: Any) -> Iterator[Any]:
        """An operator, and those before it along the first input."""
        for _ in range(_FUSED_AT_MOST):
            if node is None:
                return
            yield node
            node = self._by_output.get(node.input[0]) if node.input else None
