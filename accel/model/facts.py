"""What kind of network is it? Counted from the graph, so that hopeless variants aren't tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel.model.types import Facts

if TYPE_CHECKING:
    from accel.model.load import Model


def facts_of(model: Model) -> Facts:
    """The facts of a loaded model."""
    return Facts(
        kind="other",
        parameters=None,
        weight_bytes=None,
        operators={},
        macs_per_item=None,
        depthwise_share=0.0,
        quantized=False,
        forms=model.forms,
    )
