"""The engines of one variant: one for all workers, one a worker in threads of this process, or one a process.

Each of several engines has its own share of the cores: it is opened there, so that the pools of its runtime fit, and
its worker runs there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from accel import plugins
from accel.compilation import Backend, Effective, Engine
from accel.errors import VariantError
from accel.measurement import affinity
from accel.measurement.affinity import Cores
from accel.measurement.denormals import Denormals
from accel.measurement.feeding import Feed
from accel.measurement.memory import total
from accel.measurement.opening import Opened, open_engines
from accel.measurement.remote import Command, RemoteFeed
from accel.plugins import Named
from accel.result import Memory
from accel.samples.store import Samples

Placement = Literal["shared", "threads", "processes"]
_WORDS = {
    "shared": "{} callers of one engine",
    "threads": "{}, an engine each in a thread of its own",
    "processes": "{}, an engine each in a process of its own",
}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """`open`: an artefact, and how many instances of it are to run where.

    denormals: what becomes of numbers below the smallest normal one; the same for all that are compared.
    """

    backend: Named
    folder: str
    samples: str
    instances: int = 1
    placement: Placement = "shared"
    denormals: Denormals = "zero"


class Instances(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is open. feeds: one a worker, or one for any number of them ("shared"). pids: processes beside this one.

    notes: what has to be said beside every number.
    """

    feeds: tuple[Feed, ...]
    opened: Opened
    pids: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def feeds_for(self, workers: int) -> tuple[Feed, ...]:
        """A feed for each worker.

        Raises VariantError if there are too few engines, or if the only one takes one call at a time.
        """
        if len(self.feeds) > 1 and workers <= len(self.feeds):
            return self.feeds[:workers]
        if workers > 1 and (len(self.feeds) > 1 or not self.opened.parallel_runs):
            held = "this engine runs one batch at a time" if len(self.feeds) == 1 else f"{len(self.feeds)} are open"
            raise VariantError(
                f"{workers} workers were asked for, but {held}",
                'Give each an engine of its own: placement = "threads" or "processes".',
            )
        return self.feeds * workers


class PinnedFeed(Feed):
    """A feed whose workers keep to the engine's own cores."""

    def __init__(self, engine: Engine, pool: Samples, cores: Cores) -> None:
        super().__init__(engine, pool)
        self._cores = cores

    def enter(self) -> None:
        """Keep the calling thread on the cores of this engine."""
        affinity.pin(self._cores)


def open_instances(asked: Asked, samples: Samples, say: Callable[[str], None]) -> Instances:
    """Open what is asked for. Raises MissingLibrary, VariantError (with the reason of whichever instance fails)."""
    if asked.placement == "processes":
        return _processes(asked, samples, say)
    backend = beside_others(plugins.make("compilation", asked.backend), asked)
    folder = Path(asked.folder)
    if asked.placement == "shared":
        engines, opened = open_engines(backend, folder, [()], say, asked.denormals)
        effective = _effective([opened.effective], asked, ())
        return Instances(
            feeds=(Feed(engines[0], samples),), opened=msgspec.structs.replace(opened, effective=effective)
        )
    _check_threads(backend, asked.backend.name)
    shares = affinity.parts(asked.instances)
    engines, opened = open_engines(backend, folder, shares, say, asked.denormals)
    effective = _effective([opened.effective, *(e.effective for e in engines[1:])], asked, shares)
    feeds = tuple(PinnedFeed(e, samples, cores) for e, cores in zip(engines, shares, strict=True))
    opened = msgspec.structs.replace(opened, effective=effective)
    return Instances(feeds=feeds, opened=opened, notes=_crowded(shares))


def _processes(asked: Asked, samples: Samples, say: Callable[[str], None]) -> Instances:
    """Start all of them, so that they open side by side, then wait for each."""
    say(f"opening {asked.instances} processes")
    backend = plugins.plain(beside_others(plugins.make("compilation", asked.backend), asked))
    shares = affinity.parts(asked.instances)
    feeds: list[RemoteFeed] = []
    try:
        for i, cores in enumerate(shares, 1):
            command = Command(
                backend=backend, folder=asked.folder, samples=asked.samples, cores=cores, denormals=asked.denormals
            )
            feeds.append(RemoteFeed(command, samples, number=i, of=asked.instances))
        parts = [feed.ready() for feed in feeds]
    except BaseException:
        for feed in feeds:
            feed.close()
        raise
    opened = msgspec.structs.replace(
        parts[0],
        import_s=max(p.import_s for p in parts),
        open_s=max(p.open_s for p in parts),
        parallel_runs=False,
        effective=_effective([p.effective for p in parts], asked, shares),
        peaks=Memory(
            peak_import_bytes=total(p.peaks.peak_import_bytes for p in parts),
            peak_load_bytes=total(p.peaks.peak_load_bytes for p in parts),
        ),
    )
    pids = tuple(feed.pid for feed in feeds)
    return Instances(feeds=tuple(feeds), opened=opened, pids=pids, notes=_crowded(shares))


def beside_others(backend: Backend, asked: Asked) -> Backend:
    """The backend as one of several instances, where nobody asked for something else: its pools don't spin, since what
    burns a core while it waits takes it from another instance; and engines in one process leave the pinning to us.

    A runtime that pins by itself counts the cores from the first one in every engine: with two engines of OpenVINO in
    a process all their threads share one core, at half of the rate.
    """
    fields = [*(["spinning"] if asked.instances > 1 else []), *(["pinning"] if asked.placement == "threads" else [])]
    unasked = {name: False for name in fields if getattr(backend, name, False) is None}
    return msgspec.structs.replace(backend, **unasked) if unasked else backend  # type: ignore[type-var]  # a struct


def _check_threads(backend: Backend, name: str) -> None:
    if not getattr(backend, "shares_process", True):
        raise VariantError(
            f"several engines of the backend `{name}` can't live in one process",
            'Use placement = "processes".',
        )


def _effective(parts: Sequence[Effective], asked: Asked, shares: Sequence[Cores]) -> Effective:
    """What really runs, of all together: threads are added up, and it is said where they run."""
    limit = affinity.limit()
    known = {**parts[0].detail, **({"limited to": limit} if limit else {})}
    if asked.instances == 1:
        return msgspec.structs.replace(parts[0], detail=known)
    detail = {**known, "instances": _WORDS[asked.placement].format(asked.instances)}
    if any(shares):
        detail["cores"] = " | ".join(",".join(map(str, cores)) for cores in shares)
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE":
        detail.setdefault("spinning", "off in OpenMP pools (OMP_WAIT_POLICY)")
    return msgspec.structs.replace(parts[0], threads=sum(p.threads for p in parts), detail=detail)


def _crowded(shares: Sequence[Cores]) -> tuple[str, ...]:
    cores = {core for share in shares for core in share}
    if not cores or len(shares) <= len(cores):
        return ()
    return (f"{len(shares)} instances share {len(cores)} core{'s' if len(cores) > 1 else ''}, so they take turns",)
