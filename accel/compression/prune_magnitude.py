"""Set the smallest weights to zero: it buys size where the file is compressed, and no speed on any backend here.

Source: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks" (arXiv 1506.02626).
The kernels of torch, ONNX Runtime and OpenVINO multiply by the zeros like by any number, and an uncompressed file
stores them like any number (pytorch #36214, #43552); what gets faster is a network with fewer channels
(`prune_structured`). Without `fine_tune` after it the variant is a speed probe and can't win.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from accel.compilation import Refusal
from accel.compression._torch_edit import editable, is_layer, refused, share

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model
    from accel.samples import Samples

_NAME = "prune_magnitude"


class PruneMagnitude(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Zeroes the weights of linear layers and convolutions that are nearest to zero; biases and norms stay.

    It buys size (when the file is stored compressed), not speed.

    sparsity: the share of those weights that becomes zero.
    scope: "global" ranks all weights of the model together, "local" takes the same share of every layer.
    """

    sparsity: float = 0.5
    scope: Literal["global", "local"] = "global"

    needs_samples: ClassVar[bool] = False
    removes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        share("sparsity", self.sparsity, none_too=True)

    def reads(self, target: str) -> tuple[str, ...]:
        return ("torch",)

    def writes(self, target: str) -> str:
        return "torch"

    def fits(self, facts: Facts, machine: Machine, target: str) -> Refusal | None:
        return refused(facts, target, _NAME)

    def apply(self, model: Model, samples: Samples | None, target: str) -> Model:
        """The same module with zeros in it; raises VariantError if it has no layers to put them in."""
        form = editable(model, _NAME)
        weights = list(_weights(form.module))
        before = _compressed(weights)
        zero_smallest(weights, self.sparsity, self.scope)
        after = _compressed(weights)
        zeros, total = sum(int((w == 0).sum()) for w in weights), sum(w.numel() for w in weights)
        note = (
            f"{_NAME}: {100 * zeros / total:.0f} % of the weights are zero; that buys size where they are stored "
            f"compressed ({after / 1e6:.3g} MB instead of {before / 1e6:.3g} MB by zlib), and no speed: the kernels "
            "here multiply by zeros too"
        )
        return model.derive("torch", form, notes=(note,), facts=model.facts)


def _weights(module: Any) -> Iterator[Any]:
    """The weights of the layers, each tensor once, though two layers may share it."""
    seen: set[int] = set()
    for layer in module.modules():
        if is_layer(layer) and id(layer.weight) not in seen:
            seen.add(id(layer.weight))
            yield layer.weight.data


def zero_smallest(weights: list[Any], sparsity: float, scope: Literal["global", "local"]) -> None:
    """Zero in place the round(sparsity x count) smallest by magnitude, of all tensors together or of each.

    Of equal magnitudes the first go first, so that the count is exact.
    """
    import torch

    groups = [weights] if scope == "global" else [[w] for w in weights]
    for group in groups:
        flat = torch.cat([w.reshape(-1) for w in group])
        count = round(sparsity * flat.numel())
        if not count:
            continue
        size = flat.abs()
        limit = size.kthvalue(count).values
        below = size < limit
        equal = (size == limit).nonzero().view(-1)[: count - int(below.sum())]
        flat[below] = 0
        flat[equal] = 0
        for weight, part in zip(group, flat.split([w.numel() for w in group]), strict=True):
            weight.copy_(part.view_as(weight))


def _compressed(weights: list[Any]) -> int:
    """Bytes of the weights after zlib's quickest compression."""
    return sum(len(zlib.compress(w.detach().contiguous().cpu().numpy().tobytes(), 1)) for w in weights)
