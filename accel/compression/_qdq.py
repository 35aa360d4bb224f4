"""Static quantization with ONNX Runtime's own tool: QDQ, unsigned 8-bit activations, signed 8-bit weights.

U8 x S8 is the form its x86 kernels are fast for; the tool's own default (S8 x S8) gains nothing there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel.compression._calibration import Calibration
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
from accel.compression._processor import has_vnni
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.compilation import Arrays
    from accel.compression.quantize_static import QuantizeStatic
    from accel.model import Facts, Model
    from accel.samples import Samples

_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile", "distribution": "Distribution"}
_HEAVY = ("Conv", "MatMul", "Gemm")


def quantize(asked: QuantizeStatic, model: Model, samples: Samples) -> Model:
    """A QDQ model made from the ONNX form; raises VariantError if the tool fails or finds nothing to do."""
    wanted = asked.operators or _operators(model.facts, asked.method)
    calibration = Calibration(model, samples, asked.count)
    folder = model.scratch()
    proto = load_prepared(Path(model.as_form("onnx")))
    before, large = heavy_operators(proto), is_large(proto)
    source = _preprocess(save(proto, folder / "float.onnx"), large)
    path = folder / "model.onnx"
    try:
        _run(asked, source, path, wanted, calibration, large)
    except Exception as error:
        raise VariantError(
            f"ONNX Runtime's static quantizer failed: {type(error).__name__}: {str(error)[:200]}.",
            "Use the backend `openvino` (its quantizer is NNCF), or `quantize_dynamic`.",
        ) from error
    done = quantized_operators(path)
    require(done, wanted)
    for left in folder.glob("float*"):
        left.unlink()
    note = f"quantize_static: {listed(done)} of {listed(before)} in 8 bits, {calibration.items} calibration samples"
    return model.derive("onnx", path, notes=(note,), facts=quantized_facts(model))


def _operators(facts: Facts, method: str) -> tuple[str, ...]:
    """What pays off for a kind of model.

    Residual additions of a convolutional network in 8 bits save the way back to float (a sixth on a small ResNet);
    with attention, the huge range of a mask's addition would set the scale. ReLU is then left to the clipping of its
    range, which is right only where the range is known to begin at zero, so with plain minima and maxima.
    """
    if facts.kind == "transformer":
        return ("MatMul", "Gemm")
    attention = facts.operators.get("LayerNormalization", 0) or facts.operators.get("Softmax", 0) > 1
    if facts.kind == "convolutional" and method == "minmax" and not attention:
        return (*_HEAVY, "Add", "Relu")
    return _HEAVY


def _preprocess(source: Path, large: bool) -> Path:
    """Fold and fuse before quantizing; the full symbolic shape inference fails on exported transformers."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    target = source.with_name("float-prepared.onnx")
    try:
        quant_pre_process(source, target, skip_symbolic_shape=True, save_as_external_data=large)
    except Exception:
        # Only an optimisation: the quantizer takes the graph as it is, too.
        return source
    return target


def _run(
    asked: QuantizeStatic, source: Path, path: Path, wanted: tuple[str, ...], calibration: Calibration, large: bool
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    # Ranges are merged batch by batch; all at once would hold every activation of every sample in memory.
    options: dict[str, Any] = {"CalibStridedMinMax": 1}
    if asked.method == "percentile":
        options["CalibPercentile"] = asked.percentile
    quantize_static(
        source,
        path,
        _reader(calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(wanted),
        per_channel=asked.per_channel,
        # Without VNNI the 8-bit products are added in 16 bits and overflow; 7-bit weights don't.
        reduce_range=not has_vnni(),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, _METHODS[asked.method]),
        use_external_data_format=large,
        extra_options=options,
    )


def _reader(calibration: Calibration) -> Any:
    """The calibration batches in the shape the tool asks for (its base class can only be had by importing it)."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.set_range(0, len(calibration))

        def __len__(self) -> int:
            return len(calibration)

        def set_range(self, start_index: int, end_index: int) -> None:
            self._next = iter(range(start_index, end_index))

        def get_next(self) -> Arrays | None:
            index = next(self._next, None)
            return None if index is None else calibration[index]

    return Reader()
