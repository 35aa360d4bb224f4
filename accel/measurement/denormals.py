"""Numbers below the smallest normal one: do they become zero in this thread, and how is that set?

Arithmetic on such numbers (denormals; below 1.2e-38 in float32) takes a processor up to a hundred times as long. By
default no runtime turns them into zero, but a library compiled for fast mathematics does so for the thread that loads
it, and with it for runtimes that follow that thread. So a measure child sets it, the same for all: they become zero.
torch follows the thread that calls it, OpenVINO the thread that compiles the model; ONNX Runtime sets every thread it
touches by an option of its session (off if it isn't given, whatever was set before), so it is given where the thread
that opens the session has it.

Set through the C library: C11 7.6 (fenv.h); bits of MXCSR from the Intel SDM volume 1, 10.2.3, and of FPCR from the
Arm Architecture Reference Manual, C5.2.8. A thread inherits the setting from the one that starts it.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Denormals = Literal["zero", "kept"]

_PLACES = {"x86_64": (7, 0x8040), "aarch64": (0, 1 << 24)}
"""By architecture: which 32-bit word of the GNU C library's fenv_t holds the switch, and its bits."""


def flush(*, on: bool = True) -> bool:
    """Make the calling thread, and those it starts from now on, turn such numbers into zero, or keep them.

    Gives what holds afterwards: where it can't be set (other systems than Linux with the GNU C library), what held
    before.
    """
    place = _PLACES.get(platform.machine())
    floating = _library() if place is not None else None
    if place is None or floating is None:
        return flushes()
    # numpy works these out when they are first asked for, and warns where the smallest numbers are zero.
    for kind in (np.float32, np.float64, np.longdouble):
        np.finfo(kind)
    word, bits = place
    state = (ctypes.c_uint32 * 16)()
    floating.fegetenv(ctypes.byref(state))
    state[word] = state[word] | bits if on else state[word] & ~bits
    floating.fesetenv(ctypes.byref(state))
    return flushes()


def _library() -> ctypes.CDLL | None:
    """The mathematical part of the GNU C library, whose fenv_t is known; None elsewhere."""
    try:
        return ctypes.CDLL("libm.so.6") if sys.platform == "linux" else None
    except OSError:
        return None


def flushes() -> bool:
    """Whether the calling thread turns such numbers into zero."""
    return bool(np.float64(2.0**-1022) * np.float64(0.5) == 0.0)


@contextmanager
def flushed(*, on: bool = True) -> Iterator[bool]:
    """`flush` for a while; threads started meanwhile keep it."""
    before = flushes()
    try:
        yield flush(on=on)
    finally:
        flush(on=before)


def share(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
    """Which part of the numbers of each array is denormal, without those that have none (or aren't floats).

    The zeros of an array count as numbers. Read bit by bit, so that it doesn't matter what this thread does with them.

    >>> share({"x": np.array([0.0, 1.0, 1e-40, -1e-40], np.float32), "ids": np.array([1, 2])})
    {'x': 0.5}
    """
    found = {name: _count(array) / max(array.size, 1) for name, array in arrays.items()}
    return {name: part for name, part in found.items() if part > 0}


_BITS: dict[str, tuple[type[np.unsignedinteger[Any]], int, int]] = {
    "float32": (np.uint32, 0x7F800000, 0x007FFFFF),
    "float64": (np.uint64, 0x7FF0000000000000, 0x000FFFFFFFFFFFFF),
}
"""By dtype: an integer of its size, the bits of its exponent and those of its fraction (IEEE 754-2019, 3.4)."""
_AT_ONCE = 1 << 22


def _count(array: npt.NDArray[Any]) -> int:
    if array.dtype.name not in _BITS:
        return 0
    kind, exponent, fraction = _BITS[array.dtype.name]
    flat = np.ascontiguousarray(array).reshape(-1).view(kind)
    pieces = (flat[at : at + _AT_ONCE] for at in range(0, flat.size, _AT_ONCE))
    return sum(int(np.count_nonzero(((p & kind(exponent)) == 0) & ((p & kind(fraction)) != 0))) for p in pieces)
