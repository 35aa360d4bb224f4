"""Weights in 8 or 4 bits with ONNX Runtime's and NNCF's own tools, and how many bytes that saves."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from accel.compression._calibration import Calibration
from accel.compression._graph import load_prepared, name_nodes, quantized_facts, save
from accel.compression._processor import last_level_cache
from accel.compression._rules import check_names
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.compression.quantize_weights import QuantizeWeights
    from accel.model import Model
    from accel.samples import Samples


class Saved(msgspec.Struct, frozen=True):
    """How many weights were quantized, and their bytes before (as float32) and after, scales included."""

    layers: int
    before: int
    after: int

    def said(self, what: str, whole: int | None) -> str:
        """A sentence for the notes. whole: bytes of all weights of the model in float32, None if unknown."""
        text = (
            f"quantize_weights: {self.layers} weights {what}, {megabytes(self.before)} became "
            f"{megabytes(self.after)} ({100 * self.after / self.before:.1f} %)"
        )
        cache = last_level_cache()
        if whole and cache and whole <= cache:
            text += (
                f"; size only: all {megabytes(whole)} of weights fit into the last-level cache "
                f"({megabytes(cache)}), so reading fewer of them saves hardly any time"
            )
        return text


def megabytes(n: int) -> str:
    """
    >>> megabytes(2_500_000), megabytes(12_345)
    ('2.5 MB', '12.3 kB')
    """
    return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{n / 1e3:.1f} kB"


def with_onnxruntime(asked: QuantizeWeights, model: Model) -> Model:
    """Constant matrices of MatMul and Gemm become MatMulNBits; raises VariantError if there are none."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    from onnxruntime.quantization.onnx_model import ONNXModel

    # It tells of every node it looks at.
    logging.getLogger(MatMulNBitsQuantizer.__module__).setLevel(logging.WARNING)
    proto = load_prepared(Path(model.as_form("onnx")))
    name_nodes(proto)
    check_names(asked.exclude, (n.name for n in proto.graph.node), "the graph")
    exclude = {*asked.exclude, *(f"{name}_MatMul" for name in asked.exclude)}
    try:
        # The tool knows MatMul only.
        ONNXModel(proto).replace_gemm_with_matmul()
        name_nodes(proto)
        tool = MatMulNBitsQuantizer(
            proto,
            bits=asked.bits,
            block_size=asked.block,
            is_symmetric=asked.symmetric,
            accuracy_level=asked.accuracy_level,
            nodes_to_exclude=sorted(exclude),
        )
        tool.process()
    except Exception as error:
        raise VariantError(
            f"ONNX Runtime can't quantize these weights: {type(error).__name__}: {str(error)[:200]}.",
            "Use the backend `openvino`, or `quantize_dynamic`.",
        ) from error
    changed = tool.model.model
    saved = in_blocks(changed)
    _require(saved)
    path = save(changed, model.scratch() / "model.onnx")
    zero = "symmetric" if asked.symmetric else "with zero points"
    level = " (multiplied in 8 bits)" if asked.accuracy_level == 4 else ""
    what = f"in {asked.bits} bits, {zero}, blocks of {asked.block}{level}"
    return model.derive("onnx", path, notes=(saved.said(what, model.facts.weight_bytes),), facts=quantized_facts(model))


def in_blocks(proto: Any) -> Saved:
    """What the MatMulNBits nodes of a graph hold: N x K weights, their scales and zero points."""
    sizes = {w.name: _bytes(w) for w in proto.graph.initializer}
    layers = [n for n in proto.graph.node if n.op_type == "MatMulNBits"]
    shapes = [{a.name: a.i for a in n.attribute} for n in layers]
    after = sum(sizes[name] for name in {name for n in layers for name in n.input[1:] if name in sizes})
    return Saved(len(layers), sum(4 * s["N"] * s["K"] for s in shapes), after)


def _bytes(weight: Any) -> int:
    from onnx import helper

    width = helper.tensor_dtype_to_np_dtype(weight.data_type).itemsize
    return len(weight.raw_data) or width * math.prod(weight.dims)


