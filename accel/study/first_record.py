"""A study's record as it begins: the model, the samples, the machine and the list of variants."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import msgspec

from accel import __version__
from accel.analysis.conclusion import StudyRecord
from accel.measurement.machine import Machine, env_id
from accel.model import Facts, Signature, Source
from accel.model.cost import Cost
from accel.study import defaults
from accel.study.given import Given, metric_name
from accel.study.options import Options, asked_variants, check_sizes, with_baseline


def first_record(
    options: Options, machine: Machine, source: Source, seen: dict[str, Any], metric: Given
) -> StudyRecord:
    """What is asked for and what will be tried; seen: what the first look says of model and samples.

    Raises InputError for variants or batch sizes that can't be.
    """
    facts = msgspec.convert(seen["facts"], Facts)
    samples = seen["samples"]
    baseline = defaults.baseline(source.kind, facts.forms)
    found = defaults.default_variants(
        facts, machine, baseline_backend=baseline.backend.name, synthetic=samples["synthetic"]
    )
    variants = with_baseline(baseline, asked_variants(options, found))
    check_sizes(options.sizes, seen["signature"]["batch"])
    identity = {"variants": msgspec.to_builtins(variants), "time": time.time_ns(), "seed": options.seed}
    study_id = hashlib.sha256(msgspec.json.encode(identity)).hexdigest()[:12]
    name = metric_name(metric) or ("accuracy" if samples["labelled"] else None)
    return StudyRecord(
        study_id=study_id,
        name=options.name,
        created_unix_ns=time.time_ns(),
        source=source,
        signature=msgspec.convert(seen["signature"], Signature),
        facts=facts,
        machine=machine,
        env_id=env_id(machine),
        accel_version=__version__,
        command=options.command,
        profile=options.profile.name,
        target=options.target,
        budget_s=options.budget_s,
        seed=options.seed,
        accuracy_drop=options.accuracy_drop,
        samples_count=samples["count"],
        evaluation_count=samples["evaluation"],
        calibration_count=samples["calibration"],
        validation_count=samples["validation"],
        synthetic=samples["synthetic"],
        metric=name,
        slo_p=options.slo.p if options.slo else 0.9,
        slo_s=options.slo.seconds if options.slo else None,
        slo_assumed=options.slo is None,
        slo_text=options.slo_text,
        price_per_h=options.price_per_h,
        baseline=variants[0].name,
        variants=variants,
        reference_note=_reference_note(facts, source),
        denormals=samples.get("denormals"),
        cost=msgspec.convert(seen.get("cost"), Cost | None),
        left={},
    )


def _reference_note(facts: Facts, source: Source) -> str:
    if facts.quantized:
        return "The source is already quantized, so it is its own reference: losses it has against FP32 aren't seen."
    if source.random_weights:
        return "Random weights: outputs are compared for correctness only; there is no accuracy to speak of."
    return "Reference: the same source in FP32 on one thread."
