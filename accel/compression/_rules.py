"""Combinations that are never right, each with its reason; what several techniques refuse alike."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from accel.compilation import Refusal

if TYPE_CHECKING:
    from accel.model import Facts


def already_quantized(facts: Facts) -> Refusal | None:
    """Quantizing twice runs through without a word and gives worse numbers for nothing."""
    if facts.quantized:
        return Refusal("The model is quantized already.", "Start from the float32 model.")
    return None


def missing(package: str, what: str, install: str) -> Refusal | None:
    """A refusal that names the package a toolchain needs, if it isn't installed."""
    if find_spec(package) is None:
        return Refusal(f"{what} needs the package `{package}`, which is not installed.", f"Install it with: {install}")
    return None
