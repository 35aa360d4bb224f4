"""Calling a live model in the user's own process: arrays in, whatever it returns as named arrays out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def arguments(arrays: Mapping[str, npt.NDArray[Any]], model: Any) -> dict[str, Any]:
    """Keyword arguments as the model takes them: tensors for a torch module, arrays for any other callable."""
    if not is_torch(model):
        return dict(arrays)
    import torch

    return {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}


def is_torch(model: Any) -> bool:
    """True for a torch module; imports torch only if the program already has."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def call(model: Any, given: Mapping[str, Any]) -> Any:
    """Call it without gradients."""
    if not is_torch(model):
        return model(**given)
    import torch

    with torch.inference_mode():
        return model(**given)


def leaves(value: Any) -> dict[str, npt.NDArray[Any]]:
    """The arrays and tensors in a nested value, named by their position."""
    if "torch" in sys.modules:
        from torch.utils import _pytree as pytree

        found = pytree.tree_leaves(value)
    else:
        found = list(value.values()) if isinstance(value, Mapping) else [value]
    arrays = [leaf.detach().cpu().numpy() if hasattr(leaf, "detach") else leaf for leaf in found]
    return {str(i): a for i, a in enumerate(arrays) if isinstance(a, np.ndarray)}
