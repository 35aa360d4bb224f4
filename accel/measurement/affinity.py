"""Which cores belong to which instance, and how a thread is kept on its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from accel.measurement import cgroup
from accel.measurement.topology import parse_cpus

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What libraries read once, while they are imported, to size their pools."""

Cores = tuple[int, ...]
"""Numbers of logical processors; empty where the system can't pin (macOS): then nothing is pinned."""


def allowed(root: Path = cgroup.ROOT) -> Cores:
    """The processors that the calling thread may use; () where the system can't say (macOS).

    At another root than "/" its file of the process says, if it is there.
    """
    if root != cgroup.ROOT:
        listed = re.search(r"^Cpus_allowed_list:\s*(\S+)", cgroup.read(root / "proc/self/status") or "", re.MULTILINE)
        if listed:
            return parse_cpus(listed[1])
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def usable(root: Path = cgroup.ROOT) -> Cores:
    """The processors that the calling thread may use, as many as the quota allows, core by core.

    With a quota below the affinity, one processor of each core comes before the second of any: what shares a core
    shares its arithmetic. The order then goes by package and core, so that neighbours in it share caches.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    places = {cpu: _place(cpu, root) for cpu in sorted(os.sched_getaffinity(0))}
    siblings: dict[tuple[int, int], int] = {}
    rank: dict[int, int] = {}
    for cpu, place in places.items():
        rank[cpu] = siblings[place] = siblings.get(place, -1) + 1
    chosen = sorted(places, key=lambda cpu: (rank[cpu], places[cpu], cpu))[: cgroup.usable_cores(root)]
    return tuple(sorted(chosen, key=lambda cpu: (places[cpu], cpu)))


def shares(cores: Cores, count: int) -> tuple[Cores, ...]:
    """Split processors into `count` parts of neighbours, the first ones larger by one where it doesn't divide.

    With more parts than processors they take turns: instance i gets processor i mod n.

    >>> shares((0, 1, 2, 3, 4), 2), shares((0, 1), 3)
    (((0, 1, 2), (3, 4)), ((0,), (1,), (0,)))
    """
    if not cores:
        return ((),) * count
    if count >= len(cores):
        return tuple((cores[i % len(cores)],) for i in range(count))
    each, more = divmod(len(cores), count)
    ends = [i * each + min(i, more) for i in range(count + 1)]
    return tuple(cores[a:b] for a, b in itertools.pairwise(ends))


def pin(cores: Cores) -> None:
    """Keep the calling thread, and threads that it starts from now on, on these processors; () changes nothing."""
    if cores:
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Whatever happens meanwhile, the calling thread may afterwards run where it could before."""
    before = tuple(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ()
    try:
        yield
    finally:
        if before and os.sched_getaffinity(0) != set(before):
            pin(before)


@contextlib.contextmanager
def pinned(cores: Cores) -> Iterator[None]:
    """`pin` for a while; () changes nothing."""
    with restored():
        pin(cores)
        yield


def _place(cpu: int, root: Path) -> tuple[int, int]:
    """(package, core) of a processor; where the system doesn't say, each is a core of its own."""
    topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    package, core = (cgroup.read(topology / name) for name in ("physical_package_id", "core_id"))
    known = package is not None and core is not None and core.strip().isdigit()
    return (int(package or 0), int(core or 0)) if known else (0, cpu)
