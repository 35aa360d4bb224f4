"""What this process may use: processors (affinity), the control group's quota, and how often it throttled (v1 and v2).

`root` is "/" for this machine; tests hand in a folder that looks like one.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path("/")


def read(path: Path) -> str | None:
    """The text of a file, or None where there is none or it may not be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's group for one controller, innermost first, then its ancestors.

    v2 is one tree below /sys/fs/cgroup; v1 has one tree a controller. Inside a container the path that
    /proc/self/cgroup names may not be visible; the mount point itself then is the group, and comes last anyway.
    """
    mount = root / "sys/fs/cgroup"
    own, base = "/", mount
    for line in (read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "" and (mount / "cgroup.controllers").exists():
            own, base = path, mount
            break
        if controller in controllers.split(","):
            named = [mount / controllers, mount / controller]
            own, base = path, next((m for m in named if m.is_dir()), mount / controller)
    parts = [p for p in own.split("/") if p and p != ".."]
    for depth in range(len(parts), -1, -1):
        folder = base.joinpath(*parts[:depth])
        if folder.is_dir():
            yield folder


def version(root: Path = ROOT) -> int | None:
    """2 if the controllers are in one tree, 1 if each has its own; None without control groups."""
    mount = root / "sys/fs/cgroup"
    if (mount / "cgroup.controllers").exists():
        return 2
    return 1 if any((mount / name).is_dir() for name in ("cpu", "cpu,cpuacct", "memory")) else None


def quota_cores(root: Path = ROOT) -> float | None:
    """How many cores the tightest CPU quota allows; None without a quota."""
    found = [q for folder in folders(root, "cpu") if (q := _quota(folder)) is not None]
    return min(found, default=None)


def _quota(folder: Path) -> float | None:
    both = (read(folder / "cpu.max") or "").split()
    if len(both) == 2 and both[0] != "max":
        return int(both[0]) / int(both[1])
    quota, period = read(folder / "cpu.cfs_quota_us"), read(folder / "cpu.cfs_period_us")
    if quota and period and int(quota) > 0:
        return int(quota) / int(period)
    return None


def memory_limit(root: Path = ROOT) -> int | None:
    """The tightest memory limit in bytes; None without one."""
    found: list[int] = []
    for folder in folders(root, "memory"):
        text = (read(folder / "memory.max") or read(folder / "memory.limit_in_bytes") or "").strip()
        # v1 says "no limit" as a number near 2**63.
        if text.isdigit() and int(text) < 1 << 60:
            found.append(int(text))
    return min(found, default=None)


def throttling(root: Path = ROOT) -> dict[str, int] | None:
    """`nr_periods` and `nr_throttled` of the innermost group that has a cpu.stat with them; None if none has."""
    for folder in folders(root, "cpu"):
        text = read(folder / "cpu.stat")
        values = parse_stat(text or "")
        if "nr_throttled" in values:
            return values
    return None


def parse_stat(text: str) -> dict[str, int]:
    """Read `key value` lines.

    >>> parse_stat("nr_periods 10\\nnr_throttled 3\\n")
    {'nr_periods': 10, 'nr_throttled': 3}
    """
    pairs = [line.split() for line in text.splitlines()]
    return {p[0]: int(p[1]) for p in pairs if len(p) == 2 and p[1].lstrip("-").isdigit()}


def allowed(root: Path = ROOT) -> tuple[int, ...]:
    """The processors that the calling thread may use; () where the system can't say (macOS).

    At another root than "/" its file of the process says, if it is there.
    """
    if root != ROOT:
        listed = re.search(r"^Cpus_allowed_list:\s*(\S+)", read(root / "proc/self/status") or "", re.MULTILINE)
        if listed:
            return parse_cpus(listed[1])
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def parse_cpus(text: str) -> tuple[int, ...]:
    """Processors from the kernel's way of listing them, ascending.

    >>> parse_cpus("0-2,8,10-11\\n"), parse_cpus("")
    ((0, 1, 2, 8, 10, 11), ())
    """
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            found |= set(range(int(first), int(last) + 1 if last.isdigit() else int(first) + 1))
    return tuple(sorted(found))


def usable_cores(root: Path = ROOT) -> int:
    """Cores this process may really use: affinity and quota both counted, at least 1.

    A part of a core is left out: with one thread too many the quota holds all of them up, for the rest of its period.
    """
    affinity = len(allowed(root)) or os.cpu_count() or 1
    quota = quota_cores(root)
    return max(1, affinity if quota is None else min(affinity, math.floor(quota)))


def limited(cores: int, processors: int, quota: float | None, allowed: tuple[int, ...] | None) -> str:
    """Why fewer cores are used than the machine has processors, in words; "" if all of them are.

    >>> limited(1, 2, 0.5, (0, 1)), limited(2, 2, None, (0, 1))
    ('1 of 2 processors: a CPU quota of 0.5 cores', '')
    """
    reasons = []
    if quota is not None and quota < processors:
        reasons.append(f"a CPU quota of {quota:g} core{'' if quota == 1 else 's'}")
    if allowed and len(allowed) < processors:
        reasons.append(f"affinity to processor{'' if len(allowed) == 1 else 's'} {shown([allowed])} alone")
    return f"{cores} of {processors} processors: {' and '.join(reasons)}" if reasons else ""


def shown(groups: Iterable[tuple[int, ...]]) -> str:
    """Groups of processors as the kernel would list them.

    >>> shown([(0, 1, 2, 8), (3,)])
    '0-2,8 | 3'
    """
    return " | ".join(_listed(group) for group in groups)


def _listed(cpus: tuple[int, ...]) -> str:
    spans: list[list[int]] = []
    for cpu in sorted(cpus):
        if spans and cpu == spans[-1][1] + 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
