"""Can this variant run here at all? What is missing and how to get it, before a child is started."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import msgspec

from accel import plugins
from accel.compilation import Refusal, not_installed, on_gpu
from accel.errors import VariantError
from accel.measurement.machine import Machine
from accel.model import Facts
from accel.model.convert import reachable
from accel.recipe import Variant


class NotTried(VariantError):
    """A variant that isn't tried; `status`: "skipped" for a missing package, "refused" for what makes no sense."""

    def __init__(self, reason: str, next_step: str, status: str) -> None:
        super().__init__(reason, next_step)
        self.status = status


def why_not(variant: Variant, facts: Facts, machine: Machine) -> NotTried | None:
    """None if it may be tried, else the reason and the next step."""
    backend = plugins.make("compilation", variant.backend)
    without_gpu = on_gpu(backend) and not machine.gpus  # which no package mends
    if find_spec(backend.runtime) is None and not without_gpu:
        error = not_installed(backend, f"the backend `{variant.backend.name}`")
        return NotTried(f"`{backend.runtime}` is not installed", error.install, "skipped")
    refusal = (
        backend.fits(facts, machine)
        or _out_of_order(variant, facts)
        or _without_form(variant, backend.runs, facts)
        or _refused(variant, facts, machine)
    )
    if refusal is None:
        return None
    return NotTried(refusal.reason, refusal.next_step, "refused")


def _refused(variant: Variant, facts: Facts, machine: Machine) -> Refusal | None:
    """What a technique itself refuses; one that comes after a quantization has a quantized model before it."""
    for named in variant.compression:
        technique: Any = plugins.make("compression", named)
        refusal: Refusal | None = technique.fits(facts, machine, variant.backend.name)
        if refusal is not None:
            return refusal
        if named.name.startswith("quantize"):
            facts = msgspec.structs.replace(facts, quantized=True)
    return None


def _out_of_order(variant: Variant, facts: Facts) -> Refusal | None:
    """A technique that can't start from what the one before it leaves."""
    target, there, left_by = variant.backend.name, facts.forms, ""
    for named in variant.compression:
        technique: Any = plugins.make("compression", named)
        wanted = technique.reads(target)
        if left_by and not set(wanted) & set(there):
            return Refusal(
                f"`{named.name}` works on the {' or '.join(wanted)} form of a model, but `{left_by}` before it leaves "
                f"{there[0]}.",
                f"Put `{named.name}` before `{left_by}`.",
            )
        there, left_by = reachable(technique.writes(target)), named.name
    return None


def _without_form(variant: Variant, runs: tuple[str, ...], facts: Facts) -> Refusal | None:
    """A backend that no form of the model leads to: there is no way back from a graph to a module."""
    came_as = facts.forms[0]
    if variant.compression or set(reachable(came_as)) & set(runs):
        return None
    return Refusal(
        f"`{variant.backend.name}` needs the model as {' or '.join(runs)}, but there is only {came_as}.",
        f"Give the model as {' or '.join(runs)}, or leave `{variant.backend.name}` out.",
    )
