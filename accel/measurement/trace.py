"""What happened to each request, and nothing else: raw int64 nanoseconds.

Every number accel prints is a function of it.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

OK, ERROR, UNFINISHED, DROPPED = 0, 1, 2, 3
_COLUMNS = ("due", "taken", "started", "finished", "batch", "batch_size", "sample", "status", "warmup", "held")
_LONG_AGO = -(1 << 62)


class Trace(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One row a request, in the order in which they were due; times in ns since the run's start, on CLOCK_MONOTONIC.

    due: when the request arrived by its schedule (closed loop: when it was issued).
    taken: when a worker took it.       started: when its batch entered the engine (stacking and padding included).
    finished: when its outputs were on the host; -1 if it never finished.
    batch: which batch it was in.       batch_size: how many requests that batch held.
    sample: index into the pool.        status: 0 ok, 1 error, 2 unfinished at the drain limit, 3 dropped: given up by
        the policy (taken says when; it never started).
    warmup: 1 for requests that are shown but not counted.
    held: until when the policy held the batch back after its last request had come, for its timer's sake or until
        another arrival; 0 where it didn't, None: in no batch.

    lag, latency and the rest are methods, so that there is one definition of each.
    """

    due: Int64
    taken: Int64
    started: Int64
    finished: Int64
    batch: Int64
    batch_size: Int64
    sample: Int64
    status: Int64
    warmup: Int64
    held: Int64 | None = None

    def __len__(self) -> int:
        return len(self.due)

    def counted(self) -> Trace:
        """The requests that count: everything but the warm-up."""
        return self.where(self.warmup == 0)

    def ok(self) -> Trace:
        """The requests that were answered."""
        return self.where(self.status == OK)

    def where(self, mask: npt.NDArray[np.bool_]) -> Trace:
        """The requests for which `mask` (n,) is true."""
        return Trace(**{name: column[mask] for name, column in self._columns().items()})

    def _columns(self) -> dict[str, Any]:
        return {c: getattr(self, c) for c in _COLUMNS if getattr(self, c) is not None}

    @property
    def latency_ns(self) -> Int64:
        """finished - due: what the one who asked waited, queueing and a late harness included."""
        return self.finished - self.due

    @property
    def service_ns(self) -> Int64:
        """finished - started: what the engine took for the batch the request was in."""
        return self.finished - self.started

    def lag_ns(self, workers: int = 1) -> Int64:
        """How late the harness was: started - max(due of the batch's last request, when a worker became free).

        Waiting for batch mates is the policy's choice, so it is no lag, and neither is its timer (`held`). When workers
        became free is replayed from the finish times, first free first; requests that never ran get 0.
        """
        lag = np.zeros(len(self), np.int64)
        ran = np.flatnonzero(self.finished >= 0)
        ran = ran[np.argsort(self.batch[ran], kind="stable")]
        if not len(ran):
            return lag
        heads = np.flatnonzero(np.diff(self.batch[ran], prepend=-1))
        first = ran[heads]
        ready = np.maximum.reduceat(self.due[ran], heads)
        if self.held is not None:
            ready = np.maximum(ready, self.held[first])
        late = self.started[first] - np.maximum(ready, _became_free(self.finished[first], workers))
        lag[ran] = np.repeat(late, np.diff(heads, append=len(ran)))
        return lag

    def save(self, path: Path) -> str:
        """Write as .npz by temporary file, fsync and rename; gives the sha256 of the file."""
        temporary = path.with_name(path.name + ".part")
        with temporary.open("wb") as file:
            np.savez_compressed(file, **self._columns())
            file.flush()
            os.fsync(file.fileno())
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        temporary.replace(path)
        return digest

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Read what `save` wrote; pickled content is refused by numpy."""
        # Opened here, since numpy leaves a damaged file open.
        with path.open("rb") as data, np.load(data, allow_pickle=False) as file:
            return cls(**{c: file[c].astype(np.int64) for c in _COLUMNS if c != "held" or c in file.files})


def _became_free(finished: Int64, workers: int) -> Int64:
    """(batches,) when the worker that took each batch had become free, by when batches finished."""
    if workers == 1:
        return np.concatenate(([_LONG_AGO], finished[:-1]))
    free, found = [_LONG_AGO] * workers, []
    for end in finished.tolist():
        found.append(heapq.heappop(free))
        heapq.heappush(free, end)
    return np.array(found, np.int64)
