"""What machine is this, as facts: read once, recorded with every study, hashed to tell machines apart.

A source that can't be read is null, never zero.
"""

from __future__ import annotations

import msgspec


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
    missing: tuple[str, ...] = ()

    @property
    def has_vnni(self) -> bool:
        """True if 8-bit dot products are an instruction here."""
        return bool({"avx512_vnni", "avx_vnni", "asimddp"} & set(self.flags))

    @property
    def has_bf16(self) -> bool:
        """True if bfloat16 arithmetic is an instruction here."""
        return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(self.flags))
