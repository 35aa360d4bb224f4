"""Arrival times that somebody recorded, read from a file of one column: when did requests really come?"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError

Float = npt.NDArray[np.float64]
MOST_BYTES = 64 * 2**20
MOST_REQUESTS = 5_000_000
LONGEST_S = 1e9
_FORM = "Give one arrival a line, in seconds, ascending (or a one-dimensional .npy array of them)."


class Recording(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """offsets_s: (n,) seconds since the first arrival, ascending from 0, n >= 2.

    length_s: the time that n mean gaps take; after it the recording begins again where it is repeated.
    """

    offsets_s: Float

    @property
    def length_s(self) -> float:
        n = len(self.offsets_s)
        return float(self.offsets_s[-1]) * n / (n - 1)

    @property
    def rate(self) -> float:
        """Requests a second: (n - 1) / (last - first)."""
        return len(self.offsets_s) / self.length_s

    def between(self, start_s: float, stop_s: float) -> Float:
        """Arrivals in [start, stop) of the recording repeated end to end in both directions."""
        length = self.length_s
        rounds = range(int(np.floor(start_s / length)), int(np.ceil(stop_s / length)))
        if len(rounds) * len(self.offsets_s) > MOST_REQUESTS + 2 * len(self.offsets_s):
            raise InputError(
                f"The recorded arrivals would have to be repeated {len(rounds)} times, to more than {MOST_REQUESTS:,} "
                "requests. Lower the rate or the duration."
            )
        every = np.concatenate([self.offsets_s + r * length for r in rounds]) if rounds else np.empty(0)
        chosen: Float = every[(every >= start_s) & (every < stop_s)]
        return chosen


def read_recording(path: Path) -> Recording:
    """Read a .npy array, or text of one number a line with or without a header.

    Raises InputError, one sentence, for a file that is missing, too large, not a column of finite seconds, not
    ascending, or without two different times.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"The arrivals `{path}` hold {size:,} bytes; at most {MOST_BYTES:,} are read.")
        times = _array(path) if path.suffix == ".npy" else _column(path)
    except OSError as error:
        raise InputError(f"The arrivals `{path}` can't be read: {error.strerror or error}. {_FORM}") from None
    _check(times, path)
    return Recording(offsets_s=times - times[0])


def _array(path: Path) -> Float:
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
        return np.asarray(found.reshape(-1) if found.ndim == 2 and found.shape[1] == 1 else found, np.float64)
    except (ValueError, TypeError, EOFError, AttributeError) as error:
        raise InputError(f"The arrivals `{path}` are no array of numbers ({error}). {_FORM}") from None


def _column(path: Path) -> Float:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"The arrivals `{path}` are no text. {_FORM}") from None
    filled = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if filled and _number(filled[0][1]) is None:
        del filled[0]
    values: list[float] = []
    for number, text in filled:
        value = _number(text)
        if value is None:
            raise InputError(f"Line {number} of the arrivals `{path}` is `{text[:40]}`, not a number. {_FORM}")
        values.append(value)
    return np.array(values, np.float64)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _check(times: Float, path: Path) -> None:
    if times.ndim != 1 or times.size < 2 or times[0] == times[-1]:
        raise InputError(f"The arrivals `{path}` hold shape {times.shape}, but two different times are needed. {_FORM}")
    if times.size > MOST_REQUESTS:
        raise InputError(f"The arrivals `{path}` hold {times.size:,} requests; at most {MOST_REQUESTS:,} are replayed.")
    if np.isfinite(times).all() and float(np.ptp(times / 2)) > LONGEST_S / 2:
        raise InputError(f"The arrivals `{path}` lie further apart than {LONGEST_S:g} s. {_FORM}")
    bad = np.flatnonzero(~np.isfinite(times))
    if bad.size:
        raise InputError(f"Arrival {bad[0] + 1} of `{path}` is `{times[bad[0]]}`, no time. {_FORM}")
    back = np.flatnonzero(np.diff(times) < 0)
    if back.size:
        raise InputError(f"Arrival {back[0] + 2} of `{path}` lies before the one above it. Sort the file. {_FORM}")
