"""An engine in a process of its own, as the measure child sees it: a feed like any other.

Sample ids go over, not inputs: the process has its own copy of the samples. Outputs come back after the run, and only
those that are to be checked; the span that is timed holds the engine's call and one message each way.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays
from accel.errors import VariantError
from accel.measurement.affinity import THREAD_VARIABLES, Cores
from accel.measurement.denormals import Denormals
from accel.measurement.feeding import Feed, InstanceLost, Pool, lengths_of
from accel.measurement.opening import Opened
from accel.measurement.pipe import DONE, FAILED, FETCH, KEEP, OPEN, RUN, Pipe
from accel.measurement.protocol import PARENT_PID, REPLY_FD
from accel.plugins import Named

FDS = "ACCEL_INSTANCE_FDS"
_IDS = "ids"


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What one instance is told to open, and on which processors."""

    backend: Named
    folder: str
    samples: str
    cores: Cores
    denormals: Denormals = "zero"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a process could not do what it was asked."""

    reason: str
    next_step: str = ""


class RemoteFeed(Feed):
    """A feed whose engine runs elsewhere; it belongs to one worker.

    rows hold sample ids. What `run` and `call` return is empty until it was kept and collected.
    """

    def __init__(self, command: Command, pool: Pool, *, number: int, of: int) -> None:
        """Start the process and tell it to open; `ready` waits for it. `pool` says how many samples there are."""
        self._who = f"instance {number} of {of}"
        self._process, self._pipe = _start(command.cores)
        self._kept: list[Arrays] = []
        self._doing = "it was opened"
        self.rows = [{_IDS: np.array([i], np.int64)} for i in range(pool.count)]
        self.lengths = lengths_of(pool)
        self._tell(OPEN, msgspec.json.encode(command))

    @property
    def pid(self) -> int:
        """The process that holds the engine."""
        return self._process.pid

    def ready(self) -> Opened:
        """Wait until it is open. Raises VariantError with the reason if it can't be, InstanceLost if it died."""
        opened = msgspec.json.decode(self._answer(), type=Opened)
        self._sizes = opened.sizes
        self.alone = opened.sizes is None or opened.sizes[0] == 1
        self.cap = opened.sizes[-1] if opened.sizes else None
        self._doing = "it ran"
        return opened

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Run one of `rows`."""
        return self._run(inputs[_IDS].tobytes())

    def call(self, ids: Sequence[int]) -> Arrays:
        """Run the samples `ids` together; stacking and padding happen there."""
        return self._run(np.asarray(ids, np.int64).tobytes())

    def _run(self, ids: bytes) -> Arrays:
        self._tell(RUN, ids)
        self._answer()
        return {}

    def keep(self, outputs: Arrays) -> Arrays:
        """Have the outputs of the call that just ended kept there; what is returned is filled by `collect`."""
        self._tell(KEEP)
        self._kept.append(outputs)
        return outputs

    def collect(self) -> None:
        """Fetch everything that was kept."""
        for outputs in self._kept:
            self._tell(FETCH)
            outputs.update(unpacked(self._answer()))
        self._kept.clear()

    def close(self) -> None:
        """End the process; may be called twice."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _tell(self, kind: int, payload: bytes = b"") -> None:
        try:
            if self._pipe is None:
                raise EOFError
            self._pipe.send(kind, payload)
        except EOFError:
            raise self._lost() from None

    def _answer(self) -> bytes:
        try:
            if self._pipe is None:
                raise EOFError
            kind, payload = self._pipe.receive()
        except EOFError:
            raise self._lost() from None
        if kind == FAILED:
            failure = msgspec.json.decode(payload, type=Failure)
            raise VariantError(failure.reason, failure.next_step)
        assert kind == DONE
        return payload

    def _lost(self) -> InstanceLost:
        # Imported here: psutil has no business in a measure child whose engines live.
        from accel.measurement.isolation import death

        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            code = None
        return InstanceLost(
            f"{self._who} {death(code)} while {self._doing}",
            "Use fewer instances, or look into the log of the study for what it printed last.",
        )


def packed(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Named arrays as bytes; no pickle."""
    buffer = io.BytesIO()
    stored = {f"data_{i}": np.asarray(value) for i, value in enumerate(arrays.values())}
    np.savez(buffer, allow_pickle=False, names=np.array(list(arrays), np.str_), **stored)
    return buffer.getvalue()


def unpacked(data: bytes) -> Arrays:
    """What `packed` made of them."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {str(name): file[f"data_{i}"] for i, name in enumerate(file["names"])}


def _start(cores: Cores) -> tuple[subprocess.Popen[bytes], Pipe | None]:
    """A process of this one's own session, so that whoever stops or ends this one stops or ends it too."""
    asks_read, asks_write = os.pipe()
    answers_read, answers_write = os.pipe()
    env = {k: v for k, v in os.environ.items() if k != REPLY_FD}
    env |= {PARENT_PID: str(os.getpid()), FDS: f"{asks_read},{answers_write}"}
    if cores:
        env |= {name: str(min(int(env.get(name, len(cores))), len(cores))) for name in THREAD_VARIABLES}
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "accel.measurement.remote_child"],
            stdin=subprocess.DEVNULL,
            env=env,
            cwd=Path.cwd(),
            pass_fds=(asks_read, answers_write),
        )
    except OSError:
        os.close(asks_write)
        os.close(answers_read)
        raise
    finally:
        os.close(asks_read)
        os.close(answers_write)
    return process, Pipe(answers_read, asks_write)
