"""What the table is made of: models, techniques and backends, and which of the pairs tell the most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from accel import plugins
from accel.plugins import Named
from accel.recipe import Variant, variant_name
from benchmarks.subject import ROOT

MODELS = ("resnet50", "bert_base", "minilm", "digits", "ocr", "depthwise", "vit")
"""Recipes, those first whose figures were asked for."""
BACKENDS = ("onnxruntime", "openvino", "inductor", "eager")
NONE, STATIC = "none", "quantize_static"
PRUNED, TUNED = "prune_structured", "prune_structured+fine_tune"
BOTH = "prune_structured+fine_tune+quantize_static"
LABELLED, LABELLED_BOTH = "prune_structured+fine_tune (labels)", "prune_structured+fine_tune (labels)+quantize_static"
TRAINERS = {"digits": "recipes/models/digits_tuning.py:with_labels"}
"""By model: a function of the user's that tunes with labels, where there is one."""
TELLING = {
    "onnxruntime": (NONE, STATIC, "quantize_dynamic"),
    "openvino": (NONE, STATIC),
}
"""By backend: what is prepared and measured before anything else."""
TUNE_S = {"digits": 60.0, "depthwise": 60.0, "minilm": 60.0}
"""How long a pruned model may be tuned; a large one shortly, since its weights are random anyway."""
_TUNE_S = 20.0


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table: the technique in words, as a recipe's `compression`."""

    technique: str
    compression: tuple[Named, ...]


def ways(model: str) -> tuple[Way, ...]:
    """Every row that this version of accel has the techniques for, `none` first."""
    tuned = Named("fine_tune", {"seconds": TUNE_S.get(model, _TUNE_S)})
    pruned, static = Named("prune_structured"), Named("quantize_static")
    listed = {
        NONE: (),
        STATIC: (static,),
        "quantize_dynamic": (Named("quantize_dynamic"),),
        "quantize_weights int8": (Named("quantize_weights", {"bits": 8}),),
        "quantize_weights int4": (Named("quantize_weights", {"bits": 4}),),
        "lower_precision bf16": (Named("lower_precision", {"dtype": "bf16"}),),
        PRUNED: (pruned,),
        TUNED: (pruned, tuned),
        BOTH: (pruned, tuned, static),
        "prune_magnitude": (Named("prune_magnitude"),),
        "prune_2_4": (Named("prune_2_4"),),
        "low_rank": (Named("low_rank"),),
    }
    if model in TRAINERS:
        taught = Named("fine_tune", {"by": str(ROOT / TRAINERS[model]), "seconds": TUNE_S[model]})
        listed |= {LABELLED: (pruned, taught), LABELLED_BOTH: (pruned, taught, static)}
    known = set(plugins.names("compression"))
    return tuple(
        Way(technique=word, compression=tuple(plugins.parse("compression", c) for c in compression))
        for word, compression in listed.items()
        if all(c.name in known for c in compression)
    )


def variant_of(way: Way, backend: str) -> Variant:
    """The variant that a row means on a backend; without compression it is named like the backend."""
    named = Named(backend)
    # A path in a name would be this machine's.
    shown = tuple(Named(c.name, {k: _short(v) for k, v in c.fields.items()}) for c in way.compression)
    return Variant(name=variant_name(shown, named), backend=named, compression=way.compression)


def portable(compression: tuple[Named, ...]) -> tuple[Named, ...]:
    """The same without this machine's paths."""
    return tuple(Named(c.name, {k: _relative(v) for k, v in c.fields.items()}) for c in compression)


def _relative(value: Any) -> Any:
    return value.removeprefix(f"{ROOT}/") if isinstance(value, str) else value


def _short(value: Any) -> Any:
    return Path(value).name.rpartition(":")[2] if isinstance(value, str) and ".py:" in value else value


def tuning_s(way: Way) -> float:
    """How long a row trains, beside what making it takes anyway."""
    return sum(float(plugins.make("compression", c).seconds) for c in way.compression if c.name == "fine_tune")


def tells(technique: str, backend: str) -> bool:
    """True for the pairs that are looked at first."""
    return technique in TELLING.get(backend, ())


def pairs(models: tuple[str, ...], *, telling: bool) -> Iterator[tuple[str, Way, str]]:
    """(model, row, backend) of the first look, or of all the others, model by model."""
    for model in models:
        for backend in BACKENDS:
            for way in ways(model):
                if tells(way.technique, backend) == telling:
                    yield model, way, backend
