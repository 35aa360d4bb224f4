"""How many bytes a second can be read from each level of memory? numpy alone, one buffer a thread.

A buffer is read again and again by an integer reduction whose loop is in C and holds no lock, so that threads don't
wait for each other. Reading is what a network does with its weights; of main memory also a copy is tried (a byte read
and a byte written count two), and the faster one counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from accel.measurement.rounds import Crew, Work

_RAM_LEAST, _RAM_MOST = 64 << 20, 1 << 30
_CALL_BYTES, _COPIED = 64 << 20, 4 << 20
"""What one call reads, so that threads seldom wait for the interpreter; from what size on a buffer is also copied."""
_BEYOND = 4
"""How many times the last cache the buffers in main memory are together, so that it can't hold a relevant part."""


def buffer_bytes(
    level: str, threads: int, caches: dict[str, int], l3_count: int = 1, memory_bytes: int | None = None
) -> int | str:
    """Bytes of one thread's buffer, so that all of them lie in `level` ("l2", "l3", "ram"); else why there is none.

    caches: bytes of a core's L2 and of one L3. l3_count: how many L3 the threads' cores have together. Half a cache is
    filled, and twice the level before it at least.
    """
    l2, l3 = caches.get("L2"), caches.get("L3")
    if level == "l2":
        return "the system doesn't tell the size of L2" if l2 is None else l2 // 2
    if level == "l3":
        if l2 is None or l3 is None:
            return "there is no L3, or the system doesn't tell its size"
        share = l3 * min(l3_count, threads) // 2 // threads
        return share if share >= 2 * l2 else f"the share of a thread in L3 ({share >> 10} KiB) is too near to its L2"
    largest = max((l3 or 0) * l3_count, (l2 or 0) * threads)
    wanted = min(max(_BEYOND * largest, _RAM_LEAST), _RAM_MOST)
    most = wanted if memory_bytes is None else min(wanted, memory_bytes // 8)
    return "the caches are too large beside the memory" if most < 2 * largest else most // threads


@contextlib.contextmanager
def reading(size: int, threads: int) -> Iterator[tuple[Work, ...]]:
    """Ways to read buffers of `size` bytes on `threads` threads, and to copy where they are large."""
    repeats = max(1, _CALL_BYTES // size)
    buffers = [np.ones(size // 8, np.int64) for _ in range(threads)]
    ways: list[tuple[str, int, list[Callable[[int], object]]]] = [
        ("numpy maximum of int64", repeats, [_reduces(np.maximum, b, repeats) for b in buffers]),
        ("numpy bitwise or of int64", repeats, [_reduces(np.bitwise_or, b, repeats) for b in buffers]),
    ]
    if size >= _COPIED:
        ways.append(("numpy copy of int64", 2, [_copies(b, np.empty_like(b)) for b in buffers]))
    crews = [Crew(parts) for _, _, parts in ways]
    try:
        yield tuple(
            Work(run=crew.run, amount=float(moved * size * threads), source=f"{name}, {threads} x {_shown(size)}")
            for crew, (name, moved, _) in zip(crews, ways, strict=True)
        )
    finally:
        for crew in crews:
            crew.close()


def _reduces(how: np.ufunc, buffer: npt.NDArray[np.int64], repeats: int) -> Callable[[int], object]:
    # Rows that all lie at the same place: one call reads the buffer `repeats` times without coming back to Python.
    rows = np.lib.stride_tricks.as_strided(buffer, (repeats, buffer.size), (0, buffer.itemsize), writeable=False)

    def run(times: int) -> None:
        for _ in range(times):
            how.reduce(rows, axis=1)

    return run


def _copies(source: npt.NDArray[np.int64], target: npt.NDArray[np.int64]) -> Callable[[int], object]:
    def run(times: int) -> None:
        for _ in range(times):
            np.copyto(target, source)

    return run


def _shown(size: int) -> str:
    return f"{size / 2**20:.3g} MiB"
