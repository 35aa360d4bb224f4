"""What a model is, as plain data: where it comes from, what goes in and out, what decides the variants worth trying."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["torch", "pt2", "onnx", "openvino", "callable", "factory", "sklearn", "hf", "timm"]


class Tensor(msgspec.Struct, frozen=True):
    """Name, numpy dtype name and shape of one input or output; an axis is an int, or a name where it may vary."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(str(a) for a in self.shape)}]"


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What goes in and what comes out.

    batch: "any" if axis 0 of every input may vary, else the one batch size the model takes.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batch: int | Literal["any"]

    def __str__(self) -> str:
        def listed(tensors: tuple[Tensor, ...]) -> str:
            return ", ".join(str(t) for t in tensors)

        return f"({listed(self.inputs)}) -> ({listed(self.outputs)}), batch {self.batch}"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which variants are worth trying; counted from the graph, null where it can't be.

    operators: how often each operator type occurs.
    kind: by what does most multiply-accumulates, see `accel.model.facts`.
    depthwise_share: share of the convolutions wider than 1x1 that are depthwise (one input channel a group).
    parameters: elements of all weights; of tree ensembles their thresholds and leaf values.
    macs_per_item: multiply-accumulates of Conv, MatMul and Gemm at batch 1 (ragged inputs as long as the longest
        sample); null where shapes can't be inferred and for
        tree ensembles, which multiply nothing.
    vocabulary: input name -> rows of the smallest embedding it is looked up in, for synthetic token ids.
    """

    kind: Literal["convolutional", "depthwise", "transformer", "trees", "other"]
    parameters: int | None
    weight_bytes: int | None
    operators: dict[str, int]
    macs_per_item: int | None
    depthwise_share: float
    quantized: bool
    forms: tuple[str, ...]
    vocabulary: dict[str, int] = {}


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model comes from, as plain data.

    location: a path, `file.py:factory`, `package.module:factory`, `hf:NAME`, `timm:NAME`, or the file a live object was
        stored in.
    sha256: of the stored object; a child refuses to load a file of another hash.
    trusted: True if the user said `--trust-file` for a file that holds pickles or native code.
    random_weights: True if the user said so or the factory did; labels every figure that stems from them.
    sys_path: folders a child needs on sys.path to import what a stored object refers to.
    """

    kind: Kind
    name: str
    location: str
    sha256: str | None = None
    trusted: bool = False
    random_weights: bool = False
    sys_path: tuple[str, ...] = ()
