"""The cost of a torch module, from torch's own counter of floating-point operations and the sizes of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from accel.model.cost import Cost, LayerCost
from accel.model.costs import summed


def cost_torch(form: Any, example: Mapping[str, npt.NDArray[Any]]) -> Cost | None:
    """Count one run on `example`; None if the module dislikes being watched, or holds a layer that torch doesn't count.

    torch counts two operations a multiply-accumulate. Bytes: parameters as they are stored, and what leaf modules read
    and wrote; operators between modules aren't seen, so bytes are less than they are.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    leaves = [(n, m) for n, m in form.module.named_modules() if not list(m.children())]
    if any(isinstance(module, torch.nn.RNNBase) for _, module in leaves):
        return None
    moved: dict[str, int] = {}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the counter doesn't know the fused kernel of a whole layer
    hooks = [module.register_forward_hook(_watch(name, moved)) for name, module in leaves]
    try:
        with FlopCounterMode(display=False, depth=None) as counter:
            form(example)
    except Exception:  # the module's own code may fail in its own way; then the cost stays unknown
        return None
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
    counts = counter.get_flop_counts()
    layers, weighted = _layers(leaves, counts, moved)
    items = len(next(iter(example.values())))
    rest = sum(counts.get("Global", {}).values()) // 2 - sum(layer.macs for layer in layers)
    if rest > 0:  # products outside of leaf modules: attention, functional calls
        layers.append(LayerCost(name="between modules", type="matmul", macs=rest, weight_bytes=0, activation_bytes=0))
        weighted.append(False)
    return summed(layers, weighted, "torch", items)


def _layers(
    leaves: list[tuple[str, Any]], counts: Mapping[str, Mapping[Any, int]], moved: Mapping[str, int]
) -> tuple[list[LayerCost], list[bool]]:
    layers, weighted = [], []
    for name, module in leaves:
        # torch names a module by the class of the outermost one and the way to it: "Net.block.fc".
        own = next((c for key, c in counts.items() if key != "Global" and key.partition(".")[2] == name), {})
        size = sum(p.numel() * p.element_size() for p in module.parameters(recurse=False))
        read = min(size, moved.get(name, 0)) if type(module).__name__.startswith("Embedding") else size
        macs = sum(own.values()) // 2
        kind = type(module).__name__
        layers.append(
            LayerCost(name=name, type=kind, macs=macs, weight_bytes=read, activation_bytes=moved.get(name, 0))
        )
        weighted.append(size > 0)
    return layers, weighted


def _watch(name: str, moved: dict[str, int]) -> Any:
    """A hook that notes the bytes of what a module reads and writes, over all its calls."""

    def hook(_module: Any, given: Any, out: Any) -> None:
        moved[name] = moved.get(name, 0) + _bytes(given) + _bytes(out)

    return hook


def _bytes(value: Any) -> int:
    if isinstance(value, (tuple, list)):
        return sum(map(_bytes, value))
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return int(value.numel() * value.element_size()) if hasattr(value, "element_size") else 0
