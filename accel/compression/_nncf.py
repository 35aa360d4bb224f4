"""Static quantization with NNCF on the OpenVINO form."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from accel.compression._calibration import Calibration
from accel.compression._graph import listed, quantized_facts, require
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.compression.quantize_static import QuantizeStatic
    from accel.model import Model
    from accel.samples import Samples

_HEAVY = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")


def quantize(asked: QuantizeStatic, model: Model, samples: Samples) -> Model:
    """An OpenVINO model with 8-bit operators; raises VariantError if NNCF fails or finds nothing to do."""
    import openvino as ov

    # One item at a time: NNCF averages the ranges of items, and a batch would count as one.
    calibration = Calibration(model, samples, asked.count)
    network = ov.Core().read_model(str(model.as_form("openvino")))
    before = Counter(o.get_type_name() for o in network.get_ops() if o.get_type_name() in _HEAVY)
    transformer = _is_transformer(asked, model.facts.kind, network)
    quantized = _run(asked, network, calibration, transformer, narrow=model.facts.kind == "other")
    done = _quantized(quantized)
    require(done, _HEAVY)
    path = model.scratch() / "model.xml"
    ov.save_model(quantized, str(path), compress_to_fp16=False)
    rest = _rest(asked)
    note = (
        f"quantize_static: {listed(done)} of {listed(before)} in 8 bits by NNCF"
        f"{' (for transformers)' if transformer else ''}, rest {rest}, {calibration.items} calibration samples"
    )
    return model.derive("openvino", Path(path), precision=rest, notes=(note,), facts=quantized_facts(model))


def _run(asked: QuantizeStatic, network: Any, calibration: Calibration, transformer: bool, *, narrow: bool) -> Any:
    # Nobody agreed to telemetry; this is the switch NNCF has for it.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    try:
        return nncf.quantize(
            network,
            nncf.Dataset(list(range(len(calibration))), lambda index: calibration[index]),
            subset_size=len(calibration),
            preset=nncf.QuantizationPreset(asked.preset),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            fast_bias_correction=True,
            target_device=nncf.TargetDevice.CPU,
            advanced_parameters=_whole_range() if narrow else None,
        )
    except Exception as error:
        raise VariantError(
            f"NNCF can't quantize this model: {type(error).__name__}: {str(error)[:200]}.",
            "Use the backend `onnxruntime`, or `lower_precision`.",
        ) from error


def _whole_range() -> Any:
    """Ranges over all calibration data: NNCF's mean of each item's range cuts off the tails of narrow layers (an
    8-feature MLP: relative error 0.28 with the mean, 0.01 without).
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return nncf.AdvancedQuantizationParameters(activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX)


def _is_transformer(asked: QuantizeStatic, kind: str, network: Any) -> bool:
    """With "auto": any sign of attention, since NNCF's plain setting has ruined every model with some of it.

    Layer normalisation (MVN) or two softmaxes count as such; a convolutional recogniser with two attention blocks
    went from 0.975 to 0.025 of its lines without the switch, and back with it.
    """
    if asked.model_type != "auto":
        return asked.model_type == "transformer"
    seen = Counter(o.get_type_name() for o in network.get_ops())
    attention = seen["ScaledDotProductAttention"] or seen["MVN"] or seen["Softmax"] + seen["SoftMax"] >= 2
    return kind == "transformer" or bool(attention)


def _rest(asked: QuantizeStatic) -> Literal["float32", "bf16"]:
    """Precision of what stays unquantized; OpenVINO's own default is bf16 exactly where the chip has it."""
    import openvino as ov

    if asked.rest == "f32":
        return "float32"
    default = ov.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    return "bf16" if default in ("bf16", "bfloat16") else "float32"


def _quantized(network: Any) -> Counter[str]:
    """Heavy operators whose first two inputs come (through reshapes and converts) out of a FakeQuantize."""
    return Counter(
        o.get_type_name()
        for o in network.get_ops()
        if o.get_type_name() in _HEAVY and all(_from_quantizer(o.input_value(i).get_node()) for i in (0, 1))
    )


def _from_quantizer(node: Any, depth: int = 4) -> bool:
    """Weights are stored as 8-bit constants, converted and scaled; activations pass a FakeQuantize."""
    name = node.get_type_name()
    if name == "FakeQuantize":
        return True
    if name == "Constant":
        return str(node.get_element_type().get_type_name()) in ("i8", "u8")
    passing = ("Convert", "Multiply", "Subtract", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "MaxPool", "Concat")
    return depth > 0 and name in passing and _from_quantizer(node.input_value(0).get_node(), depth - 1)
