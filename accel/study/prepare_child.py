"""The prepare child: `python -m accel.study.prepare_child`. It may load any toolchain; it never measures.

inspect: load model and samples once -> signature, facts, materialised samples, the model's hash.
prepare: forms -> compressions -> Backend.build -> an artefact folder.
score:   compare stored outputs where the metric is the user's own function.
rescue:  search for a form of a failing variant that keeps the guard's limit, on calibration and validation samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from accel import plugins
from accel.analysis import guard
from accel.compression._numerics import numerics_of
from accel.errors import VariantError
from accel.measurement.denormals import share
from accel.measurement.outputs import load_outputs
from accel.measurement.protocol import serve, stage
from accel.model import Facts, Model, Signature, Source
from accel.model.convention import write_convention
from accel.model.cost import Cost
from accel.model.costs import cost_of, typical
from accel.model.identity import identity
from accel.recipe import Variant
from accel.result import Quality, SetUp
from accel.samples import Samples, matched, materialise
from accel.samples.given import read_labels
from accel.samples.store import write
from accel.samples.table import as_table
from accel.study.given import Given, metric_name, metric_of, take
from accel.study.scoring import Terms, judged, score


def inspect(command: dict[str, Any]) -> dict[str, Any]:
    """Load what was given; the reply holds everything the parent needs to plan."""
    given = {k: msgspec.convert(v, Given) for k, v in command["given"].items() if k != "options"}
    options = command["given"]["options"]
    source, folder = msgspec.convert(command["source"], Source), Path(command["model_folder"])
    where = Path(command["samples"])
    stage("reading the samples")
    raw = take(given["samples"])
    samples = None
    terms = {"padding": options["padding"], "seed": options["seed"], "metric": metric_name(given["metric"])}
    if raw is not None:
        samples = materialise(raw, None, where, labels=_labels(given["labels"]), **terms)
    stage("loading the model")
    model = Model.load(source, folder, samples)
    # Before anything else runs it: a module may count its calls, and how many there are hangs on which forms are kept.
    same = identity(model)
    if samples is None:
        samples = materialise(
            None,
            model.signature,
            where,
            labels=_labels(given["labels"]),
            count=_synthetic_count(model),
            vocabulary=model.facts.vocabulary,
            **terms,
        )
    elif model.table is not None:
        samples = matched(write(as_table(samples, model.table), where), model.signature, where)
    elif source.kind != "callable":
        samples = matched(samples, model.signature, where)
    if "torch" in model.forms:
        write_convention(model.as_form("torch"), folder)
    stage("reading the graph")
    facts = model.facts
    return {
        "signature": msgspec.to_builtins(model.signature),
        "facts": msgspec.to_builtins(facts),
        "cost": msgspec.to_builtins(cost_of(model, typical(samples))),
        "random_weights": bool(model.source.random_weights),
        "source": msgspec.to_builtins(model.source),
        "identity": same,
        "samples": {
            "count": samples.count,
            "evaluation": len(samples.evaluation),
            "calibration": len(samples.calibration),
            "validation": len(samples.validation),
            "synthetic": samples.synthetic,
            "labelled": samples.labels is not None,
            "sha256": samples.sha256,
            "notes": list(samples.notes),
            "denormals": share(samples.inputs),
        },
        "load_s": model.seconds["load"],
        "notes": list(model.notes),
    }


def _labels(given: Given) -> Any:
    return read_labels(take(given))


def _synthetic_count(model: Model) -> int:
    """Fewer made-up inputs for heavy models: they only feed a correctness check."""
    macs = model.facts.macs_per_item or 0
    return 256 if macs < 2e9 else 96


def prepare(command: dict[str, Any]) -> dict[str, Any]:
    """Build one variant's artefact in `command["out"]`."""
    variant = msgspec.convert(command["variant"], Variant)
    out = Path(command["out"])
    out.mkdir(parents=True)
    samples = Samples.open(Path(command["samples"]))
    seconds: dict[str, float] = {}
    stage("loading the model")
    model = _model(command, samples)
    target = variant.backend.name
    for named in variant.compression:
        technique = plugins.make("compression", named)
        _form(model, technique.reads(target), f"`{named.name}`", seconds)
        stage(f"compressing with {named}")
        begun = time.perf_counter()
        model = technique.apply(model, samples.only(samples.calibration), target)
        seconds["compress"] = seconds.get("compress", 0.0) + time.perf_counter() - begun
    backend = plugins.make("compilation", variant.backend)
    form = _form(model, backend.runs, f"`{target}`", seconds)
    stage(f"compiling for {variant.backend.name}")
    begun = time.perf_counter()
    backend.build(model, out)
    seconds["compile"] = time.perf_counter() - begun
    stage("reading what computes in 8 bits")
    numerics, unread = numerics_of(variant.compression, variant.backend, model, out, backend)
    known = getattr(model, "seconds", {})
    return {
        "form": form,
        "notes": [*model.notes, *unread],
        "numerics": msgspec.to_builtins(numerics),
        "cost": msgspec.to_builtins(_own_cost(variant, model, samples)),
        "set_up": msgspec.to_builtins(
            SetUp(
                load_s=known.get("load", command["load_s"]),
                export_s=known.get("export", seconds.get("export")),
                # What an earlier variant's training took counts here too, though its weights were only read.
                compress_s=seconds["compress"] + known.get("compress", 0.0) if "compress" in seconds else None,
                compile_s=seconds["compile"],
            )
        ),
    }


