"""What machine is this, as facts: read once, recorded with every study, compared between two studies.

A source that can't be read is null, never zero.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import msgspec

from accel.measurement import cgroup, denormals, facts, nvml
from accel.measurement.nvml import Gpu
from accel.measurement.topology import Topology, topology


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The fingerprint of rule 44, as far as this machine tells.

    cores: how many this process may really use (affinity and cgroup quota both counted), at least 1.
    flags: the instruction-set flags that matter here ("avx2", "avx512f", "avx512_vnni", "amx_tile", ...).
    packages: version of each installed package that can change a number.
    mitigations: against which weaknesses of the processor the kernel works, and how. aslr: randomize_va_space.
    flushes_denormals: whether the smallest numbers become zero in this process.
    environment: the variables that set threads, memory or preloaded libraries.
    topology: how the processors belong together. affinity: those that this process may use.

    The fields from `mitigations` on came later (2026-11); in a study made before they are null, which means "not
    read". The timer slack isn't here: the measure child sets its own.
    """

    cpu: str
    cores: int
    logical_cpus: int
    flags: tuple[str, ...]
    memory_bytes: int | None
    quota_cores: float | None
    kernel: str
    hypervisor: str | None
    python: str
    packages: dict[str, str]
    caches_bytes: dict[str, int] = {}
    governor: str | None = None
    clocksource: str | None = None
    thp: str | None = None
    microcode: str | None = None
    missing: tuple[str, ...] = ()
    mitigations: dict[str, str] | None = None
    smt: bool | None = None
    numa_nodes: int | None = None
    cgroup_version: int | None = None
    swap_bytes: int | None = None
    aslr: int | None = None
    flushes_denormals: bool | None = None
    gpus: tuple[Gpu, ...] | None = None
    environment: dict[str, str] | None = None
    topology: Topology | None = None
    affinity: tuple[int, ...] | None = None

    @property
    def limited(self) -> str:
        """Why `cores` is less than the machine has processors, in words; "" if nothing takes any away."""
        return cgroup.limited(self.cores, self.logical_cpus, self.quota_cores, self.affinity)

    @property
    def physical_cores(self) -> int:
        """How many of `cores` are physical cores rather than second threads of one; all, where that isn't known."""
        if self.topology is None or self.affinity is None:
            return self.cores
        return max(1, min(self.cores, self.topology.cores_of(self.affinity)))

    @property
    def has_avx2(self) -> bool:
        """True if 256-bit integer vectors are an instruction here, without which int8 falls back to slow code."""
        return "avx2" in self.flags

    @property
    def has_amx(self) -> bool:
        """True if matrix tiles are an instruction here."""
        return "amx_tile" in self.flags

    @property
    def has_vnni(self) -> bool:
        """True if 8-bit dot products are an instruction here."""
        return bool({"avx512_vnni", "avx_vnni", "asimddp"} & set(self.flags))

    @property
    def has_bf16(self) -> bool:
        """True if bfloat16 arithmetic is an instruction here."""
        return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(self.flags))


def detect(root: Path = cgroup.ROOT) -> Machine:
    """Read this machine. Works on any Linux and macOS; what can't be read is None and named in `missing`."""
    optional = {
        "caches_bytes": facts.caches_bytes(root),
        "governor": facts.governor(root),
        "clocksource": facts.clocksource(root),
        "thp": facts.thp(root),
        "memory_bytes": facts.memory_bytes(root),
        "flags": facts.cpu_flags(root),
        "microcode": facts.microcode(root),
        "mitigations": facts.mitigations(root),
        "smt": facts.smt(root),
        "numa_nodes": facts.numa_nodes(root),
        "cgroup_version": cgroup.version(root),
        "swap_bytes": facts.swap_bytes(root),
        "aslr": facts.aslr(root),
        "topology": topology(root),
        "affinity": cgroup.allowed(root) or None,
    }
    known = {name: value for name, value in optional.items() if value is not None}
    described = {name: msgspec.to_builtins(value) for name, value in known.items()}
    return msgspec.convert(
        {
            "flags": (),
            "memory_bytes": None,
            **described,
            "cpu": facts.cpu_name(root) or "unknown",
            "cores": cgroup.usable_cores(root),
            "logical_cpus": os.cpu_count() or 1,
            "quota_cores": cgroup.quota_cores(root),
            "kernel": f"{platform.system()} {platform.release()}",
            "hypervisor": facts.hypervisor(root),
            "python": platform.python_version(),
            "packages": facts.packages(),
            "missing": tuple(sorted(set(optional) - set(known))),
            "flushes_denormals": denormals.flushes(),
            "gpus": nvml.gpus() if root == cgroup.ROOT else (),
            "environment": facts.environment(),
        },
        Machine,
    )


def env_id(machine: Machine) -> str:
    """Twelve hex digits that tell machines (with their software) apart: sha256 of the sorted JSON (rule 44).

    It changes when a version of accel reads more facts: equal ids mean equal machines, unequal ones of different
    versions mean nothing. Whether two recorded machines differ is what `differences` says.
    """
    return hashlib.sha256(msgspec.json.encode(machine, order="sorted")).hexdigest()[:12]


def differences(a: Machine, b: Machine) -> list[tuple[str, str, str]]:
    """(what, in a, in b) for every fact that differs, in the order of the fingerprint; empty if none does.

    Packages, mitigations, caches and variables are compared one by one ("numpy", "1.26", "2.0"). A fact that one side
    couldn't read is no difference, except where its absence is itself a fact (no hypervisor, no quota).

    >>> one = Machine(cpu="A", cores=2, logical_cpus=2, flags=(), memory_bytes=None, quota_cores=None, kernel="Linux 6",
    ...               hypervisor=None, python="3.11", packages={"numpy": "1.26"})
    >>> differences(one, msgspec.structs.replace(one, cores=4, packages={}))
    [('cores', '2', '4'), ('numpy', '1.26', 'none')]
    """
    found: list[tuple[str, str, str]] = []
    for name in Machine.__struct_fields__:
        left, right = getattr(a, name), getattr(b, name)
        if name == "missing" or left == right or _unread(a, name) or _unread(b, name):
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            keys = sorted({k for k in left.keys() | right.keys() if left.get(k) != right.get(k)})
            found += [(key, _shown(left.get(key)), _shown(right.get(key))) for key in keys]
        elif name == "flags":
            found.append((name, _shown(set(left) - set(right)), _shown(set(right) - set(left))))
        else:
            found.append((name, _shown(left), _shown(right)))
    return found


def _unread(machine: Machine, name: str) -> bool:
    value = getattr(machine, name)
    return name in machine.missing or (value is None and name not in ("hypervisor", "quota_cores"))


def _shown(value: object) -> str:
    if isinstance(value, (set, tuple)):
        return ", ".join(sorted(v.name if isinstance(v, Gpu) else str(v) for v in value)) or "none"
    return "none" if value is None else str(value)
