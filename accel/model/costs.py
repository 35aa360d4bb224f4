"""The cost of a loaded model, from the form that tells most; and how single operators are summed to a Cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import AccelError
from accel.model.cost import LARGEST, ClassCost, Cost, LayerCost
from accel.model.layer_class import layer_class

if TYPE_CHECKING:
    from accel.model.load import Model
    from accel.samples.store import Samples

Example = Mapping[str, npt.NDArray[Any]]


def cost_of(model: Model, example: Example | None = None, *, convert: bool = True) -> Cost | None:
    """What one call costs; None where nothing can be counted: a function, a graph whose shapes stay unknown.

    example: inputs whose lengths stand in for axes without a fixed size; None takes the model's own. convert: whether
    the ONNX form may be made for it. Never raises for a model that can't be counted: that must not cost a study.
    """
    example = model.example if example is None else example
    for form in ("onnx", "openvino", "torch"):
        if form in model.forms or (convert and form == "onnx" and model.has_path_to(form)):
            try:
                found = _COUNTERS[form](model, example)
            except (AccelError, OSError, RuntimeError, ValueError, KeyError, IndexError, TypeError):
                continue
            if found is not None:
                return found
    return None


def typical(samples: Samples) -> Example:
    """One sample; where lengths vary, the one of median length, since half of all requests are no longer."""
    ids = samples.evaluation if len(samples.evaluation) else samples.calibration
    if not samples.lengths:
        return samples.row(int(ids[0]))
    total = np.sum([length[ids] for length in samples.lengths.values()], axis=0)
    return samples.row(int(ids[np.argsort(total, kind="stable")[(len(ids) - 1) // 2]]))


def _onnx(model: Model, example: Example | None) -> Cost | None:
    from accel.model.cost_onnx import cost_onnx

    return cost_onnx(model.as_form("onnx"), model.signature, example)


def _openvino(model: Model, example: Example | None) -> Cost | None:
    from accel.model.cost_openvino import cost_openvino

    return cost_openvino(model.as_form("openvino"), example)


def _torch(model: Model, example: Example | None) -> Cost | None:
    from accel.model.cost_torch import cost_torch

    return None if example is None else cost_torch(model.as_form("torch"), example)


_FUSED = {"elementwise", "quantize"}
_COUNTERS = {"onnx": _onnx, "openvino": _openvino, "torch": _torch}


def summed(
    layers: Sequence[LayerCost], weighted: Sequence[bool], source: str, items: int, *, bits: tuple[int, int] = (32, 32)
) -> Cost:
    """A Cost from operators counted for `items` items. weighted: which of them multiply by constants. bits: of weights
    and activations."""
    each = [_per_item(layer, items) for layer in layers]
    return Cost(
        macs=sum(layer.macs for layer in each),
        weight_bytes=sum(layer.weight_bytes for layer in each),
        activation_bytes=sum(layer.activation_bytes for layer in each),
        classes=_classes(each, weighted),
        layers=tuple(sorted(each, key=lambda c: (-c.macs, -c.weight_bytes - c.activation_bytes, c.name))[:LARGEST]),
        source=source,
        steps=_steps(each),
        weight_bits=bits[0],
        activation_bits=bits[1],
    )


def _per_item(layer: LayerCost, items: int) -> LayerCost:
    return msgspec.structs.replace(
        layer, macs=round(layer.macs / items), activation_bytes=round(layer.activation_bytes / items)
    )


def _classes(layers: Sequence[LayerCost], weighted: Sequence[bool]) -> tuple[ClassCost, ...]:
    groups: dict[str, list[tuple[LayerCost, bool]]] = {}
    for layer, constant in zip(layers, weighted, strict=True):
        groups.setdefault(layer_class(layer.type), []).append((layer, constant))
    found = [_class(name, group) for name, group in groups.items()]
    return tuple(sorted(found, key=lambda c: (-c.macs, -c.weight_bytes - c.activation_bytes, c.layer_class)))


def _class(name: str, group: Sequence[tuple[LayerCost, bool]]) -> ClassCost:
    return ClassCost(
        layer_class=name,
        layers=len(group),
        macs=sum(layer.macs for layer, _ in group),
        weight_bytes=sum(layer.weight_bytes for layer, _ in group),
        activation_bytes=sum(layer.activation_bytes for layer, _ in group),
        weighted=sum(constant for layer, constant in group if layer.macs),
        weighted_macs=sum(layer.macs for layer, constant in group if constant),
    )


def _steps(layers: Iterable[LayerCost]) -> tuple[tuple[int, int], ...]:
    found: dict[int, int] = {}
    for size in (layer.activation_bytes for layer in layers if layer_class(layer.type) not in _FUSED):
        if size:
            step = 1 << (size - 1).bit_length()
            found[step] = found.get(step, 0) + size
    return tuple(sorted(found.items()))
