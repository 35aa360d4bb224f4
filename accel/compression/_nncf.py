"""Static quantization with NNCF on the OpenVINO form."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from accel.compression._calibration import Calibration
from accel.compression._graph import kept_in_float, listed, quantized_facts, require
from accel.compression._processor import forms_here
from accel.compression._rules import check_names
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.compression.quantize_static import QuantizeStatic
    from accel.model import Model
    from accel.samples import Samples

NARROWEST = 1.7e-3
"""NNCF gives no tensor less than 8e-4 on either side of zero, so a range up to this wide is no range of its own."""
_HEAVY = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")


def quantize(asked: QuantizeStatic, model: Model, samples: Samples) -> Model:
    """An OpenVINO model with 8-bit operators; raises VariantError if NNCF fails or finds nothing to do."""
    import openvino as ov

    # One item at a time: NNCF averages the ranges of items, and a batch would count as one.
    calibration = Calibration(model, samples, asked.count)
    network = ov.Core().read_model(str(model.as_form("openvino")))
    before = Counter(o.get_type_name() for o in network.get_ops() if o.get_type_name() in _HEAVY)
    check_names(asked.exclude, (o.get_friendly_name() for o in network.get_ops()), "the OpenVINO model")
    transformer = _is_transformer(asked, model.facts.kind, network)
    quantized = _run(asked, network, calibration, transformer, narrow=model.facts.kind == "other")
    done = _quantized(quantized)
    require(done, _HEAVY)
    path = model.scratch() / "model.xml"
    ov.save_model(quantized, str(path), compress_to_fp16=False)
    rest = _rest(asked)
    note = (
        f"quantize_static: {listed(done)} of {listed(before)} in 8 bits by NNCF"
        f"{' (for transformers)' if transformer else ''}{kept_in_float(asked.keep, asked.exclude)}, rest {rest}, "
        f"{calibration.items} calibration samples"
    )
    return model.derive(
        "openvino",
        Path(path),
        precision=rest,
        notes=(forms_here().said, note),
        facts=quantized_facts(model),
        calibrated=calibration.seen(_still(quantized)),
    )


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
            # Types may be absent from this model; names were checked.
            ignored_scope=nncf.IgnoredScope(names=[*asked.exclude], types=[*asked.keep], validate=False),
            advanced_parameters=_advanced(asked, narrow=narrow),
        )
    except Exception as error:
        raise VariantError(
            f"NNCF can't quantize this model: {type(error).__name__}: {str(error)[:200]}.",
            "Use the backend `onnxruntime`, or `lower_precision`.",
        ) from error


def _advanced(asked: QuantizeStatic, *, narrow: bool) -> Any:
    """Weights in 7 bits without VNNI; SmoothQuant's alpha; for a narrow network ranges over all calibration data.

    NNCF's mean of each item's range cuts off the tails of narrow layers (an 8-feature MLP: relative error 0.28 with the
    mean, 0.01 without).
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    options: dict[str, Any] = {}
    if forms_here().reduce_range:
        options["overflow_fix"] = nncf.OverflowFix.ENABLE
    if narrow:
        options["activations_range_estimator_params"] = RangeEstimatorParametersSet.MINMAX
    if asked.smooth is not None:
        options["smooth_quant_alphas"] = nncf.AdvancedSmoothQuantParameters(matmul=asked.smooth)
    return nncf.AdvancedQuantizationParameters(**options)


def _still(network: Any) -> tuple[str, ...]:
    """Activations whose quantizer spans nothing: they were zero, or nearly, in every item."""
    found = []
    for op in network.get_ops():
        if op.get_type_name() == "FakeQuantize" and not _is_weight(op):
            low, high = (op.input_value(i).get_node() for i in (1, 2))
            if (
                low.get_type_name() == high.get_type_name() == "Constant"
                and float(np.ptp([low.data, high.data])) < NARROWEST
            ):
                found.append(op.input_value(0).get_node().get_friendly_name())
    return tuple(found)


def _is_weight(op: Any) -> bool:
    return bool(op.input_value(0).get_node().get_type_name() in ("Constant", "Convert"))


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
