"""What accel tries by itself: the orders in `defaults/*.toml` (data), less what doesn't suit this model and machine."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from accel import plugins
from accel.measurement.machine import Machine
from accel.model.types import Facts
from accel.plugins import Named
from accel.recipe import Variant

FOLDER = Path(__file__).with_name("defaults")
NEEDS = ("vnni", "bf16", "samples", "gpu")
"""What an entry may need: 8-bit dot products, bfloat16 arithmetic, samples that are real, an NVIDIA GPU."""
GPU = "gpu"
"""The order of what runs on a GPU, for every kind of model."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a default order: a variant, and what the machine or the study must have for it.

    kinds: the kinds of model it is for; empty means all.
    """

    variant: Variant
    needs: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


@cache
def entries(kind: str) -> tuple[Entry, ...]:
    """The order for one kind of model ("convolutional", "depthwise", "transformer", "other"), unfiltered."""
    tables = _toml(kind)["variant"]
    return tuple(
        Entry(variant=_variant(t), needs=tuple(t.get("needs", ())), kinds=tuple(t.get("kinds", ()))) for t in tables
    )


def default_variants(facts: Facts, machine: Machine, *, baseline_backend: str, synthetic: bool) -> list[Variant]:
    """The variants worth trying, quick wins first.

    Left out: what this processor would emulate, calibration on made-up inputs (ranges learned from noise say nothing),
    what starts from a form the model can't take, a second quantization, and the baseline itself.
    """
    has = {"vnni": machine.has_vnni, "bf16": machine.has_bf16, "samples": not synthetic, "gpu": bool(machine.gpus)}
    return [
        e.variant
        for e in (*entries(GPU), *entries(facts.kind))
        if all(has[need] for need in e.needs)
        and (not e.kinds or facts.kind in e.kinds)
        and _starts_from_a_form(e.variant, facts)
        and not (facts.quantized and _quantizes(e.variant))
        and (e.variant.compression or e.variant.backend != Named(baseline_backend))
    ]


def baseline(kind: str, forms: tuple[str, ...] = ()) -> Variant:
    """What everything is compared with, by the kind of source; named like its backend.

    forms: of the model's facts; they decide where the kind doesn't tell (a factory may give a path or a function).
    """
    return _of_source(kind, forms, "baseline")


def reference(kind: str, forms: tuple[str, ...] = ()) -> Variant:
    """What outputs are held against: float32, one thread, optimizations off where that can be set."""
    return msgspec.structs.replace(_of_source(kind, forms, "reference"), name="reference")


def backends() -> tuple[str, ...]:
    """The backends that some default order uses, in the order in which they are first named."""
    kinds = sorted(p.stem for p in FOLDER.glob("*.toml") if p.stem not in ("sources", "knobs", GPU))
    return tuple(dict.fromkeys(e.variant.backend.name for kind in kinds for e in entries(kind)))


def of_runtime(package: str) -> tuple[Variant, ...]:
    """Plain variants of every backend that runs on a package, so that a study can say what installing it would add."""
    found = (plugins.load("compilation", name).runtime == package for name in plugins.names("compilation"))
    return tuple(
        Variant(name=name, backend=Named(name))
        for name, fits in zip(plugins.names("compilation"), found, strict=True)
        if fits
    )


def _of_source(kind: str, forms: tuple[str, ...], role: str) -> Variant:
    table = _toml("sources")
    # Facts list forms with the one the model came in first, since the others are made from it.
    form = forms[0] if kind == "factory" and forms else table["kinds"][kind]
    backend = plugins.parse("compilation", table[form][role])
    return Variant(name=backend.name, backend=backend)


def _variant(table: dict[str, Any]) -> Variant:
    return Variant(
        name=table["name"],
        backend=plugins.parse("compilation", table["backend"]),
        compression=tuple(plugins.parse("compression", c) for c in table.get("compression", ())),
    )


def _starts_from_a_form(variant: Variant, facts: Facts) -> bool:
    target = variant.backend.name
    if variant.compression:
        wanted = plugins.make("compression", variant.compression[0]).reads(target)
    else:
        wanted = plugins.load("compilation", target).runs
    return bool(set(wanted) & set(facts.forms))


def _quantizes(variant: Variant) -> bool:
    return any(c.name.startswith("quantize") for c in variant.compression)


@cache
def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
