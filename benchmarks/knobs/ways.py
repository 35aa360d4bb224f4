"""Which knobs are tried on which backend: data, and the variants that they mean."""

from __future__ import annotations

from typing import Any

import msgspec

from accel import plugins
from accel.errors import AccelError
from accel.plugins import Named
from accel.recipe import Variant, variant_name
from accel.study.instances import derived

MODELS = ("resnet50", "bert_base", "minilm", "ocr", "digits", "tabular")
"""Recipes, in the order of the page."""
BACKENDS = ("eager", "inductor", "aot_inductor", "onnxruntime", "openvino")
BASELINE, DEFAULT, PAIR = "baseline", "as it comes", "2 instances"
SIZES = {"tabular": 256}
"""Batch sizes where it isn't 8: a row of a table is small."""
CORES, HALF = "cores", "half"
"""Values that depend on the machine: every core the process may use, and half of them."""


class Knob(msgspec.Struct, frozen=True, kw_only=True):
    """A setting of a backend in words, as its fields.

    callers: how many requests at once ("cores": one a core), for what serves several streams. images: makes sense for
    those alone. alone: isn't combined with compressions.
    """

    label: str
    fields: dict[str, Any] = {}
    callers: int | str = 1
    images: bool = False
    alone: bool = False


_HALF = Knob(label="half the threads", fields={"threads": HALF})
KNOBS: dict[str, tuple[Knob, ...]] = {
    "eager": (
        Knob(label=DEFAULT),
        _HALF,
        Knob(label="channels last", fields={"channels_last": True}, images=True),
        Knob(label="bf16", fields={"precision": "bf16"}, alone=True),
    ),
    "inductor": (
        Knob(label=DEFAULT),
        Knob(label="freezing", fields={"freezing": True}),
        Knob(label="freezing, bf16", fields={"freezing": True, "precision": "bf16"}, alone=True),
        Knob(label="max-autotune", fields={"mode": "max-autotune"}),
        _HALF,
    ),
    "aot_inductor": (
        Knob(label=DEFAULT),
        Knob(label="no freezing", fields={"freezing": False}, alone=True),
        Knob(label="bf16", fields={"precision": "bf16"}, alone=True),
        _HALF,
    ),
    "onnxruntime": (
        Knob(label=DEFAULT),
        _HALF,
        Knob(label="no spinning", fields={"spinning": False}),
        Knob(label="graph level basic", fields={"optimization": "basic"}),
        Knob(label="graph level none", fields={"optimization": "none"}, alone=True),
        Knob(label="operators side by side", fields={"inter_threads": CORES}),
    ),
    "openvino": (
        Knob(label=DEFAULT),
        _HALF,
        Knob(label="hint throughput", fields={"hint": "throughput"}, callers=CORES),
        Knob(label="a stream a core", fields={"streams": CORES}, callers=CORES),
        Knob(label="precision auto", fields={"precision": "auto"}),
        Knob(label="bf16", fields={"precision": "bf16"}),
    ),
}
PAIRED = ("eager", "onnxruntime", "openvino")
"""Backends of which two instances with half of the cores each are tried as well."""


def variants(backend: str, cores: int, *, images: bool) -> list[tuple[str, Variant]]:
    """(label, variant) of every knob that this version's backend has; two instances last.

    Knobs that come to the same on this machine are there once; a backend that this version lacks has none.
    """
    known = _fields_of(backend)
    if known is None:
        return []
    able = [k for k in KNOBS[backend] if k.fields.keys() <= known and (images or not k.images)]
    made = [(knob.label, variant_of(backend, knob, cores)) for knob in able]
    found = {variant.name: (label, variant) for label, variant in reversed(made)}
    pair = [v for v in derived(_plain(backend), cores) if v.instances == 2 and v.backend == _plain(backend).backend]
    also = pair[:1] if backend in PAIRED and cores > 1 else []
    return [*reversed(found.values()), *((PAIR, v) for v in also)]


def _plain(backend: str) -> Variant:
    return Variant(name=backend, backend=Named(backend))


def _fields_of(backend: str) -> set[str] | None:
    try:
        return set(plugins.load("compilation", backend).__struct_fields__)
    except AccelError:
        return None


def variant_of(backend: str, knob: Knob, cores: int, compression: tuple[Named, ...] = ()) -> Variant:
    """What a knob means on this machine."""
    sized = {CORES: cores, HALF: max(1, cores // 2)}
    fields = {k: sized.get(v, v) if isinstance(v, str) else v for k, v in knob.fields.items()}
    callers = sized[knob.callers] if isinstance(knob.callers, str) else knob.callers
    named = plugins.parse("compilation", Named(backend, fields))
    parsed = tuple(plugins.parse("compression", c) for c in compression)
    name = variant_name(parsed, named, callers)
    return Variant(name=name, backend=named, compression=parsed, instances=callers)


def pairs(cores: int, baseline: Variant, *, images: bool) -> list[tuple[Variant, str]]:
    """Every (variant, label) of a model's table, the recipe's baseline first and named by what it is."""
    listed = [(variant, label) for backend in BACKENDS for label, variant in variants(backend, cores, images=images)]
    return [(baseline, BASELINE), *((variant, label) for variant, label in listed if not same(variant, baseline))]


def same(one: Variant, other: Variant) -> bool:
    """True if they differ in their names alone."""
    return msgspec.structs.replace(one, name=other.name) == other


def size_of(model: str) -> int:
    """The batch size of a model's measurements in batches."""
    return SIZES.get(model, 8)
