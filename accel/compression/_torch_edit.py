"""What the techniques that change a torch module share: when they are refused, a copy to change, what became of it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from accel.compilation import Refusal
from accel.compression._rules import already_quantized, trees
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.model import Facts, Model

TARGETS = ("onnxruntime", "openvino", "eager", "inductor", "aot_inductor")
"""Backends that can run a torch module, directly or through the ONNX form made of it."""
FROM_MODULE = "Give the torch module itself: a factory `file.py:function` that returns it."


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a module, their bytes, and the multiply-accumulates of one item; macs is None where unknown."""

    parameters: int
    weight_bytes: int
    macs: int | None


def share(name: str, value: float | None, *, none_too: bool) -> None:
    """Raise ValueError unless a field is a share below 1: at least 0 (none_too), or above it."""
    if value is not None and not (0 <= value < 1 and (none_too or value > 0)):
        raise ValueError(f"`{name}` must be {'at least' if none_too else 'above'} 0 and below 1, but is {value}")


def at_least_one(name: str, value: int | None) -> None:
    """Raise ValueError unless a count is 1 or more."""
    if value is not None and value < 1:
        raise ValueError(f"`{name}` must be at least 1, but is {value}")


def refused(facts: Facts, target: str, name: str) -> Refusal | None:
    """Why `name` can't change this model for this backend, or None."""
    if refusal := trees(facts):
        return refusal
    if target not in TARGETS:
        return Refusal(
            f"`{name}` changes the layers of a torch module, and the backend `{target}` doesn't run what comes of it.",
            f"Use one of the backends {', '.join(f'`{t}`' for t in TARGETS)}.",
        )
    if "torch" not in facts.forms:
        came = facts.forms[0] if facts.forms else "a function"
        return Refusal(
            f"`{name}` changes the layers of a torch module, but the model came as {came}, which has none.", FROM_MODULE
        )
    return already_quantized(facts)


def editable(model: Model, name: str) -> Any:
    """A TorchForm of its own, whose module may be changed.

    Raises VariantError if the model is quantized already, has no layers of its own (an exported program) or can't be
    copied.
    """
    from accel.model.torch_form import TorchForm

    if model.facts.quantized:
        raise VariantError(f"`{name}` can't change a quantized model.", f"Put `{name}` before the quantization.")
    form = model.as_form("torch")
    if not any(is_layer(m) for m in form.module.modules()):
        raise VariantError(
            f"`{name}` found no linear layer and no convolution in the torch module: an exported program holds single "
            "operators instead of layers.",
            FROM_MODULE,
        )
    try:
        module = copy.deepcopy(form.module)
    except Exception as error:  # a module's own __deepcopy__ may raise anything
        raise VariantError(f"`{name}` can't copy the torch module: {said(error)}", FROM_MODULE) from error
    return TorchForm(module, form.inputs, form.outputs)


def is_layer(module: Any) -> bool:
    """True for what holds nearly all weights and arithmetic: a linear layer or a convolution."""
    import torch

    return isinstance(module, torch.nn.Linear | torch.nn.modules.conv._ConvNd)


def example_of(model: Model, name: str) -> dict[str, Any]:
    """Real inputs to trace and count with: two rows, or one batch of the fixed size. Raises VariantError without."""
    if model.example is None:
        raise VariantError(f"`{name}` must run the model to see how its layers hang together.", "Give samples.")
    return {name: np.asarray(value) for name, value in model.example.items()}


def count(form: Any, example: dict[str, Any] | None) -> Count:
    """Count a module's parameters (shared ones once) and the multiply-accumulates of one run of the example."""
    from accel.model.count_torch import count_torch

    found = count_torch(form, example)
    conv, matmul = found.conv_macs, found.matmul_macs
    return Count(
        parameters=found.parameters or 0,
        weight_bytes=found.weight_bytes or 0,
        macs=None if conv is None or matmul is None else conv + matmul,
    )


def removed(before: Count, after: Count) -> str:
    """`51 % of the multiply-accumulates and 55 % of the parameters removed`.

    >>> removed(Count(parameters=100, weight_bytes=400, macs=1000), Count(parameters=45, weight_bytes=180, macs=490))
    '51 % of the multiply-accumulates and 55 % of the parameters removed'
    """
    weights = f"{_percent(1 - after.parameters / max(before.parameters, 1))} of the parameters removed"
    if not before.macs or after.macs is None:
        return f"{weights}; the multiply-accumulates could not be counted"
    return f"{_percent(1 - after.macs / before.macs)} of the multiply-accumulates and {weights}"


def _percent(share: float) -> str:
    """Rounded towards nothing removed, so that no claim is larger than what was done."""
    return f"{int(100 * share + 1e-9)} %" if share >= 0.01 or share <= 0 else f"{100 * share:.1g} %"


def facts_after(model: Model, before: Count, after: Count) -> Facts:
    """The model's facts with what was counted anew.

    The operators are the same. Where the graph's multiply-accumulates were counted by other means than the module's
    (at another length, say), they shrink by the same share.
    """
    macs = model.facts.macs_per_item
    if macs is not None and before.macs and after.macs is not None:
        macs = round(macs * after.macs / before.macs)
    return msgspec.structs.replace(
        model.facts, parameters=after.parameters, weight_bytes=after.weight_bytes, macs_per_item=macs
    )


def differs(form: Any, model: Model, example: dict[str, Any]) -> str | None:
    """Why a changed module can't stand in for the model: it fails, or names, shapes or dtypes of its outputs changed.

    None if it can. Values aren't compared: they are meant to change.
    """
    expected = model.as_form("torch")(example)
    try:
        found = form(example)
    except Exception as error:  # whatever the module's own code raises on layers of another width
        return said(error)
    for name, value in expected.items():
        if name not in found:
            return f"the output `{name}` is gone"
        if found[name].shape != value.shape or found[name].dtype != value.dtype:
            return f"the output `{name}` changed from {tuple(value.shape)} to {tuple(found[name].shape)}"
        if value.is_floating_point() and value.isfinite().all() and not found[name].isfinite().all():
            return f"the output `{name}` isn't finite any more"
    return None


def said(error: BaseException) -> str:
    """Kind and first line of an error."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first[:200]}"
