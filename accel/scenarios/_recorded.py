"""Arrivals that somebody recorded, read from a file: when did requests really come, and how long were they?"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError

Float = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
MOST_BYTES = 64 * 2**20
MOST_REQUESTS = 5_000_000
LONGEST_S = 1e9
_FORM = (
    "Give one arrival a line, in seconds, ascending, and if you like its length after a comma (or a .npy array of one "
    "column or two)."
)


class Recording(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """offsets_s: (n,) seconds since the first arrival, ascending from 0, n >= 2.

    lengths: (n,) how long each request was (tokens, pixels, whatever its inputs are long in); None if not recorded.
    length_s: the time that n mean gaps take; after it the recording begins again where it is repeated.
    """

    offsets_s: Float
    lengths: Int64 | None = None

    @property
    def length_s(self) -> float:
        n = len(self.offsets_s)
        return float(self.offsets_s[-1]) * n / (n - 1)

    @property
    def rate(self) -> float:
        """Requests a second: (n - 1) / (last - first)."""
        return len(self.offsets_s) / self.length_s

    def between(self, start_s: float, stop_s: float) -> tuple[Float, Int64 | None]:
        """Arrivals in [start, stop) of the recording repeated end to end in both directions, and their lengths."""
        length, n = self.length_s, len(self.offsets_s)
        rounds = range(int(np.floor(start_s / length)), int(np.ceil(stop_s / length)))
        if len(rounds) * n > MOST_REQUESTS + 2 * n:
            raise InputError(
                f"The recorded arrivals would have to be repeated {len(rounds)} times, to more than {MOST_REQUESTS:,} "
                "requests. Lower the rate or the duration."
            )
        every = np.concatenate([self.offsets_s + r * length for r in rounds]) if rounds else np.empty(0)
        chosen = np.flatnonzero((every >= start_s) & (every < stop_s))
        return every[chosen], None if self.lengths is None else self.lengths[chosen % n]


def read_recording(path: Path) -> Recording:
    """Read a .npy array, or text of one or two numbers a line with or without a header.

    Raises InputError, one sentence, for a file that is missing, too large, not a column of finite seconds, not
    ascending, without two different times, or with lengths that aren't whole numbers from 1.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"The arrivals `{path}` are no file. {_FORM}")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"The arrivals `{path}` hold {size:,} bytes; at most {MOST_BYTES:,} are read.")
        columns = _array(path) if path.suffix == ".npy" else _columns(path)
    except OSError as error:
        raise InputError(f"The arrivals `{path}` can't be read: {error.strerror or error}. {_FORM}") from None
    times, lengths = (columns[:, 0], columns[:, 1]) if columns.ndim == 2 and columns.shape[1] == 2 else (columns, None)
    _check(times, path)
    return Recording(offsets_s=times - times[0], lengths=None if lengths is None else _whole(lengths, path))


def _array(path: Path) -> Float:
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
        return np.asarray(found.reshape(-1) if found.ndim == 2 and found.shape[1] == 1 else found, np.float64)
    except (ValueError, TypeError, EOFError, AttributeError) as error:
        raise InputError(f"The arrivals `{path}` are no array of numbers ({error}). {_FORM}") from None


def _columns(path: Path) -> Float:
    """(n,) or (n, 2)."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"The arrivals `{path}` are no text. {_FORM}") from None
    filled = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if filled and _numbers(filled[0][1]) is None:
        del filled[0]
    values: list[list[float]] = []
    for number, text in filled:
        value = _numbers(text)
        if value is None or len(value) > 2:
            raise InputError(f"Line {number} of the arrivals `{path}` is `{text[:40]}`, not a number. {_FORM}")
        if values and len(value) != len(values[0]):
            raise InputError(
                f"Line {number} of the arrivals `{path}` has {len(value)} columns, those above not. {_FORM}"
            )
        values.append(value)
    found = np.array(values, np.float64)
    return found.reshape(-1) if found.ndim == 2 and found.shape[1] == 1 else found


def _numbers(text: str) -> list[float] | None:
    try:
        return [float(word) for word in text.replace(";", ",").replace("\t", ",").split(",")]
    except ValueError:
        return None


def _whole(lengths: Float, path: Path) -> Int64:
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths >= 1) & (lengths == np.floor(lengths)) & (lengths < 2**53)))
    if bad.size:
        raise InputError(
            f"The length of arrival {bad[0] + 1} of `{path}` is `{lengths[bad[0]]:g}`, but must be a whole number from "
            f"1. {_FORM}"
        )
    return lengths.astype(np.int64)


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
