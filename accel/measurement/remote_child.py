"""The process of one engine among several: opens it on its own cores and runs what its measure child asks for."""

from __future__ import annotations

import faulthandler
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel import plugins
from accel.compilation import Arrays
from accel.errors import AccelError, VariantError
from accel.measurement.affinity import pin
from accel.measurement.feeding import Feed
from accel.measurement.opening import open_engines
from accel.measurement.pipe import DONE, FAILED, FETCH, KEEP, OPEN, RUN, Pipe
from accel.measurement.protocol import short, tie_to_parent
from accel.measurement.remote import FDS, Command, Failure, packed
from accel.samples.store import Samples


class Instance:
    """One engine with its own copy of the samples."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._feed: Feed | None = None
        self._last: Arrays = {}
        self._kept: list[Arrays] = []

    def serve(self) -> None:
        """Answer until the other side is gone."""
        send, receive = self._pipe.send, self._pipe.receive
        while True:
            kind, payload = receive()
            if kind == KEEP:
                self._kept.append(self._last)
                continue
            try:
                answer = self._run(payload) if kind == RUN else self._other(kind, payload)
            except Exception as error:
                send(FAILED, msgspec.json.encode(_failure(error)))
            else:
                send(DONE, answer)

    def _run(self, payload: bytes) -> bytes:
        assert self._feed is not None
        ids = np.frombuffer(payload, np.int64).tolist()
        self._last = self._feed.call(ids)
        return b""

    def _other(self, kind: int, payload: bytes) -> bytes:
        if kind == OPEN:
            return self._open(msgspec.json.decode(payload, type=Command))
        assert kind == FETCH
        return packed(self._kept.pop(0))

    def _open(self, command: Command) -> bytes:
        # Before the runtime is imported, so that every pool it ever starts stays on these cores.
        pin(command.cores)
        backend: Any = plugins.make("compilation", command.backend)
        samples = Samples.open(Path(command.samples)).to_ram()
        engines, opened = open_engines(backend, Path(command.folder), [()], lambda text: None, command.denormals)
        self._feed = Feed(engines[0], samples)
        return msgspec.json.encode(opened)


def _failure(error: Exception) -> Failure:
    if isinstance(error, VariantError):
        return Failure(reason=error.reason, next_step=error.next_step)
    return Failure(reason=str(error) if isinstance(error, AccelError) else short(error))


def main() -> None:
    """Serve the pipe that the environment names."""
    tie_to_parent()
    faulthandler.enable()
    read_fd, write_fd = (int(fd) for fd in os.environ.pop(FDS).split(","))
    try:
        Instance(Pipe(read_fd, write_fd)).serve()
    except EOFError:
        return


if __name__ == "__main__":
    main()
