"""What does one call of a model cost at least? Operations and bytes, counted from its graph; plain data.

Only what multiplies counts operations (convolutions, matrix products, attention, recurrent cells); layer norm, softmax
and elementwise operators count the bytes they read and write.
"""

from __future__ import annotations

import msgspec

LARGEST = 20
"""How many layers are kept by name; the others are in the sums of their class."""


class LayerCost(msgspec.Struct, frozen=True, kw_only=True):
    """One operator of the graph.

    macs: multiply-accumulates of one item. weight_bytes: constants it reads each call, whatever the batch.
    activation_bytes: what it reads and writes beside those, for one item.
    """

    name: str
    type: str
    macs: int
    weight_bytes: int
    activation_bytes: int


class ClassCost(msgspec.Struct, frozen=True, kw_only=True):
    """All operators of one class (see `accel.model.layer_class`), summed.

    weighted, weighted_macs: how many of them multiply by constants, and their share of `macs`; the others multiply two
    activations, as attention does.
    """

    layer_class: str
    layers: int
    macs: int
    weight_bytes: int
    activation_bytes: int
    weighted: int = 0
    weighted_macs: int = 0


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a model, per item; weights are read once a call.

    layers: the largest by macs, then by bytes. classes: every operator, by class. source: the form it was counted in.
    steps: (bytes of one operator's activations of one item, rounded up to a power of two; sum over such operators of
    their activation bytes): tells which of them fit into which cache. Elementwise operators and quantize steps aren't
    in it, since a runtime can do them while their neighbour's numbers are in registers.
    activation_bits, weight_bits: the commonest element size in this form. notes: what couldn't be counted, and why.
    """

    macs: int
    weight_bytes: int
    activation_bytes: int
    classes: tuple[ClassCost, ...]
    layers: tuple[LayerCost, ...]
    source: str
    steps: tuple[tuple[int, int], ...] = ()
    activation_bits: int = 32
    weight_bits: int = 32
    notes: tuple[str, ...] = ()

    def macs_of(self, batch: int) -> int:
        """Multiply-accumulates of one call with `batch` items."""
        return self.macs * batch

    def bytes_of(self, batch: int) -> int:
        """Bytes that one call with `batch` items has to move: weights once, the activations of `steps` once an item."""
        return self.weight_bytes + batch * sum(total for _, total in self.steps)
