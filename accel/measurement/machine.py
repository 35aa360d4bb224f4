"""What machine is this, as facts: read once, recorded with every study, hashed to tell machines apart.

A source that can't be read is null, never zero.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import msgspec

from accel.measurement import cgroup, facts


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The fingerprint of rule 44, as far as this machine tells.

    cores: how many this process may really use (affinity and cgroup quota both counted), at least 1.
    flags: the instruction-set flags that matter here ("avx2", "avx512f", "avx512_vnni", "amx_tile", ...).
    packages: version of each installed package that can change a number.
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
    }
    known = {name: value for name, value in optional.items() if value is not None}
    return msgspec.convert(
        {
            "flags": (),
            "memory_bytes": None,
            **known,
            "cpu": facts.cpu_name(root) or "unknown",
            "cores": cgroup.usable_cores(root),
            "logical_cpus": os.cpu_count() or 1,
            "quota_cores": cgroup.quota_cores(root),
            "kernel": f"{platform.system()} {platform.release()}",
            "hypervisor": facts.hypervisor(root),
            "python": platform.python_version(),
            "packages": facts.packages(),
            "missing": tuple(sorted(set(optional) - set(known))),
        },
        Machine,
    )


def env_id(machine: Machine) -> str:
    """Twelve hex digits that tell machines (with their software) apart: sha256 of the sorted JSON (rule 44)."""
    return hashlib.sha256(msgspec.json.encode(machine, order="sorted")).hexdigest()[:12]
