"""Weights in 8 bits beforehand, activations in 8 bits while running: needs no samples, pays off on transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from accel.compilation import Refusal
from accel.compression._graph import (
    heavy_operators,
    is_large,
    listed,
    load_prepared,
    quantized_facts,
    quantized_operators,
    require,
    save,
)
from accel.compression._processor import forms_here
from accel.compression._rules import already_quantized, foreign, form_for, missing, tools_for, trees
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model
    from accel.samples import Samples

_OWN_FIELDS = {"onnxruntime": {"operators", "per_channel"}, "openvino": {"group_size"}, "inductor": set[str]()}
_TOOLS = {
    "openvino": ("nncf", "Compressing weights for OpenVINO", 'pip install "accel-bench[openvino]"'),
    "inductor": ("torchao", "Dynamic quantization for torch.compile", 'pip install "accel-bench[torch]"'),
}


class QuantizeDynamic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """onnxruntime -> its own quantizer; openvino -> its runtime's dynamic quantization; inductor -> torchao's D8W8.

    The last two cover matrix products only.

    operators: which operator types. `Conv` may be asked for, but is many times slower than float32 (ConvInteger has
        no fast kernel; microsoft/onnxruntime#12854).
    per_channel: one scale for each output channel of a weight rather than one for all.
    group_size: how many activations share a scale (OpenVINO), a power of two.
    """

    operators: tuple[str, ...] = ("MatMul", "Gemm")
    per_channel: bool = True
    group_size: int = 64

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
                f"There is no dynamic quantizer for the backend `{target}`{_why(target)}.",
                "Use the backend `onnxruntime`, `openvino` or `inductor`, or `quantize_static`.",
            )
        return (
            already_quantized(facts)
            or foreign(self, own, f"the dynamic quantizer of `{target}`")
            or self._nothing(facts)
            or (missing(*_TOOLS[tools_for(target)]) if tools_for(target) in _TOOLS else None)
        )

    def _nothing(self, facts: Facts) -> Refusal | None:
        """A refusal where no operator of the wanted types is there; graphs that weren't counted are tried."""
        names = {"Gemm": ("Gemm", "linear", "addmm"), "MatMul": ("MatMul", "matmul", "mm", "bmm", "linear")}
        wanted = {name for o in self.operators for name in names.get(o, (o,))}
        if not facts.operators or wanted & set(facts.operators):
            return None
        return Refusal(
            f"Nothing would be quantized: the model has no {' or '.join(self.operators)}.",
            "Use `quantize_static`, which covers convolutions.",
        )

    def apply(self, model: Model, samples: Samples | None, target: str) -> Model:
        """A new model in the form that `writes` says; raises VariantError if nothing can be quantized."""
        if target == "openvino":
            from accel.compression._weights import dynamic_with_openvino

            return dynamic_with_openvino(model, self.group_size)
        if tools_for(target) == "inductor":
            from accel.compression._torchao import dynamic

            return dynamic(model)
        return self._with_onnxruntime(model)

    def _with_onnxruntime(self, model: Model) -> Model:
        folder = model.scratch()
        proto = load_prepared(Path(model.as_form("onnx")))
        before, large = heavy_operators(proto), is_large(proto)
        source = save(proto, folder / "float.onnx")
        path = folder / "model.onnx"
        self._quantize(source, path, large)
        done = quantized_operators(path)
        require(done, self.operators)
        for left in folder.glob("float*"):
            left.unlink()
        if done["ConvInteger"]:
            _check_kernel(path)
        trap = "; ConvInteger has no fast kernel, expect it to be slower than float32" if done["ConvInteger"] else ""
        note = f"quantize_dynamic: {listed(done)} of {listed(before)} in 8 bits{trap}"
        return model.derive("onnx", path, notes=(note,), facts=quantized_facts(model))

    def _quantize(self, source: Path, path: Path, large: bool) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        try:
            quantize_dynamic(
                source,
                path,
                op_types_to_quantize=list(self.operators),
                per_channel=self.per_channel,
                reduce_range=forms_here().reduce_range,
                weight_type=QuantType.QInt8,
                use_external_data_format=large,
            )
        except Exception as error:
            raise VariantError(
                f"ONNX Runtime can't quantize this graph dynamically: {type(error).__name__}: {str(error)[:200]}.",
                "Try `quantize_static`.",
            ) from error


def _why(target: str) -> str:
    return " (torchao's layers are slower than float32 until they are compiled)" if target == "eager" else ""


def _check_kernel(path: Path) -> None:
    """Some builds of ONNX Runtime have no ConvInteger for signed weights; better said now than when it is loaded."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise VariantError(
            "This ONNX Runtime has no kernel for dynamically quantized convolutions (ConvInteger).",
            "Leave `Conv` out of `operators`, or use `quantize_static`.",
        ) from error
