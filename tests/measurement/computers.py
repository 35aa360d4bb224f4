"""Folders that look like the /proc and /sys of computers of various kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Files = dict[str, str]


def computer(
    cores: Sequence[Sequence[int]],
    *,
    packages: Sequence[int] | None = None,
    l2: Iterable[Sequence[int]] = (),
    l3: Iterable[Sequence[int]] = (),
    nodes: Iterable[Sequence[int]] = (),
    capacity: Mapping[int, int] | None = None,
) -> Files:
    """cores: the processors of each core. packages: the package of each core. capacity: of each processor (ARM)."""
    files: Files = {}
    for number, core in enumerate(cores):
        for cpu in core:
            place = f"sys/devices/system/cpu/cpu{cpu}/topology"
            files[f"{place}/thread_siblings_list"] = listed(core)
            files[f"{place}/physical_package_id"] = f"{packages[number] if packages else 0}\n"
    for index, level, groups in ((2, 2, l2), (3, 3, l3)):
        for group in groups:
            for cpu in group:
                place = f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
                files |= {f"{place}/level": f"{level}\n", f"{place}/shared_cpu_list": listed(group)}
    for number, node in enumerate(nodes):
        files[f"sys/devices/system/node/node{number}/cpulist"] = listed(node)
    for cpu, value in (capacity or {}).items():
        files[f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity"] = f"{value}\n"
    every = [cpu for core in cores for cpu in core]
    files["sys/devices/system/cpu/online"] = listed(every)
    files["proc/self/status"] = f"Name:\tx\nCpus_allowed_list:\t{listed(every)}"
    return files


def listed(cpus: Sequence[int]) -> str:
    """As the kernel writes it, but without spans."""
    return ",".join(map(str, sorted(cpus))) + "\n"


def quota_v2(cores: float) -> Files:
    """A container under cgroup v2 with this much processor."""
    return {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu\n",
        "sys/fs/cgroup/cpu.max": f"{cores * 100_000:.0f} 100000\n",
    }


def quota_v1(cores: float) -> Files:
    """The same under v1."""
    return {
        "proc/self/cgroup": "3:cpu,cpuacct:/\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": f"{cores * 100_000:.0f}\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }


def write(files: Files, root: Path) -> Path:
    """Make them below `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


INTEL_SMT = computer(
    [(0, 4), (1, 5), (2, 6), (3, 7)],
    l2=[(0, 4), (1, 5), (2, 6), (3, 7)],
    l3=[(0, 1, 2, 3, 4, 5, 6, 7)],
    nodes=[(0, 1, 2, 3, 4, 5, 6, 7)],
)
"""One package, four cores of two threads, numbered as Intel's firmware does: the second threads come last."""

AMD_TWO_L3 = computer(
    [(0,), (1,), (2,), (3,), (4,), (5,)],
    l2=[(0,), (1,), (2,), (3,), (4,), (5,)],
    l3=[(0, 2, 4), (1, 3, 5)],
    nodes=[(0, 1, 2, 3, 4, 5)],
)
"""One package, two groups of three cores, each with an L3 of its own; their numbers alternate."""

TWO_SOCKETS = computer([(0, 2), (1, 3)], packages=[0, 1], l3=[(0, 2), (1, 3)], nodes=[(0, 2), (1, 3)])

BIG_LITTLE = computer([(i,) for i in range(6)], capacity={0: 400, 1: 400, 2: 400, 3: 400, 4: 1024, 5: 1024})
"""ARM: four small cores, then two big ones; nothing is said of caches."""
