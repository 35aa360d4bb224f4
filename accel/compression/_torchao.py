"""8-bit Linear layers of a torch module with torchao; they pay off only once inductor has compiled them."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

from accel.compression._graph import quantized_facts
from accel.compression._processor import forms_here
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.model import Model


def weights_only(model: Model) -> Model:
    """Weights of Linear layers in 8 bits, one scale for each output; raises VariantError if there are none."""
    from torchao.quantization import Int8WeightOnlyConfig

    return _quantized(model, Int8WeightOnlyConfig(), "quantize_weights", "weights in 8 bits by torchao")


def dynamic(model: Model) -> Model:
    """Weights of Linear layers in 8 bits, their inputs in 8 bits while running, one scale for each row (D8W8)."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    here = forms_here()
    config = Int8DynamicActivationInt8WeightConfig(reduce_range=here.reduce_range)
    seven = " (7 without VNNI)" if here.reduce_range else ""
    return _quantized(model, config, "quantize_dynamic", f"in 8 bits{seven} by torchao")


def _quantized(model: Model, config: Any, technique: str, how: str) -> Model:
    from torch import nn
    from torchao.quantization import quantize_

    from accel.model.torch_form import TorchForm

    form = model.as_form("torch")
    linear = sum(isinstance(m, nn.Linear) for m in form.module.modules())
    if not linear:
        raise VariantError(
            "Nothing was quantized: torchao works on `nn.Linear` modules, and this one has none (an exported program "
            "keeps operators, not modules).",
            "Give the module itself, or use the backend `onnxruntime`.",
        )
    module = copy.deepcopy(form.module)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantize_(module, config)
    except Exception as error:
        raise VariantError(
            f"torchao can't quantize this module: {type(error).__name__}: {str(error)[:200]}.",
            "Use the backend `onnxruntime` or `openvino`.",
        ) from error
    changed = TorchForm(module, form.inputs, form.outputs)
    note = f"{technique}: {linear} Linear layers, {how}"
    return model.derive("torch", changed, notes=(note,), facts=quantized_facts(model))
