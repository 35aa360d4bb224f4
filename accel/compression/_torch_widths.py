"""How many channels, heads and neurons stay: by a share of them, or by a share of the multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from accel.compression._torch_edit import is_layer
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.compression._torch_groups import Block

Scope = Literal["local", "global"]
_LARGEST_RATIO = 0.99
_STEPS = 40


def kept(blocks: Sequence[Block], ratio: float, scope: Scope, round_to: int) -> list[int]:
    """Units that stay in each block when a share `ratio` of them goes.

    local: the same share of every block. global: the least important of all blocks together, so that layers that
    matter keep more. Channels are rounded to a multiple of round_to, at least one; ties keep more. A block that is
    narrower than that stays whole. At least one head stays.
    """
    if scope == "local":
        wanted = [block.units * (1 - ratio) for block in blocks]
    else:
        cut = _threshold(blocks, ratio)
        wanted = [float(np.count_nonzero(block.scores > cut)) for block in blocks]
    return [_rounded(block, count, round_to) for block, count in zip(blocks, wanted, strict=True)]


def _threshold(blocks: Sequence[Block], ratio: float) -> float:
    """The score below or at which a share `ratio` of all channels lies; a head counts as many as it has."""
    pooled = [np.repeat(b.scores, b.width * b.copies) for b in blocks]
    scores = np.sort(np.concatenate(pooled)) if pooled else np.zeros(0)
    last = round(ratio * len(scores)) - 1
    return float(scores[last]) if last >= 0 else -math.inf


def _rounded(block: Block, wanted: float, round_to: int) -> int:
    step = 1 if block.is_heads else round_to // math.gcd(round_to, block.copies)
    if block.units < step or wanted >= block.units:
        return block.units
    # Exactly halfway keeps more: floor(x + 1/2), with the last bits of a product forgiven.
    nearest = step * math.floor(wanted / step + 0.5 + 1e-9)
    return min(block.units, max(step, nearest))


def layer_macs(form: Any, example: dict[str, Any]) -> dict[Any, int]:
    """Multiply-accumulates of each layer in one run of the example."""
    counted: dict[Any, int] = {}

    def note(layer: Any, given: tuple[Any, ...], made: Any) -> None:
        # A transposed convolution multiplies its weights once an input position, all others once an output position.
        there, channels = (
            (given[0], layer.weight.shape[0])
            if getattr(layer, "transposed", False)
            else (
                made,
                getattr(layer, "out_channels", 0) or layer.out_features,
            )
        )
        counted[layer] = counted.get(layer, 0) + there.numel() // channels * layer.weight.numel()

    hooks = [m.register_forward_hook(note) for m in form.module.modules() if is_layer(m)]
    try:
        form(example)
    finally:
        for hook in hooks:
            hook.remove()
    return counted


def estimate(blocks: Sequence[Block], counts: Sequence[int], macs: dict[Any, int]) -> float:
    """The share of the layers' multiply-accumulates that goes when each block keeps `counts` units."""
    outs: dict[Any, float] = {}
    ins: dict[Any, float] = {}
    for block, count in zip(blocks, counts, strict=True):
        for layer, side, each in block.parts:
            gone = (block.units - count) * each
            into = outs if side == "out" else ins
            into[layer] = into.get(layer, 0.0) + gone
    total = sum(macs.values())
    left = sum(n * _share(m, outs.get(m, 0.0), 0) * _share(m, ins.get(m, 0.0), 1) for m, n in macs.items())
    return 1 - left / total if total else 0.0


def _share(layer: Any, gone: float, axis: int) -> float:
    sizes = (
        (layer.out_features, layer.in_features)
        if hasattr(layer, "out_features")
        else (layer.out_channels, layer.in_channels)
    )
    return 1 - gone / float(sizes[axis])


def for_macs(blocks: Sequence[Block], wanted: float, scope: Scope, round_to: int, macs: dict[Any, int]) -> list[int]:
    """The widths that remove at least a share `wanted` of the multiply-accumulates, as few units as possible.

    Found by halving: more units never cost less. Raises VariantError if even the most that may go isn't enough.
    """
    low, high = 0.0, _LARGEST_RATIO

    def reached(ratio: float) -> float:
        return estimate(blocks, kept(blocks, ratio, scope, round_to), macs)

    most = reached(high)
    if most < wanted:
        raise VariantError(
            f"At most {int(100 * most)} % of the multiply-accumulates can be removed with round_to = {round_to}, but "
            f"flops = {wanted:g} asks for {100 * wanted:g} %.",
            "Ask for less, or use a smaller `round_to`.",
        )
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) >= wanted else (middle, high)
    return kept(blocks, high, scope, round_to)
