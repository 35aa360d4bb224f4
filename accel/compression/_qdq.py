"""Static quantization with ONNX Runtime's own tool: QDQ, unsigned 8-bit activations, signed 8-bit weights.

U8 x S8 is the form its x86 kernels are fast for; the tool's own default (S8 x S8) gains nothing there. In three steps
that may be taken apart: the float graph, the ranges, the quantized file. Ranges are learned once for all operator
types; any number of quantized files that leave some in float can then be made from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accel.compilation._onnx import graphs
from accel.compression._calibration import Calibration
from accel.compression._graph import (
    flatten_biases,
    heavy_operators,
    is_large,
    kept_in_float,
    listed,
    load_prepared,
    name_nodes,
    quantized_facts,
    quantized_operators,
    require,
    save,
)
from accel.compression._processor import forms_here
from accel.compression._qdq_edges import REMOVED, read_in_float
from accel.compression._ranges import endless, learn, still, tool_method
from accel.compression._rules import check_names
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.compression.quantize_static import QuantizeStatic
    from accel.model import Facts, Model
    from accel.samples import Samples

_HEAVY = ("Conv", "MatMul", "Gemm")


def quantize(asked: QuantizeStatic, model: Model, samples: Samples) -> Model:
    """A QDQ model made from the ONNX form; raises VariantError if the tool fails or finds nothing to do."""
    calibration = Calibration(model, samples, asked.count, largest=_largest_batch(asked.method))
    source = prepared_float(model, asked)
    ranges = calibrated(source, asked, model, calibration)
    path = quantized(source, ranges, asked, model, model.scratch() / "model.onnx")
    done = quantized_operators(path)
    require(done, operators(model.facts, asked))
    before = heavy_operators(load_prepared(source))
    seen = calibration.seen(still(ranges))
    for left in source.parent.glob("*"):
        left.unlink()
    kept = kept_in_float(asked.keep, asked.exclude)
    note = (
        f"quantize_static: {listed(done)} of {listed(before)} in 8 bits{kept}, {calibration.items} calibration samples"
    )
    facts = quantized_facts(model)
    return model.derive("onnx", path, notes=(forms_here().said, note), facts=facts, calibrated=seen)


def prepared_float(model: Model, asked: QuantizeStatic) -> Path:
    """The float graph just before quantizing, folded and fused, each node with its own name; in a fresh folder."""
    import onnx

    folder = model.scratch()
    proto = load_prepared(Path(model.as_form("onnx")))
    plain = save(proto, folder / "float-plain.onnx")
    proto = onnx.load(_preprocessed(plain, large=is_large(proto)))
    for graph in graphs(proto.graph):
        flatten_biases(graph)  # again: a product and a sum may only now have become a Gemm
    name_nodes(proto)
    path = save(proto, folder / "float.onnx")
    for left in folder.glob("float-*"):
        left.unlink()
    return path


def calibrated(source: Path, asked: QuantizeStatic, model: Model, samples: Samples | Calibration) -> Path:
    """The ranges of every tensor that may be quantized, as a file beside `source` (of `prepared_float`).

    They don't depend on `keep` and `exclude`. Raises VariantError if there are too few samples or the tool fails.
    """
    if not isinstance(samples, Calibration):
        samples = Calibration(model, samples, asked.count, largest=_largest_batch(asked.method))
    try:
        return learn(
            source,
            operators(model.facts, asked, whole=True),
            samples,
            method=asked.method,
            percentile=asked.percentile,
            large=_lies_apart(source),
        )
    except Exception as error:
        raise _failed(error) from error


def quantized(source: Path, ranges: Path, asked: QuantizeStatic, model: Model, path: Path) -> Path:
    """Write the quantized form of `source` (of `prepared_float`) with `ranges` (of `calibrated`) to `path`.

    `asked.keep` and `asked.exclude` stay in float; all of them kept gives the float graph back. Raises VariantError.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    here = forms_here()
    types = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
    wanted = operators(model.facts, asked)
    nodes = load_prepared(source).graph.node
    check_names(asked.exclude, (n.name for n in nodes), "the prepared graph")
    endless_ones = endless(ranges)
    left = [*asked.exclude, *(n.name for n in nodes if endless_ones & {*n.input, *n.output})]
    if not wanted:
        return save(load_prepared(source), path)
    try:
        quantize_static(
            source,
            path,
            None,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(wanted),
            nodes_to_exclude=left,
            per_channel=asked.per_channel,
            reduce_range=here.reduce_range,
            activation_type=types[here.activations],
            weight_type=types[here.weights],
            calibrate_method=tool_method(asked.method),
            calibration_cache_path=ranges,
            use_external_data_format=_lies_apart(source),
        )
        if not set(wanted) & set(REMOVED):
            read_in_float(path, set(wanted), set(left))
    except Exception as error:
        raise _failed(error) from error
    return path


def operators(facts: Facts, asked: QuantizeStatic, *, whole: bool = False) -> tuple[str, ...]:
    """The operator types to quantize: those asked for or what pays off, less those kept in float (unless `whole`)."""
    wanted = asked.operators or _operators(facts, asked.method)
    return wanted if whole else tuple(name for name in wanted if name not in asked.keep)


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


def _largest_batch(method: str) -> int:
    """Histograms need every activation of a batch at once: then one item, so that memory is one item's activations."""
    return 8 if method == "minmax" else 1


def _lies_apart(source: Path) -> bool:
    return source.with_name(source.name + ".data").exists()


def _preprocessed(source: Path, *, large: bool) -> Path:
    """Fold and fuse before quantizing; the full symbolic shape inference fails on exported transformers."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    target = source.with_name("float-prepared.onnx")
    try:
        quant_pre_process(source, target, skip_symbolic_shape=True, save_as_external_data=large)
    except Exception:
        # Only an optimisation: the quantizer takes the graph as it is, too.
        return source
    return target


def _failed(error: Exception) -> VariantError:
    if isinstance(error, VariantError):
        return error
    return VariantError(
        f"ONNX Runtime's static quantizer failed: {type(error).__name__}: {str(error)[:200]}.",
        "Use the backend `openvino` (its quantizer is NNCF), or `quantize_dynamic`.",
    )
