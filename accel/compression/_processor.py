"""What this processor has instructions for, where a technique must know it while it works."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from accel.measurement.cgroup import ROOT
from accel.measurement.facts import caches_bytes

_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}
_CPUINFO = Path("/proc/cpuinfo")


class Forms(msgspec.Struct, frozen=True, kw_only=True):
    """The 8-bit forms that suit a processor.

    activations, weights: unsigned ("u8") or signed ("s8"). reduce_range: weights in 7 bits. reason: why, in words.
    """

    activations: Literal["u8", "s8"]
    weights: Literal["u8", "s8"]
    reduce_range: bool
    reason: str

    @property
    def said(self) -> str:
        """One sentence for the model's notes."""
        seven = ", weights in 7 bits" if self.reduce_range else ""
        return f"8-bit form: {self.activations.upper()} x {self.weights.upper()}{seven}: {self.reason}"


@cache
def forms_here(cpuinfo: Path = _CPUINFO, processor: str | None = None) -> Forms:
    """The forms for this processor, after ONNX Runtime's own advice (`quantize_static`, "Choosing parameters").

    AMX and VNNI multiply unsigned by signed and add in 32 bits. AVX2 and plain AVX-512 add pairs in 16 bits first
    (vpmaddubsw), which saturates: 255 x 127 x 2 > 32767, so weights get 7 bits. ARM multiplies signed by signed.
    """
    flags = _flags(cpuinfo)
    if (processor or platform.machine()).lower() in ("aarch64", "arm64"):
        dot = "asimddp" in flags or not flags  # macOS has no such file, and its chips the instruction
        how = "its dot product instructions" if dot else "its instructions, which lack a dot product,"
        return Forms(activations="s8", weights="s8", reduce_range=False, reason=f"ARM: {how} take signed by signed")
    if flags & {"amx_int8"}:
        reason = "AMX multiplies unsigned by signed and adds in 32 bits"
        return Forms(activations="u8", weights="s8", reduce_range=False, reason=reason)
    if flags & _VNNI:
        reason = "VNNI multiplies unsigned by signed and adds in 32 bits"
        return Forms(activations="u8", weights="s8", reduce_range=False, reason=reason)
    reason = "without VNNI sums of 8-bit products saturate in 16 bits"
    return Forms(activations="u8", weights="s8", reduce_range=True, reason=reason)


@cache
def has_vnni(cpuinfo: Path = _CPUINFO) -> bool:
    """True if 8-bit dot products are an instruction here, so that sums of 8-bit products don't overflow."""
    return bool(_VNNI & _flags(cpuinfo))


@cache
def last_level_cache() -> int | None:
    """Bytes of the largest cache of one processor, None if they can't be read."""
    return max((caches_bytes(ROOT) or {"": 0}).values()) or None


def _flags(cpuinfo: Path) -> set[str]:
    try:
        return set(cpuinfo.read_text().split())
    except OSError:
        return set()
