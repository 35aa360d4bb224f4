"""Where the time goes, by class of layer: the section of the page, and the same as lines of text."""

from __future__ import annotations

import msgspec

from accel.analysis.conclusion import Conclusion
from accel.analysis.layers import by_class
from accel.analysis.wording import percent
from accel.compilation._profile import AROUND, FUSED, Layers
from accel.units import show_seconds

_WORDS = {
    "matmul": "matrix products",
    "convolution": "convolutions",
    "norm": "normalizations",
    "quantize": "quantizing, dequantizing",
    "layout": "layout and type",
    "embedding": "gathering",
    "pool": "pooling",
    "reduce": "reductions",
    "elementwise": "one by one",
    FUSED: "kernels a compiler made",
    AROUND: "between operators",
}
_LARGEST = 3


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One class of layers: its share in each variant, "" where it doesn't occur, and the types it is made of."""

    word: str
    shares: tuple[str, ...]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """names: the variants, in the order of the columns. notes: what was run, by variant."""

    names: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def section(conclusion: Conclusion) -> Section | None:
    """The original first, then the others by name; None for a study that profiled nothing."""
    found = sorted(conclusion.layers, key=lambda one: (one.variant != conclusion.record.baseline, one.variant))
    if not found:
        return None
    shares = [by_class(one) for one in found]
    total = {name: sum(each.get(name, 0.0) for each in shares) for each in shares for name in each}
    order = sorted(total, key=lambda name: (-total[name], name))
    return Section(
        names=tuple(one.variant for one in found),
        lines=tuple(
            Line(word=word(name), shares=tuple(share_of(each[name]) if name in each else "" for each in shares))
            for name in order
        ),
        notes=tuple(f"{one.variant}: {_made(one)}; most in {_largest(one)}" for one in found),
    )


def told(layers: Layers) -> list[str]:
    """The same as lines of text, for a terminal."""
    shares = ", ".join(f"{word(name)} {share_of(share)}" for name, share in by_class(layers).items())
    return [f"where its time goes: {shares}", f"most in: {_largest(layers)}", f"seen in: {_made(layers)}"]


def word(name: str) -> str:
    """A class of layers in words."""
    return _WORDS.get(name, name)


def share_of(value: float) -> str:
    """A share, to a per cent or, where it is small, to a tenth of one.

    >>> share_of(0.354), share_of(0.0042), share_of(0.00001)
    ('35 %', '0.4 %', '< 0.1 %')
    """
    return "< 0.1 %" if value < 0.001 else percent(value)


def _made(layers: Layers) -> str:
    items = "1 item" if layers.items == 1 else f"{layers.items} items"
    notes = "".join(f", {note}" for note in layers.notes)
    return f"{layers.runs} runs of {items}, {show_seconds(layers.seconds)} each with {layers.source} on{notes}"


def _largest(layers: Layers) -> str:
    most = layers.times[:_LARGEST]
    return ", ".join(
        f"{t.type}{f' in {t.precision}' if t.precision else ''} ({share_of(t.seconds_share)}, {t.calls:g} a run)"
        for t in most
    )
