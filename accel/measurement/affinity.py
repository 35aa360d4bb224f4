"""Which cores belong to which instance, and how a thread is kept on its own."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from accel.measurement import cgroup
from accel.measurement.topology import Topology, online, topology

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What libraries read once, while they are imported, to size their pools."""

Cores = tuple[int, ...]
"""Numbers of logical processors; empty where the system can't pin (macOS): then nothing is pinned."""


def usable(root: Path = cgroup.ROOT) -> Cores:
    """The processors that the calling thread may use, as many as the quota allows, core by core.

    With a quota below the affinity, one processor of each core comes before the second of any: what shares a core
    shares its arithmetic; and strong cores come before weak ones. The order then goes by kind of core, package, L3 and
    core, so that neighbours in it share caches.
    """
    cpus = cgroup.allowed(root)
    places = _places(cpus, topology(root))
    siblings: dict[tuple[int, ...], int] = {}
    rank: dict[int, int] = {}
    for cpu in cpus:
        rank[cpu] = siblings[places[cpu]] = siblings.get(places[cpu], -1) + 1
    chosen = sorted(cpus, key=lambda cpu: (rank[cpu], places[cpu], cpu))[: cgroup.usable_cores(root)]
    return tuple(sorted(chosen, key=lambda cpu: (places[cpu], cpu)))


def parts(count: int, root: Path = cgroup.ROOT) -> tuple[Cores, ...]:
    """What is usable in `count` parts, each of whole physical cores where there are enough of them."""
    found = topology(root)
    return shares(usable(root), count, found.siblings if found is not None else ())


def shares(cores: Cores, count: int, siblings: Sequence[Cores] = ()) -> tuple[Cores, ...]:
    """Split processors into `count` parts of neighbours, the first ones larger by one where it doesn't divide.

    siblings: the processors of each physical core; none of these is split while there is a whole one for each part.
    With more parts than processors they take turns: part i gets processor i mod n.

    >>> shares((0, 1, 2, 3, 4), 2), shares((0, 1), 3)
    (((0, 1, 2), (3, 4)), ((0,), (1,), (0,)))
    >>> shares((0, 4, 1, 5, 2, 6), 2, [(0, 4), (1, 5), (2, 6)])
    ((0, 4, 1, 5), (2, 6))
    """
    if not cores:
        return ((),) * count
    if count > len(cores):
        return tuple((cores[i % len(cores)],) for i in range(count))
    core_of = {cpu: core for core in siblings for cpu in core}
    whole = [tuple(group) for _, group in itertools.groupby(cores, key=lambda cpu: core_of.get(cpu, (cpu,)))]
    units = whole if len(whole) >= count else [(cpu,) for cpu in cores]
    each, more = divmod(len(units), count)
    ends = [i * each + min(i, more) for i in range(count + 1)]
    return tuple(tuple(itertools.chain(*units[a:b])) for a, b in itertools.pairwise(ends))


def limit(root: Path = cgroup.ROOT) -> str:
    """Why the calling thread may use fewer cores than the machine has processors, in words; "" if it may use all."""
    processors = len(online(root)) or os.cpu_count() or 1
    return cgroup.limited(cgroup.usable_cores(root), processors, cgroup.quota_cores(root), cgroup.allowed(root))


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


def _places(cpus: Cores, found: Topology | None) -> dict[int, tuple[int, ...]]:
    """(kind, memory node, L3, core) of each; -1 for what is not known, and a core of its own where that is not."""
    if found is None:
        return {cpu: (cpu,) for cpu in cpus}
    core = _index(found.siblings)
    groups = [_index(g or ()) for g in (found.kinds, found.nodes, found.l3)]
    return {cpu: (*(index.get(cpu, -1) for index in groups), core.get(cpu, len(core) + cpu)) for cpu in cpus}


def _index(groups: Sequence[Cores]) -> dict[int, int]:
    return {cpu: number for number, group in enumerate(groups) for cpu in group}
