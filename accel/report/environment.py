"""Model, samples, machine and software as the page lists them: what couldn't be read is said, never zero."""

from __future__ import annotations

from typing import Any

from accel.analysis.conclusion import StudyRecord
from accel.measurement.machine import Machine
from accel.report import words
from accel.units import show_bytes

FACTS = {
    "cpu": "processor",
    "cores": "usable cores",
    "logical_cpus": "logical processors",
    "flags": "instruction sets",
    "memory_bytes": "memory",
    "quota_cores": "CPU quota",
    "kernel": "kernel",
    "hypervisor": "hypervisor",
    "python": "Python",
    "caches_bytes": "caches",
    "governor": "governor",
    "clocksource": "clock source",
    "thp": "transparent huge pages",
    "microcode": "microcode",
    "missing": "could not be read",
    "mitigations": "mitigations of the kernel",
    "smt": "several threads a core (SMT)",
    "numa_nodes": "NUMA nodes",
    "cgroup_version": "cgroup version",
    "swap_bytes": "swap",
    "aslr": "address space randomisation",
    "flushes_denormals": "smallest numbers become zero",
    "gpus": "GPUs",
    "environment": "environment variables",
    "topology": "topology",
    "affinity": "processors allowed",
}
"""A fact of the machine in words, by the name of its field."""


def environment(record: StudyRecord) -> tuple[tuple[str, str], ...]:
    """Model, samples, machine and software as (name, value) pairs; what couldn't be read is said, never zero."""
    m, facts = record.machine, record.facts
    unknown = "could not be read"
    pairs: list[tuple[str, Any]] = [
        ("Model", f"{record.source.name} ({record.source.kind}, {record.source.location})"),
        ("Model sha256", record.source.sha256 or unknown),
        ("Weights", "random, so accuracy can't be known" if record.source.random_weights else "as given"),
        ("Signature", str(record.signature)),
        ("Kind", facts.kind),
        ("Parameters", f"{facts.parameters:,}" if facts.parameters is not None else unknown),
        ("Multiply-adds an item", f"{facts.macs_per_item:,}" if facts.macs_per_item is not None else unknown),
        ("Samples", _samples(record)),
        ("Reference", record.reference_note or "the same source, FP32"),
        ("Processor", f"{m.cpu}, {m.cores} cores usable of {m.logical_cpus}"),
        ("Instruction sets", ", ".join(m.flags) or unknown),
        ("CPU quota", f"{m.quota_cores:g} cores" if m.quota_cores is not None else "none"),
        ("Memory", show_bytes(m.memory_bytes) if m.memory_bytes is not None else unknown),
        ("Hypervisor", m.hypervisor or "none seen"),
        ("Kernel", m.kernel),
        ("Governor", m.governor or unknown),
        ("Clock source", m.clocksource or unknown),
        ("Transparent huge pages", m.thp or unknown),
        *_later(m),
        ("Could not be read", ", ".join(m.missing) or "nothing"),
        ("Python", m.python),
        *((name, version) for name, version in sorted(m.packages.items())),
        ("accel", record.accel_version),
        ("Environment id", record.env_id),
        ("Study", f"{record.study_id}, seed {record.seed}, begun {words.moment(record.created_unix_ns)}"),
    ]
    return tuple((name, str(value)) for name, value in pairs)


def _samples(record: StudyRecord) -> str:
    made = "synthetic, made from the signature" if record.synthetic else "real"
    searched = f", {record.validation_count} to choose by" if record.validation_count else ""
    parts = f"{record.evaluation_count} to score, {record.calibration_count} to calibrate{searched}, never the same"
    return f"{record.samples_count}, {made}; {parts}; metric: {record.metric or 'none'}"


def shown(field: str, value: Any) -> str:
    """A fact of a machine for a person; what couldn't be read is said, never zero."""
    if value is None:
        return {"quota_cores": "none", "hypervisor": "none seen"}.get(field, "unknown")
    if isinstance(value, dict):
        size = field == "caches_bytes"
        return ", ".join(f"{k} {show_bytes(v) if size else v}" for k, v in sorted(value.items())) or _nothing(field)
    if isinstance(value, tuple):
        return ", ".join(str(getattr(v, "name", v)) for v in value) or _nothing(field)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and field.endswith("_bytes"):
        return f"{value:,} B"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _nothing(field: str) -> str:
    return {"missing": "nothing", "gpus": "none", "environment": "none set", "mitigations": "none"}.get(
        field, "unknown"
    )


def _later(machine: Machine) -> list[tuple[str, str]]:
    """Facts that studies made before they were read don't have."""
    fields = tuple(FACTS)[tuple(FACTS).index("mitigations") :]
    known = [(f, value) for f in fields if (value := getattr(machine, f)) is not None]
    return [(FACTS[f][0].upper() + FACTS[f][1:], shown(f, value)) for f, value in known]
