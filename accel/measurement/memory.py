"""How much memory this process holds: peaks that start anew where asked, and what it holds alone.

The peak is VmHWM, which the kernel keeps exactly; a sampling thread would miss it, and ru_maxrss of a child would start
at its parent's size (rule 41).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from accel.measurement.cgroup import read

_SELF = Path("/proc/self")


def peak_bytes(process: Path = _SELF) -> int | None:
    """Peak resident size since the start or the last `reset_peak`; None where the system doesn't say."""
    return _kilobytes(read(process / "status"), "VmHWM")


def reset_peak(process: Path = _SELF) -> bool:
    """Start the peak anew from the present size; False where that isn't possible."""
    try:
        (process / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def private_bytes(process: Path = _SELF) -> int | None:
    """What would be freed if this process ended: clean and dirty private pages of smaps_rollup."""
    text = read(process / "smaps_rollup")
    parts = [_kilobytes(text, "Private_Clean"), _kilobytes(text, "Private_Dirty")]
    return None if None in parts else sum(p for p in parts if p is not None)


def _kilobytes(text: str | None, key: str) -> int | None:
    found = re.search(rf"^{key}:\s+(\d+) kB", text or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def together(read_one: Callable[[Path], int | None], pids: Sequence[int]) -> int | None:
    """What this process and those hold; None if one doesn't say. Pages that several of them map count for each."""
    return total(read_one(place) for place in (_SELF, *(Path(f"/proc/{pid}") for pid in pids)))


def total(parts: Iterable[int | None]) -> int | None:
    """The sum, or None if a part isn't known.

    >>> total([1, 2]), total([1, None])
    (3, None)
    """
    known = list(parts)
    return None if None in known else sum(part for part in known if part is not None)


def reset_peaks(pids: Sequence[int]) -> None:
    """Start the peaks of this process and of those anew, where that is possible."""
    for place in (_SELF, *(Path(f"/proc/{pid}") for pid in pids)):
        reset_peak(place)
