"""Products of matrices with numpy: each thread its own, so that the library's own threads don't matter."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from accel.measurement.rounds import Crew, Work

SIZES = (256, 512, 1024)


@contextlib.contextmanager
def multiplying(size: int, threads: int) -> Iterator[Work]:
    """float32 products of `size` x `size`, one a thread at a time. The library must be held to one thread itself."""
    crew = Crew([_multiplies(size) for _ in range(threads)])
    try:
        source = f"numpy {np.__version__} float32 product, {threads} x {size}"
        yield Work(run=crew.run, amount=2.0 * size**3 * threads, source=source)
    finally:
        crew.close()


def _multiplies(size: int) -> Callable[[int], object]:
    rng = np.random.default_rng(size)
    left, right = (rng.standard_normal((size, size), np.float32) for _ in range(2))
    out = np.empty_like(left)

    def run(times: int) -> None:
        for _ in range(times):
            np.matmul(left, right, out=out)

    return run
