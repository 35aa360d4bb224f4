"""Counts of a torch module that can't be exported: from the types of its parts and one counted run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from accel.model.facts import Counts


def count_torch(form: Any, example: Mapping[str, npt.NDArray[Any]] | None) -> Counts:
    """Count layers; multiply-accumulates are half of what torch's own counter of floating-point operations says."""
    import torch

    layers = [m for m in form.module.modules() if not list(m.children())]
    convs = [m for m in layers if isinstance(m, torch.nn.modules.conv._ConvNd)]
    wide = [m for m in convs if any(k > 1 for k in m.kernel_size)]
    tensors = list(form.module.parameters())
    counts = Counts(
        operators=dict(Counter(type(m).__name__ for m in layers)),
        parameters=sum(p.numel() for p in tensors),
        weight_bytes=sum(p.numel() * p.element_size() for p in tensors),
        convs=len(convs),
        wide_convs=len(wide),
        depthwise=sum(m.groups > 1 and m.groups == m.in_channels for m in wide),
        matmuls=sum(isinstance(m, torch.nn.Linear) for m in layers),
        attention=any("attention" in type(m).__name__.lower() for m in form.module.modules()),
        quantized=any("quantized" in type(m).__module__ for m in layers),
    )
    counts.conv_macs, counts.matmul_macs = (None, None) if example is None else _macs(form, example)
    return counts


def _macs(form: Any, example: Mapping[str, npt.NDArray[Any]]) -> tuple[int | None, int | None]:
    from torch.utils.flop_counter import FlopCounterMode

    items = len(next(iter(example.values())))
    try:
        with FlopCounterMode(display=False) as counter:
            form(example)
    except Exception:  # the module's own code may dislike being watched; then MACs stay unknown
        return None, None
    by_operator = counter.get_flop_counts().get("Global", {})
    conv = sum(n for op, n in by_operator.items() if "conv" in str(op))
    return conv // 2 // items, (sum(by_operator.values()) - conv) // 2 // items
