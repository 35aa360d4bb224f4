"""What OpenVINO computes in 8 bits: read from the execution graph of the compiled model.

Each layer that runs tells its runtime precision and which operators of the file it was fused from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel.compilation._artefact import Artefact
from accel.compression._numerics import Asked, Operator, between, bytes_of, counted
from accel.result import Numerics

if TYPE_CHECKING:
    from accel.compilation import Arrays
    from accel.compilation.openvino import OpenVino

HEAVY = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
                   "MatMul", "LSTMSequence", "GRUSequence", "RNNSequence", "LSTMCell", "GRUCell"})  # fmt: skip
_LOW = frozenset({"i8", "u8", "i4", "u4"})
_SMALL = ("i8", "u8", "i4", "u4", "nf4")
_STEPS = frozenset({"Reorder", "Convert"})
_NUMPY = {"i8": "int8", "u8": "uint8", "i4": "int4", "u4": "uint4", "i32": "int32", "f32": "float32", "f16": "float16",
          "bf16": "bfloat16", "f64": "float64", "nf4": "nf4"}  # fmt: skip
_FUSIBLE = frozenset({"Add", "Multiply", "Subtract", "FakeQuantize", "Relu", "Gelu", "Clamp", "Convert", "Reshape"})
_PASSING = frozenset({"Convert", "Reshape", "Transpose", "Unsqueeze", "Squeeze"})
_SCALES = frozenset({"Constant", "Convert"})
_SCALED = "/DequantizationMultiply"
_SHOWN = 12


def numerics(backend: OpenVino, folder: Path, asked: Asked, example: Arrays | None) -> Numerics:
    """Read an artefact folder. example: inputs of one item, whose shapes give the bytes of activations."""
    import openvino as ov

    stored = Artefact.load(folder)
    core = ov.Core()
    network = core.read_model(str(folder / stored.file))
    compiled = core.compile_model(network, "CPU", backend.settings(stored.precision))
    ran = _Ran(compiled.get_runtime_model(), network)
    unfused = ran.unfused()
    rest = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    sixteen = rest in ("bf16", "bfloat16", "f16", "float16")
    return Numerics(
        operators=counted(ran.operators(asked), asked),
        unfused=unfused.total(),
        unfused_around=dict(unfused.most_common()),
        conversions=ran.conversions(),
        weight_bytes=weight_bytes(network),
        activation_bytes=ran.written(network, example),
        between=ran.floats_between(),
        islands=ran.islands() if asked.kind in ("static", "") else (),
        source="the execution graph of the compiled OpenVINO model",
        notes=(f"what doesn't run in 8 bits runs in {rest}",) if sixteen else (),
    )


def weight_bytes(network: Any) -> dict[str, int]:
    """Bytes of an OpenVINO model's constants by dtype; single numbers and indices aren't weights."""
    sizes = []
    for op in network.get_ops():
        if op.get_type_name() == "Constant":
            kind, count = op.get_element_type(), math.prod(op.get_output_shape(0))
            if count > 1 and kind.get_type_name() in _NUMPY and kind.get_type_name() != "i32":
                sizes.append((_NUMPY[kind.get_type_name()], -(-count * kind.bitwidth // 8)))
    return bytes_of(sizes)


class _Ran:
    """The layers that run, and the operators of the file they come from."""

    def __init__(self, runtime: Any, network: Any) -> None:
        self._layers = list(runtime.get_ordered_ops())
        self._told = [_told(layer) for layer in self._layers]
        self._file = {op.get_friendly_name(): op for op in network.get_ops()}
        self._at = {layer.get_friendly_name(): i for i, layer in enumerate(self._layers)}

        self._fixed = {i for i, layer in enumerate(self._layers) if _is_fixed(layer)}

    def _origins(self, i: int) -> list[Any]:
        names = self._told[i].get("originalLayersNames", "").split(",")
        plain = dict.fromkeys(n.removesuffix(_SCALED) for n in names)
        found = [self._file[n] for n in plain if n in self._file]
        if self._told_type_is_heavy(i) and not any(op.get_type_name() in HEAVY for op in found):
            # A dense layer keeps only the name of the bias's addition, which was fused into it.
            found += [op for one in found if (op := _heavy_before(one)) is not None]
        return found

    def operators(self, asked: Asked) -> Iterator[Operator]:
        """All operators of the file that multiply, each in the layer that runs it."""
        seen: set[str] = set()
        for i in sorted(range(len(self._layers)), key=self._told_type_is_heavy, reverse=True):
            for op in self._origins(i):
                if op.get_type_name() in HEAVY and op.get_friendly_name() not in seen:
                    seen.add(op.get_friendly_name())
                    yield self._operator(i, op, asked)

    def _operator(self, i: int, op: Any, asked: Asked) -> Operator:
        kind, is_low = op.get_type_name(), self._is_low(i)
        inputs = [_origin(op.input_value(k).get_node()) for k in (0, 1)]
        return Operator(
            type=kind,
            name=op.get_friendly_name(),
            low=is_low,
            unfused=not is_low and all(quantized for quantized, _ in inputs),
            depthwise=_is_depthwise(op),
            computed=kind == "MatMul" and not any(constant for _, constant in inputs),
            stored=not is_low and any(quantized and constant for quantized, constant in inputs),
            why=self._sixteen(i) if not asked.kind else "",
        )

    def _sixteen(self, i: int) -> str:
        """Where nothing was to be quantized, 16 bits are what was asked for."""
        precision = self._told[i].get("runtimePrecision", "")
        return f"runs in {precision}" if precision in ("bf16", "f16") else ""

    def _kind(self, i: int) -> str:
        return self._told[i].get("layerType", "")

    def _told_type_is_heavy(self, i: int) -> bool:
        return self._kind(i) in ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNSeq", "RNNCell")

    def _is_low(self, i: int) -> bool:
        return self._told[i].get("runtimePrecision", "") in _LOW

    def unfused(self) -> Counter[str]:
        """FakeQuantize steps that run by themselves and leave float numbers, by the type of the layer behind."""
        rounding = [i for i in self._alone() if not self._writes_low(i)]
        return Counter(self._kind(next(self._beyond_steps(i), i)) for i in rounding)

    def _alone(self) -> list[int]:
        return [i for i in range(len(self._layers)) if self._kind(i) == "FakeQuantize" and i not in self._fixed]

    def _writes_low(self, i: int) -> bool:
        return self._told[i].get("outputPrecisions", "").split(",")[0] in _LOW

    def conversions(self) -> int:
        """Layers that only change dtype or layout: those inserted, and those that quantize what an operator left."""
        steps = (i for i in range(len(self._layers)) if self._kind(i) in _STEPS and i not in self._fixed)
        return sum(not self._origins(i) for i in steps) + sum(self._writes_low(i) for i in self._alone())

    def written(self, network: Any, example: Arrays | None) -> dict[str, int] | None:
        """Bytes of the layers' outputs for one item; None where a shape isn't known."""
        shapes = _shapes(network, example)
        sizes = []
        for i, layer in enumerate(self._layers):
            if self._kind(i) in ("Input", "Output") or i in self._fixed:
                continue
            shape = _shape_of(layer, shapes)
            if shape is None:
                return None
            told = self._told[i].get("outputPrecisions", "").split(",")[0]
            width = {"i4": 4, "u4": 4}.get(told) or int("".join(c for c in told if c.isdigit()) or 0)
            sizes.append((_NUMPY.get(told, told), math.prod(shape) * width // 8))
        return bytes_of(sizes)

    def islands(self) -> tuple[str, ...]:
        """Float operators that multiply and stand between 8-bit ones, by type and name."""
        low = {str(i) for i in range(len(self._layers)) if self._is_low(i) and self._told_type_is_heavy(i)}
        onward = {str(i): self._after(layer) for i, layer in enumerate(self._layers)}
        floats = {n: [a for a in after if a not in low] for n, after in onward.items() if n not in low}
        starts = [a for n in low for a in onward[n] if a not in low]
        ends = [n for n, after in onward.items() if n not in low and any(a in low for a in after)]
        inside = sorted(int(n) for n in between(starts, ends, floats))
        found = [op for i in inside for op in self._origins(i) if op.get_type_name() in HEAVY]
        return tuple(f"{op.get_type_name()} {op.get_friendly_name()}" for op in found)[:_SHOWN]

    def floats_between(self) -> dict[str, int]:
        """Layers in float that read what an 8-bit layer that multiplies wrote, through inserted conversions."""
        low = [i for i in range(len(self._layers)) if self._is_low(i) and self._told_type_is_heavy(i)]
        readers = {r for i in low for r in self._beyond_steps(i) if not self._is_low(r)}
        kinds = Counter(self._kind(r) for r in readers)
        return {kind: n for kind, n in kinds.most_common() if kind not in ("Output", "FakeQuantize")}

    def _beyond_steps(self, i: int) -> Iterator[int]:
        for after in map(int, self._after(self._layers[i])):
            if self._kind(after) in _STEPS:
                yield from self._beyond_steps(after)
            else:
                yield after

    def _after(self, layer: Any) -> list[str]:
        targets = [t.get_node() for port in layer.outputs() for t in port.get_target_inputs()]
        return [str(self._at[t.get_friendly_name()]) for t in targets if t.get_friendly_name() in self._at]


def _told(layer: Any) -> dict[str, str]:
    info = layer.get_rt_info()
    words = ("layerType", "runtimePrecision", "originalLayersNames", "outputPrecisions")
    return {word: str(info[word].astype(str)) for word in words if word in info}


def _is_fixed(layer: Any) -> bool:
    """Made of constants alone, so it runs once, while compiling."""
    kind = _told(layer).get("layerType")
    before = [port.get_source_output().get_node() for port in layer.inputs()]
    return kind == "Const" or (kind != "Input" and bool(before) and all(_is_fixed(one) for one in before))


def _heavy_before(op: Any, depth: int = 4) -> Any:
    """The operator that multiplies, before a bias, a scale or an activation that was fused into it."""
    for port in op.inputs() if depth else ():
        before = port.get_source_output().get_node()
        found = before if before.get_type_name() in HEAVY else None
        if found is None and before.get_type_name() in _FUSIBLE:
            found = _heavy_before(before, depth - 1)
        if found is not None:
            return found
    return None


def _is_depthwise(op: Any) -> bool:
    """GroupConvolution whose groups hold one channel each: weights (groups, 1 out, 1 in, ...)."""
    if not op.get_type_name().startswith("GroupConvolution"):
        return False
    shape = op.input(1).get_partial_shape()
    return bool(len(shape) > 3 and shape[2].is_static and shape[2].get_length() == 1)


def _origin(node: Any, depth: int = 8) -> tuple[bool, bool]:
    """(whether an input was quantized, whether it is a constant), through steps that only pass it on."""
    name = node.get_type_name()
    if name == "Constant":
        return str(node.get_element_type().get_type_name()) in _SMALL, True
    if name == "FakeQuantize":
        return True, _origin(node.input_value(0).get_node(), depth - 1)[1]
    scaled = name in ("Multiply", "Subtract") and node.input_value(1).get_node().get_type_name() in _SCALES
    if depth == 0 or not (scaled or name in _PASSING):
        return False, False
    return _origin(node.input_value(0).get_node(), depth - 1)


def _shapes(network: Any, example: Arrays | None) -> dict[str, tuple[int, ...]]:
    """Output shape of each operator of the file for one item; {} where the model can't be given fixed shapes."""
    fixed = network.clone()
    if example is not None:
        wanted = {port: list(example[name].shape) for port in fixed.inputs if (name := port.get_any_name()) in example}
        try:
            fixed.reshape(wanted)
        except RuntimeError:
            return {}
    outputs = {op.get_friendly_name(): op.output(0).get_partial_shape() for op in fixed.get_ops() if op.outputs()}
    return {name: tuple(shape.to_shape()) for name, shape in outputs.items() if shape.is_static}


def _shape_of(layer: Any, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """Of the last operator that a layer was fused from; an inserted layer has the shape of what it reads."""
    own = layer.output(0).get_partial_shape() if layer.outputs() else None
    if own is not None and own.is_static:
        return tuple(own.to_shape())
    names = [layer.get_friendly_name(), *reversed(_told(layer).get("originalLayersNames", "").split(","))]
    known = next((shapes[n] for n in names if n in shapes), None)
    if known is None and layer.inputs():
        return _shape_of(layer.input_value(0).get_node(), shapes)
    return known
