"""How the processors of this machine belong together: packages, cores and their threads, memory nodes, shared caches.

`root` is "/" for this machine; tests hand in a folder that looks like one. Sources: the kernel's
Documentation/ABI/stable/sysfs-devices-system-cpu and admin-guide/cputopology.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from accel.measurement.cgroup import ROOT, parse_cpus, read, shown

Cpus = tuple[int, ...]
"""Numbers of logical processors, ascending."""
_MOST_LISTED = 8


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs together, among the processors that are switched on.

    packages: sockets. cores: physical ones. threads_per_core: the most that any core runs at once (SMT).
    siblings: the processors of each core; the cores in order of package, then of their first processor.
    nodes: the processors of each memory (NUMA) node that has some, in the order of the nodes; None if unknown.
    l2, l3: which processors share one such cache; None where the system tells of none.
    kinds: the processors by strength, the strongest first (big.LITTLE, performance and efficiency cores); None where
        all are alike or the system doesn't say.
    """

    packages: int
    cores: int
    threads_per_core: int
    siblings: tuple[Cpus, ...]
    nodes: tuple[Cpus, ...] | None = None
    l2: tuple[Cpus, ...] | None = None
    l3: tuple[Cpus, ...] | None = None
    kinds: tuple[Cpus, ...] | None = None

    def __str__(self) -> str:
        """In words, for a page.

        >>> str(Topology(packages=1, cores=2, threads_per_core=2, siblings=((0, 2), (1, 3)), l3=((0, 1, 2, 3),)))
        '1 package, 2 cores of 2 threads (0,2 | 1,3), one L3'
        """
        cores = f"{self.cores} {_plural('core', self.cores)}"
        if self.threads_per_core > 1:
            cores += f" of {self.threads_per_core} threads{_which(self.siblings)}"
        parts = [f"{self.packages} {_plural('package', self.packages)}", cores]
        for name, groups in (("L3", self.l3), ("memory node", self.nodes)):
            if groups is not None:
                parts.append(f"one {name}" if len(groups) == 1 else f"{len(groups)} {name}s{_which(groups)}")
        if self.kinds is not None:
            parts.append(f"{len(self.kinds)} kinds of core{_which(self.kinds)}")
        return ", ".join(parts)

    @staticmethod
    def listed(groups: Iterable[Cpus]) -> str:
        """Groups of processors in words ("0-2,8 | 3")."""
        return shown(groups)

    def sharing(self, cpus: Iterable[int]) -> tuple[Cpus, ...]:
        """The cores of which two or more of these processors are threads."""
        wanted = set(cpus)
        found = (tuple(cpu for cpu in core if cpu in wanted) for core in self.siblings)
        return tuple(core for core in found if len(core) > 1)

    def cores_of(self, cpus: Iterable[int]) -> int:
        """How many physical cores these processors belong to; one that isn't known counts as a core of its own."""
        wanted = set(cpus)
        known = {cpu for core in self.siblings for cpu in core}
        return sum(1 for core in self.siblings if wanted & set(core)) + len(wanted - known)


def _which(groups: Sequence[Cpus]) -> str:
    """In brackets, where they aren't too many for a line."""
    return f" ({shown(groups)})" if len(groups) <= _MOST_LISTED else ""


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def topology(root: Path = ROOT) -> Topology | None:
    """Read it; None where the system doesn't tell of cores (macOS, some containers)."""
    system = root / "sys/devices/system/cpu"
    places = _places(system, online(root))
    if not places:
        return None
    cores = sorted({core for _, core in places.values()}, key=lambda core: (places[core[0]][0], core))
    return Topology(
        packages=len({package for package, _ in places.values()}),
        cores=len(cores),
        threads_per_core=max(map(len, cores)),
        siblings=tuple(cores),
        nodes=_nodes(root, set(places)),
        l2=_shared(system, places, 2),
        l3=_shared(system, places, 3),
        kinds=_kinds(root, places),
    )


def online(root: Path = ROOT) -> Cpus:
    """The processors that are switched on."""
    system = root / "sys/devices/system/cpu"
    told = parse_cpus(read(system / "online") or "")
    found = (re.fullmatch(r"cpu(\d+)", path.name) for path in system.glob("cpu[0-9]*"))
    return told or tuple(sorted(int(match[1]) for match in found if match))


def _places(system: Path, cpus: Cpus) -> dict[int, tuple[int, Cpus]]:
    """By processor: its package and the processors of its core; without those of which the system names neither."""
    package = {cpu: _number(system / f"cpu{cpu}/topology/physical_package_id") or 0 for cpu in cpus}
    core = {cpu: _number(system / f"cpu{cpu}/topology/core_id") for cpu in cpus}
    found: dict[int, tuple[int, Cpus]] = {}
    for cpu in cpus:
        told = system / f"cpu{cpu}/topology"
        own = parse_cpus(read(told / "core_cpus_list") or read(told / "thread_siblings_list") or "")
        if not own and core[cpu] is not None:
            own = tuple(other for other in cpus if (package[other], core[other]) == (package[cpu], core[cpu]))
        if own:
            found[cpu] = (package[cpu], tuple(other for other in own if other in package))
    return found


def _number(path: Path) -> int | None:
    """A file's number; ARM boards without a notion of packages say -1."""
    text = (read(path) or "").strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def _nodes(root: Path, known: set[int]) -> tuple[Cpus, ...] | None:
    """Nodes without processors (memory alone) aren't listed."""
    folders = sorted((root / "sys/devices/system/node").glob("node[0-9]*"), key=lambda p: int(p.name[4:]))
    each = (tuple(c for c in parse_cpus(read(folder / "cpulist") or "") if c in known) for folder in folders)
    return tuple(node for node in each if node) or None


def _shared(system: Path, cpus: Iterable[int], level: int) -> tuple[Cpus, ...] | None:
    """The sets of processors that share a cache of this level."""
    found: set[Cpus] = set()
    for cpu in cpus:
        for folder in (system / f"cpu{cpu}/cache").glob("index*"):
            if (read(folder / "level") or "").strip() == str(level):
                found.add(parse_cpus(read(folder / "shared_cpu_list") or ""))
    return tuple(sorted(found - {()})) or None


def _kinds(root: Path, cpus: Iterable[int]) -> tuple[Cpus, ...] | None:
    """By the kernel's capacity of each processor (ARM), else by its lists of performance and efficiency cores (x86)."""
    by_capacity: dict[int, list[int]] = {}
    for cpu in cpus:
        text = (read(root / f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity") or "").strip()
        if text.isdigit():
            by_capacity.setdefault(int(text), []).append(cpu)
    listed = (parse_cpus(read(root / f"sys/devices/{name}/cpus") or "") for name in ("cpu_core", "cpu_atom"))
    kinds = [tuple(by_capacity[c]) for c in sorted(by_capacity, reverse=True)] or [k for k in listed if k]
    return tuple(kinds) if len(kinds) > 1 else None
