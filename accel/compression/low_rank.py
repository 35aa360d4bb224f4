"""Split layers in two through a narrow middle: a matrix of low rank costs less as the product of two.

Source: truncated singular value decomposition (Eckart & Young 1936), of linear layers, and of convolutions taken as
matrices of (outputs, inputs x kernel) as in Zhang et al. 2015 (arXiv 1505.06798): k x k to the middle, then 1 x 1.
It helps where layers are wide and their weights nearly of low rank, as in trained transformers; random weights are the
worst case. It can't where the middle would have to be as wide as the layer: such layers stay whole. Without
`fine_tune` after it the variant is a speed probe and can't win.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from accel.compilation import Refusal
from accel.compression._torch_edit import (
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
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model
    from accel.samples import Samples

_NAME = "low_rank"


class LowRank(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Splits each linear layer and convolution where the two halves cost fewer multiply-accumulates than the whole.

    energy: the share of a layer's squared singular values that must stay; decides the width of the middle.
    rank: the width of the middle instead, the same for every layer.
    flops: the share of the multiply-accumulates that goes at least instead; the energy is then searched for.
    round_to: the middle is rounded up to a multiple of it, for the kernels.
    """

    energy: float = 0.9
    rank: int | None = None
    flops: float | None = None
    round_to: int = 8

    needs_samples: ClassVar[bool] = False
    removes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.energy <= 1:
            raise ValueError(f"`energy` must be above 0 and at most 1, but is {self.energy}")
        share("flops", self.flops, none_too=False)
        at_least_one("rank", self.rank)
        at_least_one("round_to", self.round_to)

    def reads(self, target: str) -> tuple[str, ...]:
        return ("torch",)

    def writes(self, target: str) -> str:
        return "torch"

    def fits(self, facts: Facts, machine: Machine, target: str) -> Refusal | None:
        if self.rank is not None and self.flops is not None:
            return Refusal("`rank` and `flops` both decide how wide the middle is.", "Give one of them.")
        return refused(facts, target, _NAME)

    def apply(self, model: Model, samples: Samples | None, target: str) -> Model:
        """A module with some layers split; raises VariantError if splitting none of them saves anything."""
        from accel.compression._torch_svd import decompose, ranks, split

        example = example_of(model, _NAME)
        form = editable(model, _NAME)
        layers = decompose(form, example)
        chosen = ranks(layers, energy=self.energy, rank=self.rank, flops=self.flops, round_to=self.round_to)
        for layer, middle in zip(layers, chosen, strict=True):
            if middle is not None:
                split(form.module, layer, middle)
        done = sum(middle is not None for middle in chosen)
        if not done:
            raise VariantError(
                f"No layer gets cheaper by splitting it{self._wanted()}: the weights aren't of low rank.",
                "Ask for less `energy`, or use `prune_structured`.",
            )
        if reason := differs(form, model, example):
            raise VariantError(f"The module fails once layers are split: {reason}.", "Use `prune_structured`.")
        before, after = count(model.as_form("torch"), example), count(form, example)
        note = f"{_NAME}: {done} of {len(layers)} layers split in two{self._wanted()}, {removed(before, after)}"
        return model.derive("torch", form, notes=(note,), facts=facts_after(model, before, after))

    def _wanted(self) -> str:
        if self.rank is not None:
            return f" at rank {self.rank}"
        return "" if self.flops is not None else f" with {100 * self.energy:g} % of the energy kept"
