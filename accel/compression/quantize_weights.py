"""Weights in 8 or 4 bits, block by block, activations in float: smaller, and faster where memory is the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from accel.compilation import Refusal
from accel.compression._rules import already_quantized, foreign, form_for, missing, tools_for, trees

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model
    from accel.samples import Samples

_OWN_FIELDS = {
    "onnxruntime": {"block_size", "symmetric", "accuracy_level", "exclude"},
    "openvino": {"block_size", "symmetric", "ratio", "awq", "count", "exclude"},
    "inductor": set[str](),
}
_TOOLS = {
    "openvino": ("nncf", "Compressing weights for OpenVINO", 'pip install "accel-bench[openvino]"'),
    "inductor": ("torchao", "Weight-only quantization for torch.compile", 'pip install "accel-bench[torch]"'),
}


class QuantizeWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """onnxruntime -> MatMulNBits; openvino -> nncf.compress_weights; inductor -> torchao's Int8WeightOnly.

    It covers matrix products. It pays off in time where weights are read from memory once for few rows (large language
    models); a model that fits into the last-level cache gets smaller, hardly faster, and its notes say so.

    bits: 8 or 4. On most processors 4 are no faster than 8: they unpack them first (openvinotoolkit/openvino#23653).
    block_size: how many weights along the reduced axis share a scale; a power of two from 16 on. None: 128 with 8 bits
        (OpenVINO: one scale for each output channel), 32 with 4.
    symmetric: without a zero point.
    accuracy_level: what ONNX Runtime may turn activations into while it multiplies: 4 is 8-bit integers (with 8 bits
        the only level that is faster than float32), 1 float32, 0 leaves it to the runtime.
    ratio: of the layers, how many get 4 bits (OpenVINO); the most sensitive others get 8.
    awq: scale weights by the activations' size first (activation-aware quantization, OpenVINO, 4 bits); learns it from
        calibration samples where there are some. count: from how many at most.
    exclude: names of nodes that stay in float.
    """

    bits: Literal[8, 4] = 8
    block_size: int | None = None
    symmetric: bool = True
    accuracy_level: Literal[0, 1, 4] = 4
    ratio: float = 1.0
    awq: bool = False
    count: int = 128
    exclude: tuple[str, ...] = ()

    needs_samples: ClassVar[bool] = False

    def reads(self, target: str) -> tuple[str, ...]:
        return (form_for(target),)

    def writes(self, target: str) -> str:
        return self.reads(target)[0]

    def fits(self, facts: Facts, machine: Machine, target: str) -> Refusal | None:
        if refusal := trees(facts):
            return refusal
        own = _OWN_FIELDS.get(tools_for(target))
        if own is None:
            return Refusal(
                f"The backend `{target}` has no kernels for weights in {self.bits} bits.",
                "Use the backend `onnxruntime`, `openvino` or `inductor`.",
            )
        return (
            already_quantized(facts)
            or self._bits(target)
            or foreign(self, own | {"bits"}, f"the weight quantizer of `{target}`")
            or self._block()
            or _convolutions(facts)
            or (missing(*_TOOLS[tools_for(target)]) if tools_for(target) in _TOOLS else None)
        )

    def _bits(self, target: str) -> Refusal | None:
        if tools_for(target) == "inductor" and self.bits == 4:
            return Refusal(
                "torchao's 4-bit weights need the library mslk, which runs on CUDA devices only.",
                "Use bits = 8, or the backend `onnxruntime` or `openvino`.",
            )
        if target == "openvino" and self.bits == 8:
            return foreign(self, {"bits", "symmetric", "exclude"}, "OpenVINO's 8-bit weights (one scale for a channel)")
        return None

    def _block(self) -> Refusal | None:
        size = self.block_size
        if size is not None and (size < 16 or size & (size - 1)):
            return Refusal(
                f"`block_size` must be a power of two from 16 on, but is {size}.", "Use 32, 64 or 128, or leave it out."
            )
        if not 0 < self.ratio <= 1:
            return Refusal(f"`ratio` must be above 0 and at most 1, but is {self.ratio}.", "Leave `ratio` out.")
        return None

    @property
    def block(self) -> int:
        """The block size, with None resolved."""
        return self.block_size or (32 if self.bits == 4 else 128)

    def apply(self, model: Model, samples: Samples | None, target: str) -> Model:
        """A new model in the form that `writes` says; raises VariantError if there is nothing to quantize."""
        if target == "openvino":
            from accel.compression._weights import with_nncf

            return with_nncf(self, model, samples)
        if tools_for(target) == "inductor":
            from accel.compression._torchao import weights_only

            return weights_only(model)
        from accel.compression._weights import with_onnxruntime

        return with_onnxruntime(self, model)


def _convolutions(facts: Facts) -> Refusal | None:
    if facts.kind in ("convolutional", "depthwise"):
        return Refusal(
            "Weight-only quantization is for matrix products; this model's work lies in convolutions, whose few "
            "weights are used many times over, so that reading fewer bytes saves nothing.",
            "Use `quantize_static`.",
        )
    return None
