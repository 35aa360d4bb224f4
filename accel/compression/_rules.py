"""Combinations that are never right, each with its reason; what several techniques refuse alike."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

from accel.compilation import Refusal
from accel.errors import VariantError, nearest

if TYPE_CHECKING:
    from accel.model import Facts


def already_quantized(facts: Facts) -> Refusal | None:
    """Quantizing twice runs through without a word and gives worse numbers for nothing."""
    if facts.quantized:
        return Refusal("The model is quantized already.", "Start from the float32 model.")
    return None


def trees(facts: Facts) -> Refusal | None:
    """Trees compare numbers with thresholds; no weight multiplies anything that could be in fewer bits."""
    if facts.kind == "trees":
        return Refusal(
            "An ensemble of trees compares numbers with thresholds and multiplies nothing, so there is nothing to "
            "quantize or prune.",
            "Leave the compression out; fewer or shallower trees, fitted anew, are smaller and faster.",
        )
    return None


def form_for(target: str) -> str:
    """The form in which a backend's own quantizers take a model and leave it; the ONNX graph where it has none."""
    return {"openvino": "openvino", "inductor": "torch"}.get(tools_for(target), "onnx")


def tools_for(target: str) -> str:
    """The backend whose quantizers serve `target`; compiled ahead of time or while opening, the module is the same."""
    return {"aot_inductor": "inductor"}.get(target, target)


def missing(package: str, what: str, install: str) -> Refusal | None:
    """A refusal that names the package a toolchain needs, if it isn't installed."""
    if find_spec(package) is None:
        return Refusal(f"{what} needs the package `{package}`, which is not installed.", f"Install it with: {install}")
    return None


def foreign(asked: msgspec.Struct, own: set[str], whose: str) -> Refusal | None:
    """A refusal of the first field that was changed from its default, though the tool `whose` has no such thing."""
    fields = msgspec.structs.fields(type(asked))
    changed = (f.name for f in fields if getattr(asked, f.name) != f.default)
    name = next((n for n in changed if n not in own), None)
    if name is None:
        return None
    return Refusal(f"`{name}` means nothing to {whose}.", f"Leave `{name}` out.")


def check_names(asked: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise VariantError for a name to exclude that the graph doesn't have, rather than quantize it in silence."""
    have = sorted(known)
    for name in asked:
        if name not in have:
            raise VariantError(f"`exclude` names `{name}`, but {what} has no such node.", nearest(name, have))
