"""A limit on how much processor a process may use: a control group with a quota, or an affinity where groups can't be
made.

A group is a folder below /sys/fs/cgroup, made and removed again; who joins it stays in it with all it starts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from accel.measurement import cgroup

PERIOD_US = 100_000
_NAME = "accel-quota"


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be used. cores: of a quota; group: its folder. cpus: of an affinity, where there is no group."""

    name: str
    cores: float
    group: str = ""
    cpus: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """For a page."""
        if self.cpus:
            return f"affinity to {len(self.cpus)} of the processors"
        return f"a CPU quota of {self.cores:g} core{'' if self.cores == 1 else 's'}"

    def join(self) -> None:
        """Put this process under the limit, for good. Call it before any runtime is imported."""
        if self.cpus:
            os.sched_setaffinity(0, self.cpus)
        else:
            (Path(self.group) / "cgroup.procs").write_text(str(os.getpid()))


def groups(root: Path = cgroup.ROOT) -> Path | None:
    """Where groups with a quota can be made; None if they can't."""
    mount = root / "sys/fs/cgroup"
    v2 = (cgroup.read(mount / "cgroup.controllers") or "").split()
    for place in [mount] if "cpu" in v2 else [mount / "cpu,cpuacct", mount / "cpu"]:
        trial = place / f"{_NAME}-trial-{os.getpid()}"
        try:
            trial.mkdir()
            can = (trial / "cpu.max").exists() or (trial / "cpu.cfs_quota_us").exists()
            trial.rmdir()
        except OSError:
            continue
        if can:
            return place
    return None


@contextmanager
def limited(cores: float) -> Iterator[Limit]:
    """A quota of so many cores; an affinity to as many processors (rounded, at least one) if no group can be made."""
    place = groups()
    if place is None:
        allowed = cgroup.allowed()
        count = max(1, round(cores))
        yield Limit(name=f"affinity-{count}", cores=float(count), cpus=allowed[:count])
        return
    group = place / f"{_NAME}-{os.getpid()}-{cores:g}"
    group.mkdir()
    try:
        quota = max(1000, round(cores * PERIOD_US))
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        yield Limit(name=f"quota-{cores:g}", cores=cores, group=str(group))
    finally:
        _remove(group)


def _remove(group: Path, patience_s: float = 10.0) -> None:
    """A group can be removed once all its processes are gone, which takes a moment after the last one ended."""
    end = time.monotonic() + patience_s
    while True:
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return
