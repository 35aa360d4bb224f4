"""Weights and activations in 8 bits, with ranges learned from samples; the quantizer follows the backend."""

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
    "onnxruntime": {"method", "percentile", "per_channel", "operators", "portable", "keep", "exclude"},
    "openvino": {"preset", "model_type", "rest", "smooth", "keep", "exclude"},
    "inductor": set[str](),
}


class QuantizeStatic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """onnxruntime -> its own QDQ with unsigned activations and signed weights; openvino -> NNCF; inductor -> PT2E.

    count: how many calibration samples at most.
    method, percentile, per_channel, operators (empty: by kind of model): of ONNX Runtime's quantizer.
    preset, model_type, rest (precision of what isn't quantized; "auto": bf16 where the chip has it): of NNCF.
    smooth: SmoothQuant's alpha for NNCF on a transformer, 0 to 1, the share of an activation's range that is moved into
        the weights; -1 switches it off; None takes NNCF's own (0.95).
    keep: operator types that stay in float ("Add"; of ONNX for its quantizer, of OpenVINO for NNCF).
    exclude: names of nodes that stay in float (of the prepared ONNX graph, or OpenVINO friendly names).
    portable: ONNX Runtime's quantizer whatever the backend, for one file that several runtimes load.
    """

    count: int = 128
    method: Literal["minmax", "entropy", "percentile", "distribution"] = "minmax"
    percentile: float = 99.999
    per_channel: bool = True
    operators: tuple[str, ...] = ()
    preset: Literal["mixed", "performance"] = "mixed"
    model_type: Literal["auto", "transformer", "none"] = "auto"
    rest: Literal["auto", "f32"] = "auto"
    smooth: float | None = None
    keep: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    portable: bool = False

    needs_samples: ClassVar[bool] = True

    def quantizer(self, target: str) -> str:
        """Whose quantizer is used: the backend's own, unless one portable file was asked for."""
        return "onnxruntime" if self.portable and target == "openvino" else tools_for(target)

    def reads(self, target: str) -> tuple[str, ...]:
        return (form_for(self.quantizer(target)),)

    def writes(self, target: str) -> str:
        return self.reads(target)[0]

    def fits(self, facts: Facts, machine: Machine, target: str) -> Refusal | None:
        if refusal := trees(facts):
            return refusal
        own = _OWN_FIELDS.get(self.quantizer(target))
        if own is None:
            return Refusal(
                f"There is no static quantizer for the backend `{target}`.",
                "Use the backend `onnxruntime`, `openvino` or `inductor`.",
            )
        quantizer = self.quantizer(target)
        return (
            foreign(self, own | {"count", "portable"}, f"the quantizer of `{quantizer}`")
            or already_quantized(facts)
            or _toolchain(quantizer)
        )

    def apply(self, model: Model, samples: Samples, target: str) -> Model:
        """A new model in the form that `writes` says; raises VariantError with the quantizer's reason."""
        if self.quantizer(target) == "openvino":
            from accel.compression._nncf import quantize

            return quantize(self, model, samples)
        if self.quantizer(target) == "inductor":
            from accel.compression._pt2e import quantize as quantize_pt2e

            return quantize_pt2e(self, model, samples)
        from accel.compression._qdq import quantize as quantize_qdq

        return quantize_qdq(self, model, samples)


def _toolchain(quantizer: str) -> Refusal | None:
    if quantizer == "openvino":
        return missing("nncf", "Quantizing for OpenVINO", 'pip install "accel-bench[openvino]"')
    if quantizer == "inductor":
        return missing("torchao", "Quantizing for torch.compile (PT2E)", 'pip install "accel-bench[torch]"')
    return None
