"""Remove whole channels, attention heads and neurons: the network gets narrower, so every runtime gets less to do.

Source: Fang et al. 2023, "DepGraph: Towards Any Structural Pruning" (arXiv 2301.12900), by the package torch-pruning.
It helps wherever arithmetic is what takes the time. It can't where calls do (tiny models), and accuracy is gone until
the rest was trained again: put `fine_tune` after it, else the variant is a speed probe and can't win.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from accel.compilation import Refusal
from accel.compression._rules import missing
from accel.compression._torch_edit import (
    Count,
    at_least_one,
    count,
    differs,
    editable,
    example_of,
    facts_after,
    refused,
    removed,
    share,
)
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.compression._torch_groups import Network
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model
    from accel.samples import Samples

_NAME = "prune_structured"


class PruneStructured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Removes the channels, heads and neurons whose weights are the smallest (L2 norm over all that hangs on them).

    ratio: the share of them that goes, before rounding.
    flops: the share of the multiply-accumulates that goes at least; the ratio is then searched for.
    round_to: channels are rounded to a multiple of it, since kernels compute 8 or 16 numbers at once; layers narrower
        than it stay as they are. Heads aren't rounded.
    scope: "local" takes the same share of every layer, "global" the least important of all layers together.

    What the outputs are made of keeps its width, and so does what a transformer's layers hand on to each other.
    """

    ratio: float = 0.5
    flops: float | None = None
    round_to: int = 16
    scope: Literal["local", "global"] = "local"

    needs_samples: ClassVar[bool] = False
    removes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        share("ratio", self.ratio, none_too=True)
        share("flops", self.flops, none_too=False)
        at_least_one("round_to", self.round_to)

    def reads(self, target: str) -> tuple[str, ...]:
        return ("torch",)

    def writes(self, target: str) -> str:
        return "torch"

    def fits(self, facts: Facts, machine: Machine, target: str) -> Refusal | None:
        install = 'pip install "accel-bench[torch]"'
        return refused(facts, target, _NAME) or missing("torch_pruning", "Removing whole channels", install)

    def apply(self, model: Model, samples: Samples | None, target: str) -> Model:
        """A narrower torch module; raises VariantError if it can't be followed or nothing would be removed."""
        example = example_of(model, _NAME)
        before = count(model.as_form("torch"), example)
        form, said = self._pruned(model, example)
        after = count(form, example)
        if after.parameters == before.parameters and (self.ratio > 0 or self.flops is not None):
            raise VariantError(
                f"Nothing can be removed with round_to = {self.round_to}: {said or 'every layer is too narrow'}.",
                "Use a smaller `round_to` or a larger `ratio`, or leave this technique out.",
            )
        note = self._note(before, after, said)
        return model.derive("torch", form, notes=(note,), facts=facts_after(model, before, after))

    def _pruned(self, model: Model, example: dict[str, Any]) -> tuple[Any, str]:
        """The pruned module and what was left alone; attention stays whole where its code can't lose heads."""
        reason = ""
        for heads in (True, False):
            form = editable(model, _NAME)
            network = _shrunk(self, form, example, heads=heads)
            reason = differs(form, model, example) or ""
            if not reason:
                _freeze_as(form.module, model.as_form("torch").module)
                return form, "; ".join(network.left)
        raise VariantError(
            f"The module fails once channels are removed: {reason}. Its code counts on widths that no layer tells.",
            "Prune the module yourself and give the result, or use `low_rank`.",
        )

    def _note(self, before: Count, after: Count, said: str) -> str:
        rounding = f", channels rounded to {self.round_to}" if self.round_to > 1 else ""
        return f"{_NAME}: {removed(before, after)}{rounding}{f'; {said}' if said else ''}"


def _shrunk(asked: PruneStructured, form: Any, example: dict[str, Any], *, heads: bool) -> Network:
    """Prune a form's module in place."""
    from accel.compression._torch_groups import traced
    from accel.compression._torch_heads import set_heads
    from accel.compression._torch_widths import for_macs, kept, layer_macs

    network = traced(form, example, heads=heads)
    if asked.flops is not None:
        macs = layer_macs(form, example)
        counts = for_macs(network.blocks, asked.flops, asked.scope, asked.round_to, macs)
    else:
        counts = kept(network.blocks, asked.ratio, asked.scope, asked.round_to)
    for block, left in zip(network.blocks, counts, strict=True):
        network.remove(block, left)
        if block.is_heads:
            set_heads(block.owner, block.units, left, block.width)
    return network


def _freeze_as(module: Any, original: Any) -> None:
    """Weights that were frozen are so again: tracing needs gradients, and pruned weights are new objects."""
    flags = {name: p.requires_grad for name, p in original.named_parameters()}
    for name, p in module.named_parameters():
        p.requires_grad_(flags.get(name, True) and p.is_floating_point())
