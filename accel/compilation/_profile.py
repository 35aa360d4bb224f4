"""Where does a run's time go, by class of layer? What a runtime's own profiler said, as plain values.

Each runtime has a reader of its own (`_profile_onnx`, `_profile_openvino`, `_profile_torch`); reading what they left
needs no runtime. A profiler costs time itself, so these figures are shares and never enter a comparison.
"""

from __future__ import annotations

from typing import Literal

import msgspec

LayerClass = Literal[
    "convolution",
    "matrix product",
    "attention",
    "recurrent",
    "normalization",
    "activation",
    "arithmetic",
    "pooling",
    "gathering",
    "trees",
    "layout",
    "conversion",
    "fused",
    "other",
]
"""layout: moves numbers and changes none (transposes, reorders). conversion: changes their type (quantize, cast).
fused: a kernel of a compiler that joins operators of several classes."""


class LayerTime(msgspec.Struct, frozen=True, kw_only=True):
    """What the operators of one type took together.

    type: the runtime's own word for it ("Conv", "FullyConnected", "aten::addmm"). precision: what it computed in, by
    the runtime's word; "" where it doesn't say. seconds_share: of the time that all operators took, 0 to 1.
    calls: how often operators of this type ran in one run of the model.
    """

    layer_class: LayerClass
    type: str
    precision: str = ""
    seconds_share: float
    calls: float


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """One variant under its runtime's profiler; the shares of `times` add up to 1, the largest first.

    items: how many samples one run held. runs: how many runs were profiled, those before them not counted.
    seconds: what all operators of one run took with the profiler on (mean). source: which profiler, in words.
    """

    variant: str
    times: tuple[LayerTime, ...]
    items: int
    runs: int
    seconds: float
    source: str
    notes: tuple[str, ...] = ()

    def share(self, *classes: LayerClass) -> float:
        """The share of the time that layers of these classes took."""
        return sum(t.seconds_share for t in self.times if t.layer_class in classes)
