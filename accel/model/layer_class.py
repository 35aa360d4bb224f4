"""Which class of work an operator is, whatever its runtime calls it (ONNX, OpenVINO, torch)."""

from __future__ import annotations

import re

_CLASSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    # The first that matches counts; names are compared in lower case without "_", as runtimes spell them in many ways.
    ("quantize", ("(dynamic|de)?quantize(linear|per.*)?", "fakequantize.*")),
    ("attention", (".*attention.*", "sdpa", "multihead.*")),
    ("convolution", (".*convolution.*", ".*conv([123]d)?(pointwise)?", ".*conv(integer|transpose).*")),
    ("recurrent", ("(dynamicquantize)?lstm.*", "gru.*", "rnn.*")),
    ("matmul", (".*matmul.*", ".*gemm.*", "einsum", "addmm.*", "b?mm",
                "baddbmm", ".*linear(pointwise)?", "fullyconnected.*")),
    ("norm", (".*(layer|batch|instance|group|rms)norm.*", "lpnorm.*", "mvn", "normalizel2")),
    ("softmax", (".*softmax.*",)),
    ("embedding", ("gather.*", "embedding.*", "embedlayer.*", "indexselect")),
    ("pool", (".*pool.*",)),
    ("reduce", ("reduce.*", "sum", "mean", "amax", "amin", "argmax", "argmin", "topk", "cumsum")),
    ("trees", ("treeensemble.*",)),
    ("layout", ("transpose.*", "permute", "reorder.*", "reshape.*", "flatten", "(un)?squeeze", "concat.*", "cat",
                "split.*",
                ".*slice.*", "variadicsplit", "expand", "tile", "broadcast.*", "pad", "convert.*", "cast.*", "clone",
                "copy",
                "contiguous", "view", "identity", "shape(of)?", "todtype", "depthtospace", "spacetodepth", "resize",
                "upsample.*", "interpolate", "memcpy.*")),
)  # fmt: skip
_COMPILED = tuple((name, re.compile("|".join(patterns))) for name, patterns in _CLASSES)

MULTIPLIES = frozenset({"convolution", "matmul", "attention", "recurrent"})
"""Classes whose operators do multiply-accumulates."""


def layer_class(kind: str) -> str:
    """The class of an operator type; what is none of the known is "elementwise".

    >>> layer_class("QLinearConv"), layer_class("FullyConnected"), layer_class("Add"), layer_class("aten::addmm")
    ('convolution', 'matmul', 'elementwise', 'matmul')
    """
    plain = kind.rpartition("::")[2].lower().replace("_", "").partition(".")[0]
    return next((name for name, pattern in _COMPILED if pattern.fullmatch(plain)), "elementwise")
