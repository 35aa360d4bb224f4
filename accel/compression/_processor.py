"""What this processor has instructions for, where a technique must know it while it works."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}


@cache
def has_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """True if 8-bit dot products are an instruction here, so that sums of 8-bit products don't overflow."""
    try:
        return bool(_VNNI & set(cpuinfo.read_text().split()))
    except OSError:
        return False
