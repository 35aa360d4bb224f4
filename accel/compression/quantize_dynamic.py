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
from accel.compression._rules import already_quantized
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model
    from accel.samples import Samples


class QuantizeDynamic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """ONNX Runtime's dynamic quantization with signed 8-bit weights.

    operators: which operator types. `Conv` may be asked for, but is many times slower than float32 (ConvInteger has
        no fast kernel; microsoft/onnxruntime#12854).
    per_channel: one scale for each output channel of a weight rather than one for all.
    """

    operators: tuple[str, ...] = ("MatMul", "Gemm")
    per_channel: bool = True

    needs_samples: ClassVar[bool] = False

    def reads(self, target: str) -> tuple[str, ...]:
        return ("onnx",)

    def writes(self, target: str) -> str:
        return "onnx"

    def fits(self, facts: Facts, machine: Machine, target: str) -> Refusal | None:
        if target != "onnxruntime":
            return Refusal(
                f"Dynamic quantization is done by ONNX Runtime for itself; `{target}` doesn't run its operators.",
                "Use the backend `onnxruntime`, or `quantize_static`.",
            )
        return already_quantized(facts)

    def apply(self, model: Model, samples: Samples | None, target: str) -> Model:
        """A new ONNX model; raises VariantError if nothing can be quantized."""
        folder = model.scratch()
        proto = load_prepared(Path(model.as_form("onnx")))
        before, large = heavy_operators(proto), is_large(proto)
        source = save(proto, folder / "float.onnx")
        path = folder / "model.onnx"
        self._quantize(source, path, large)
        done = quantized_operators(path)
        require(done, self.operators)
        source.unlink()
        note = f"quantize_dynamic: {listed(done)} of {listed(before)} in 8 bits"
        return model.derive("onnx", path, notes=(note,), facts=quantized_facts(model))

    def _quantize(self, source: Path, path: Path, large: bool) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        try:
            quantize_dynamic(
                source,
                path,
                op_types_to_quantize=list(self.operators),
                per_channel=self.per_channel,
                weight_type=QuantType.QInt8,
                use_external_data_format=large,
            )
        except Exception as error:
            raise VariantError(
                f"ONNX Runtime can't quantize this graph dynamically: {type(error).__name__}: {str(error)[:200]}.",
                "Try `quantize_static`.",
            ) from error
