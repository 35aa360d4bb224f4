"""How fast can this machine multiply, and how fast can it read? Measured peaks, as plain data.

Measured in a child of its own (`accel.study.peaks_child`) and kept between studies; what is here reads and
asks them, and loads no runtime.
"""

from __future__ import annotations

from typing import Literal

import msgspec

PeakKind = Literal["fp32", "bf16", "int8", "l2", "l3", "ram"]
COMPUTE: tuple[PeakKind, ...] = ("fp32", "bf16", "int8")
LEVELS: tuple[PeakKind, ...] = ("l2", "l3", "ram")


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """One measured limit.

    value: FLOP/s (fp32, bf16), OP/s (int8; a multiply-accumulate is two) or bytes/s (l2, l3, ram), the median of
        repeated rounds, in the best of several passes. low, high: 95 % interval of that median (order statistics).
        n: rounds of that pass.
    threads: how many threads worked at once. source: library, operation and size that gave it.
    """

    kind: PeakKind
    threads: int
    value: float
    low: float
    high: float
    source: str
    n: int = 0


class Peaks(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on one machine.

    entries: one a kind and thread count. seconds: how long measuring took. env_id: of the machine it was measured on.
    missing: kind -> why it wasn't measured. caches_bytes: the cache sizes that the buffers were made for.
    l3_count: how many L3 the usable cores have together.
    """

    entries: tuple[Peak, ...]
    env_id: str = ""
    cores: int = 1
    seconds: float = 0.0
    missing: dict[str, str] = {}
    caches_bytes: dict[str, int] = {}
    l3_count: int = 1
    measured_unix_ns: int = 0

    def merged(self, other: Peaks | None) -> Peaks:
        """These, with the higher of the two where `other` knows the same: whatever disturbs only makes slower."""
        if other is None:
            return self
        best = {(p.kind, p.threads): p for p in other.entries}
        for peak in self.entries:
            known = best.get((peak.kind, peak.threads))
            if known is None or peak.value >= known.value:
                best[peak.kind, peak.threads] = peak
        kinds = {kind for kind, _ in best}
        missing = {kind: why for kind, why in self.missing.items() if kind not in kinds}
        return msgspec.structs.replace(self, entries=tuple(best.values()), missing=missing)

    def at(self, kind: PeakKind, threads: int) -> Peak | None:
        """The limit for this many threads, or None if the kind wasn't measured.

        Between two measured counts: the smaller of `threads` times one thread's and all threads' limit. Above all:
        that of all. More threads can do whatever fewer can, so a count that was measured in a bad moment has no lower
        limit than a smaller one.
        """
        found: dict[int, Peak] = {}
        for one in sorted((p for p in self.entries if p.kind == kind), key=lambda p: p.threads):
            found[one.threads] = max(one, *found.values(), key=lambda p: p.value) if found else one
        if not found:
            return None
        if threads in found:
            return found[threads]
        fewest, largest = min(found), max(found)
        least, most = found[fewest], found[largest]
        if threads > largest or threads < fewest:
            return most if threads > largest else least
        scale = threads / fewest
        if least.value * scale >= most.value:
            return most
        return msgspec.structs.replace(
            least, threads=threads, value=least.value * scale, low=least.low * scale, high=least.high * scale
        )
