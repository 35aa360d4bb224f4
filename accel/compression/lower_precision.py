"""Compute in 16 bits instead of 32: the backend is asked to, the weights stay as they are in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from accel.compilation import Refusal
from accel.compression._rules import trees

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model
    from accel.samples import Samples

_FORMS = {"openvino": ("openvino",), "eager": ("torch",), "inductor": ("torch",), "aot_inductor": ("torch",)}


class LowerPrecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks the backend for bfloat16 or float16 arithmetic.

    dtype: "bf16" keeps float32's range with 8 bits of precision; "f16" has 11 bits and a range up to 65504.
    """

    dtype: Literal["bf16", "f16"] = "bf16"

    needs_samples: ClassVar[bool] = False

    def reads(self, target: str) -> tuple[str, ...]:
        return _FORMS.get(target, ("onnx",))

    def writes(self, target: str) -> str:
        return self.reads(target)[0]

    def fits(self, facts: Facts, machine: Machine, target: str) -> Refusal | None:
        if refusal := trees(facts):
            return refusal
        if target == "onnxruntime":
            return _onnxruntime(self.dtype)
        if target not in _FORMS:
            return Refusal(f"The backend `{target}` has no precision to choose.", "Use `openvino` or `inductor`.")
        if self.dtype == "f16":
            return _float16(machine, target)
        if not machine.has_bf16:
            return Refusal(
                "bf16 would be emulated: this processor has no bfloat16 instructions.",
                "Use float32 or `quantize_static`.",
            )
        return None

    def apply(self, model: Model, samples: Samples | None, target: str) -> Model:
        """The same form with another precision asked for."""
        form = self.writes(target)
        return model.derive(
            form,
            model.as_form(form),
            facts=model.facts,
            precision=self.dtype,
            notes=(f"lower_precision: {self.dtype} where it can",),
        )


def _float16(machine: Machine, target: str) -> Refusal | None:
    """OpenVINO has float16 kernels for AVX512-FP16, AMX-FP16 and ARM; elsewhere it takes the hint and runs bfloat16."""
    if target != "openvino":
        return Refusal("torch has no fast float16 on the processor.", 'Use dtype = "bf16".')
    if not {"avx512_fp16", "amx_fp16", "asimdhp"} & set(machine.flags):
        return Refusal(
            "float16 arithmetic would be emulated: this processor has no instructions for it.", 'Use dtype = "bf16".'
        )
    return None


def _onnxruntime(dtype: str) -> Refusal:
    why = {
        "bf16": "ONNX Runtime has no bfloat16 kernels on the CPU.",
        "f16": "ONNX Runtime on the CPU casts float16 to float32 around each operator, so nothing gets faster.",
    }
    return Refusal(why[dtype], "Use the backend `openvino` or `inductor`, or `quantize_static`.")
