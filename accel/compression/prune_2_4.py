"""Two of every four weights zero: the pattern that NVIDIA's sparse tensor cores skip, and nothing else does.

Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks" (arXiv 2104.08378). On a processor without such
units it buys nothing, and even with them only through kernels made for it; the backends here run on the CPU, so it is
refused for each of them. Without `fine_tune` after it the variant is a speed probe and can't win.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from accel.compilation import Refusal
from accel.compression._torch_edit import editable, refused
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model
    from accel.samples import Samples

_NAME = "prune_2_4"


class Prune24(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In every four neighbouring weights of a linear layer's row, the two smallest become zero.

    Convolutions are taken as rows too: one row an output channel, its inputs innermost as the kernels lay them out.
    Layers whose rows aren't a multiple of four long stay whole, and so do transposed convolutions.
    """

    needs_samples: ClassVar[bool] = False
    removes: ClassVar[bool] = True

    def reads(self, target: str) -> tuple[str, ...]:
        return ("torch",)

    def writes(self, target: str) -> str:
        return "torch"

    def fits(self, facts: Facts, machine: Machine, target: str) -> Refusal | None:
        if refusal := refused(facts, target, _NAME):
            return refusal
        return Refusal(
            f"2:4 sparsity buys nothing with `{target}`, which computes on the CPU: only the sparse tensor cores of "
            "NVIDIA's graphics processors (Ampere and later) skip the zeros.",
            "Use `prune_structured`, which makes layers smaller.",
        )

    def apply(self, model: Model, samples: Samples | None, target: str) -> Model:
        """The same module with the pattern in it; raises VariantError if no layer can take it."""
        form = editable(model, _NAME)
        done, left = pattern(form.module)
        if not done:
            raise VariantError(
                "No layer has rows of a multiple of four weights, so none can take the 2:4 pattern.",
                "Use `prune_magnitude` or `prune_structured`.",
            )
        whole = f", {left} left whole (rows not a multiple of four)" if left else ""
        note = f"{_NAME}: two of every four weights zero in {done} layers{whole}; on the CPU that buys no speed"
        return model.derive("torch", form, notes=(note,), facts=model.facts)


def pattern(module: Any) -> tuple[int, int]:
    """Put the pattern into a module in place; (layers done, layers left whole). Shared weights are taken once."""
    from accel.compression._torch_edit import is_layer

    done = left = 0
    seen: set[int] = set()
    for layer in module.modules():
        if not is_layer(layer) or id(layer.weight) in seen:
            continue
        seen.add(id(layer.weight))
        weight = layer.weight.data
        # (out, kernel..., in): the inputs of one position lie side by side.
        rows = weight.movedim(1, -1) if weight.ndim > 2 else weight
        if rows.shape[-1] % 4 or getattr(layer, "transposed", False):
            left += 1
            continue
        done += 1
        fours = rows.reshape(-1, 4).clone()
        fours.scatter_(1, fours.abs().argsort(dim=1, stable=True)[:, :2], 0.0)
        rows.copy_(fours.view(rows.shape))
    return done, left
