"""How many heads an attention module has, and telling it that it has fewer.

The dependency graph knows layers, not the numbers that a module's own code reshapes by; those are its attributes, and
after pruning they must be put right by hand (Torch-Pruning #101, #287, #340, #410).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_COUNTS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "nhead", "heads")
_SIZES = ("attention_head_size", "head_dim", "head_size", "dim_head")
_WIDTHS = ("all_head_size", "attn_dim", "inner_dim", "all_heads_dim")
"""Attributes that hold heads times head size; the width of what comes in (`embed_dim`) stays."""


def head_count(projections: Sequence[Any], model: Any) -> tuple[Any, int] | None:
    """The module that owns the projections, and its number of heads; None if it doesn't say, or they disagree.

    projections: the layers that make query, key and value; all of one width (grouped queries aren't), or one for all.
    """
    widths = {layer.out_features for layer in projections if hasattr(layer, "out_features")}
    owners = {id(o): o for layer in projections for o in (_owner(layer, model),)}
    if len(widths) != 1 or len(owners) != 1 or None in owners.values():
        return None
    owner, width = next(iter(owners.values())), widths.pop()
    width = width // 3 if len(projections) == 1 else width
    count = next((v for n in _COUNTS if isinstance(v := getattr(owner, n, None), int)), None)
    if count is None:
        size = next((v for n in _SIZES if isinstance(v := getattr(owner, n, None), int)), None)
        count = width // size if size and width % size == 0 else None
    return (owner, count) if count and width % count == 0 else None


def _owner(layer: Any, model: Any) -> Any:
    return next((m for m in model.modules() if any(child is layer for child in m.children())), None)


def set_heads(owner: Any, before: int, after: int, width: int) -> None:
    """Tell an attention module that it has `after` heads of `width` channels instead of `before`."""
    for name in _COUNTS:
        if getattr(owner, name, None) == before:
            setattr(owner, name, after)
    for name in _WIDTHS:
        if getattr(owner, name, None) == before * width:
            setattr(owner, name, after * width)