def with_nncf(asked: QuantizeWeights, model: Model, samples: Samples | None) -> Model:
    """An OpenVINO model whose weights are stored in few bits; raises VariantError if NNCF fails or finds none."""
    kind = f"INT{asked.bits}_{'SYM' if asked.symmetric else 'ASYM'}"
    options = _four_bits(asked, model, samples) if asked.bits == 4 else {}
    changed, saved = _compressed(model, kind, asked.exclude, options)
    # OpenVINO would turn activations into 8 bits while it runs; that is `quantize_dynamic`.
    changed.set_rt_info("0", ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
    how = f"groups of {asked.block}" if asked.bits == 4 else "one scale a channel"
    what = f"in {asked.bits} bits by NNCF, {how}"
    return _saved_ir(changed, model, saved.said(what, model.facts.weight_bytes))


def _compressed(
    model: Model, kind: str = "INT8_SYM", exclude: Sequence[str] = (), options: Mapping[str, Any] | None = None
) -> tuple[Any, Saved]:
    # Nobody agreed to telemetry; this is the switch NNCF has for it.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf
    import openvino as ov

    network = ov.Core().read_model(str(model.as_form("openvino")))
    check_names(exclude, (o.get_friendly_name() for o in network.get_ops()), "the OpenVINO model")
    scope = nncf.IgnoredScope(names=[*exclude]) if exclude else None
    mode = getattr(nncf.CompressWeightsMode, kind)
    try:
        changed = nncf.compress_weights(network, mode=mode, ignored_scope=scope, **(options or {}))
    except Exception as error:
        raise VariantError(
            f"NNCF can't compress these weights: {type(error).__name__}: {str(error)[:200]}.",
            "Use the backend `onnxruntime`, or another `block_size`.",
        ) from error
    saved = in_constants(changed)
    _require(saved)
    return changed, saved


def _saved_ir(network: Any, model: Model, note: str) -> Model:
    import openvino as ov

    path = model.scratch() / "model.xml"
    ov.save_model(network, str(path), compress_to_fp16=False)
    return model.derive("openvino", path, notes=(note,), facts=quantized_facts(model))


def _four_bits(asked: QuantizeWeights, model: Model, samples: Samples | None) -> dict[str, Any]:
    import nncf

    options: dict[str, Any] = {
        "group_size": asked.block,
        "ratio": asked.ratio,
        # A layer whose width isn't a multiple of the group gets smaller groups, or 8 bits.
        "advanced_parameters": nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
        ),
    }
    if asked.awq:
        options["awq"] = True
        if samples is not None and samples.count:
            calibration = Calibration(model, samples, asked.count)
            options["dataset"] = nncf.Dataset(list(range(len(calibration))), lambda i: calibration[i])
            options["subset_size"] = len(calibration)
    return options


def in_constants(network: Any) -> Saved:
    """What an OpenVINO model stores in 8 or 4 bits, with the scales and zero points that belong to it."""
    layers, before, after = 0, 0, 0
    for op in network.get_ops():
        if op.get_type_name() == "Constant" and op.get_element_type().get_type_name() in ("i8", "u8", "i4", "u4"):
            if not _is_weight(op):
                continue
            count = math.prod(op.get_output_shape(0))
            layers += 1
            before += 4 * count
            after += _stored(op) + _beside(op)
    return Saved(layers, before, after)


def _is_weight(constant: Any) -> bool:
    """A zero point is a constant of few bits too, but is subtracted from another."""
    converts = [i.get_node() for i in constant.output(0).get_target_inputs()]
    return not any(
        after.get_node().get_type_name() == "Subtract" and after.get_index() == 1
        for node in converts
        for after in node.output(0).get_target_inputs()
    )


def _beside(constant: Any) -> int:
    """Bytes of the scales and zero points on a weight's way to its layer."""
    total, node = 0, constant
    for _ in range(6):
        users = [i.get_node() for i in node.output(0).get_target_inputs()]
        if not users or users[0].get_type_name() not in ("Convert", "Subtract", "Multiply", "Reshape"):
            break
        node = users[0]
        if node.get_type_name() in ("Subtract", "Multiply"):
            total += _constant_bytes(node.input_value(1).get_node())
    return total


def _constant_bytes(node: Any) -> int:
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return 0
    return _stored(node)


def _stored(constant: Any) -> int:
    bits: int = constant.get_element_type().bitwidth * math.prod(constant.get_output_shape(0))
    return -(-bits // 8)


def _require(saved: Saved) -> None:
    if not saved.layers:
        raise VariantError(
            "Nothing was quantized: the graph has no matrix product with constant weights.",
            "Leave `quantize_weights` out.",
        )


def dynamic_with_openvino(model: Model, group_size: int) -> Model:
    """8-bit weights whose activations OpenVINO turns into 8 bits in groups while it runs; the file itself asks for it.

    Raises VariantError if there is nothing to quantize.
    """
    changed, saved = _compressed(model)
    changed.set_rt_info(str(group_size), ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
    note = f"quantize_dynamic: {saved.layers} weights in 8 bits, activations in 8 bits in groups of {group_size}"
    return _saved_ir(changed, model, note)