def _own_cost(variant: Variant, model: Model, samples: Samples) -> Cost | None:
    """What a call costs where compressions changed the model; None for one that is run as it came."""
    return cost_of(model, typical(samples), convert=False) if variant.compression else None


def _model(command: dict[str, Any], samples: Samples) -> Model:
    return Model.reopen(
        msgspec.convert(command["source"], Source),
        Path(command["model_folder"]),
        samples,
        signature=msgspec.convert(command["signature"], Signature),
        facts=msgspec.convert(command["facts"], Facts),
    )


def _form(model: Model, wanted: tuple[str, ...], who: str, seconds: dict[str, float]) -> str:
    """The first form that the model has or can be converted to, made; raises VariantError if there is none."""
    for form in wanted:
        if model.has_path_to(form):
            stage(f"converting to {form}")
            begun = time.perf_counter()
            model.as_form(form)
            seconds["export"] = seconds.get("export", 0.0) + time.perf_counter() - begun
            return form
    have = ", ".join(sorted(model.forms))
    raise VariantError(f"{who} needs the model as {' or '.join(wanted)}, but there is only {have}")


def score_outputs(command: dict[str, Any]) -> dict[str, Any]:
    """Score with the user's own metric, away from the parent."""
    import numpy as np

    samples = Samples.open(Path(command["samples"]))
    ids = np.asarray(command["ids"], np.int64)
    labels = None if samples.labels is None else samples.labels[ids]
    stage("scoring with the metric")
    metric = metric_of(msgspec.convert(command["metric"], Given))
    terms = msgspec.convert(command["terms"], Terms)
    found = score(Path(command["candidate"]), Path(command["reference"]), labels, metric, terms)
    reply: dict[str, Any] = msgspec.to_builtins(found)
    return reply


def rescue(command: dict[str, Any]) -> dict[str, Any]:
    """Search for a form of a failing variant that keeps the guard's limit, on the validation samples `ids`.

    The samples that the search gets hold no evaluation part: it can't choose by what will be reported.
    """
    from accel.rescue.search import rescue as search

    everything = Samples.open(Path(command["samples"]))
    samples = everything.only([*everything.calibration, *command["ids"]])
    stage("loading the model")
    found = search(
        msgspec.convert(command["variant"], Variant),
        _model(command, samples),
        samples,
        _judge(command, samples),
        seconds=command["seconds"],
        folder=Path(command["steps"]),
        on_step=lambda step: stage(f"rescue: {step.what}: {step.outcome}"),
        within=lambda quality: guard.may_win(quality, command["terms"]["accuracy_drop"]),
    )
    reply: dict[str, Any] = msgspec.to_builtins(found)
    return reply


def _judge(command: dict[str, Any], samples: Samples) -> Callable[[Mapping[str, Sequence[Any]]], Quality]:
    """The guard on outputs of the validation samples in their order, against the reference's outputs of the same."""
    terms = msgspec.convert(command["terms"], Terms)
    labels = None if samples.labels is None else samples.labels[samples.validation]
    metric = metric_of(msgspec.convert(command["metric"], Given)) or ("accuracy" if labels is not None else None)
    theirs = load_outputs(Path(command["reference"]))
    return lambda ours: judged(ours, theirs, labels, metric, terms)


if __name__ == "__main__":
    serve({"inspect": inspect, "prepare": prepare, "score": score_outputs, "rescue": rescue})
