"""Can this variant run here at all? What is missing and how to get it, before a child is started."""

from __future__ import annotations

from importlib.util import find_spec

from accel import plugins
from accel.errors import MissingLibrary, VariantError
from accel.measurement.machine import Machine
from accel.model import Facts
from accel.recipe import Variant


class NotTried(VariantError):
    """A variant that isn't tried; `status`: "skipped" for a missing package, "refused" for what makes no sense."""

    def __init__(self, reason: str, next_step: str, status: str) -> None:
        super().__init__(reason, next_step)
        self.status = status


def why_not(variant: Variant, facts: Facts, machine: Machine) -> NotTried | None:
    """None if it may be tried, else the reason and the next step."""
    backend = plugins.make("compilation", variant.backend)
    if find_spec(backend.runtime) is None:
        error = MissingLibrary(backend.runtime, f"the backend `{variant.backend.name}`", extra=backend.extra)
        return NotTried(f"`{backend.runtime}` is not installed", error.install, "skipped")
    refusal = backend.fits(facts, machine)
    for named in variant.compression:
        technique = plugins.make("compression", named)
        refusal = refusal or technique.fits(facts, machine, variant.backend.name)
    if refusal is None:
        return None
    return NotTried(refusal.reason, refusal.next_step, "refused")
