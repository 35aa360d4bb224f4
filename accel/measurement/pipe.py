"""Frames between a measure child and the process of one of its engines: a kind, a length, some bytes."""

from __future__ import annotations

import os
import struct

_HEADER = struct.Struct("<BQ")
OPEN, RUN, KEEP, FETCH, DONE, FAILED = range(6)
"""Asked: open the artefact; run these sample ids; keep the last outputs; hand over what was kept.
Answered: done (with what was asked for), or failed (with the reason). KEEP has no answer."""


class Pipe:
    """Two ends of two pipes; `receive` raises EOFError once the other side is gone."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self._buffer = b""

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Write one frame, in one call where the pipe takes it; EOFError if nobody reads any more."""
        data = _HEADER.pack(kind, len(payload)) + payload
        try:
            while data:
                data = data[os.write(self._write_fd, data) :]
        except BrokenPipeError:
            raise EOFError from None

    def receive(self) -> tuple[int, bytes]:
        """The next frame, however long it takes."""
        while len(self._buffer) < _HEADER.size:
            self._buffer += self._more()
        kind, length = _HEADER.unpack_from(self._buffer)
        parts, missing = [self._buffer[_HEADER.size :]], length + _HEADER.size - len(self._buffer)
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        data = b"".join(parts) if len(parts) > 1 else parts[0]
        self._buffer = data[length:]
        return kind, data[:length]

    def _more(self) -> bytes:
        data = os.read(self._read_fd, 1 << 16)
        if not data:
            raise EOFError
        return data

    def close(self) -> None:
        """Close this side's ends, which the other side notices."""
        os.close(self._read_fd)
        os.close(self._write_fd)
