"""Which load is planned for: one rate, recorded arrivals, or rates over a day?"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.analysis.burstiness import burstiness
from accel.errors import InputError
from accel.scenarios._recorded import read_recording

Float = npt.NDArray[np.float64]
HIGHEST = 1e6
_MOST_WINDOWS = 200_000
_HEAD = 4096
"""A header stands within so many characters; a device has no end."""
_RATES = ("rate", "rates", "rps", "qps", "requests_per_s", "requests/s")
_LENGTHS = ("length", "lengths", "tokens", "size")
_FORM = "Give a header `time,rate` and one row each of seconds, ascending, and requests per second."


class Demand(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """rates: mean requests/s in each successive window of `window_s`; a steady load has one.

    kind: what was given. offsets_s: the arrivals themselves (s), already at the planned rate; None for rates.
    scale: by what the recorded rates were multiplied to meet the rate that was asked for. noise: variance of a window's
    rate over the rate, where arrivals were counted.
    """

    kind: Literal["steady", "arrivals", "rates"]
    rates: Float
    window_s: float
    offsets_s: Float | None = None
    scale: float = 1.0
    noise: float = 0.0

    @property
    def peak(self) -> float:
        """The highest of the rates."""
        return float(self.rates.max())

    @property
    def mean(self) -> float:
        """Requests/s over the whole time."""
        return float(self.rates.mean())

    @property
    def duration_s(self) -> float:
        """How long the load lasts."""
        return len(self.rates) * self.window_s


def demand(rate: float | None, trace: Path | None, window_s: float) -> Demand:
    """What is planned for; `rate` scales the trace's mean where both are given.

    trace: recorded arrivals (as `accel.scenarios.server` replays them; lengths make no difference here), or with a
    header `time,rate` requests per second at ascending times, between which the rate runs along a line. Raises
    InputError for neither, a rate that isn't above 0 or above 1e6 requests/s, and for a file that can't be read.
    """
    if rate is not None and not 0 < rate <= HIGHEST:
        raise InputError(f"--rate must be above 0 and at most {HIGHEST:,.0f} requests per second, but is `{rate:g}`.")
    if trace is None:
        if rate is None:
            raise InputError("Say for which load: --rate 5000 (requests per second), or --trace FILE with arrivals.")
        return Demand(kind="steady", rates=np.array([rate]), window_s=window_s)
    second = _second(trace)
    if second and second not in (*_RATES, *_LENGTHS):
        raise InputError(
            f"The second column of the trace `{trace}` is called `{second[:40]}`. Call it `rate` where it holds "
            "requests per second, or `length` where it holds how long each request is."
        )
    found = _of_rates(trace, window_s) if second in _RATES else _of_arrivals(trace, window_s)
    return _scaled(found, rate, trace)


def _scaled(found: Demand, rate: float | None, path: Path) -> Demand:
    if found.mean <= 0:
        raise InputError(f"The trace `{path}` holds no request. {_FORM}")
    scale = 1.0 if rate is None else rate / found.mean
    if scale * found.peak > HIGHEST:
        raise InputError(
            f"The trace `{path}` peaks at {scale * found.peak:,.0f} requests/s; at most {HIGHEST:,.0f} are planned. "
            "Lower --rate."
        )
    return msgspec.structs.replace(found, rates=found.rates * scale, scale=scale, noise=found.noise * scale)


def _of_arrivals(path: Path, window_s: float) -> Demand:
    recording = read_recording(path)
    whole = int(recording.length_s // window_s)
    if whole < 2:
        rates = np.array([recording.rate])
    else:
        edges = np.arange(whole + 1) * window_s
        rates = np.histogram(recording.offsets_s, edges)[0] / window_s
    return Demand(
        kind="arrivals",
        rates=rates,
        window_s=window_s,
        offsets_s=recording.offsets_s,
        noise=max(burstiness(recording.offsets_s).worst, 1.0) / window_s,
    )


def _second(path: Path) -> str:
    """What the first line has in its second column, in small letters; empty if it has one column."""
    if path.suffix == ".npy":
        return ""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = next((line for line in file.read(_HEAD).splitlines() if line.strip()), "")
    except OSError as error:
        raise InputError(f"The trace `{path}` can't be read: {error.strerror or error}. {_FORM}") from None
    words = [word.strip().lower() for word in first.split(",")]
    return words[1] if len(words) > 1 else ""


def _of_rates(path: Path, window_s: float) -> Demand:
    times, rates = _rows(path)
    if len(times) < 2:
        raise InputError(f"The trace `{path}` holds {len(times)} rows, but two are needed. {_FORM}")
    back = np.flatnonzero(np.diff(times) <= 0)
    if back.size:
        raise InputError(f"Row {back[0] + 2} of the trace `{path}` isn't later than the one above it. {_FORM}")
    windows = max(1, int((times[-1] - times[0]) // window_s))
    if windows > _MOST_WINDOWS:
        raise InputError(
            f"The trace `{path}` lasts {windows:,} metric windows; at most {_MOST_WINDOWS:,} are planned. Give a "
            "longer --metric-window."
        )
    edges = times[0] + np.arange(windows + 1) * window_s
    return Demand(kind="rates", rates=_means(times, rates, edges), window_s=window_s)


def _means(times: Float, rates: Float, edges: Float) -> Float:
    """Mean of the piecewise linear rate between successive edges, exactly: differences of its integral."""
    inside = np.unique(np.concatenate([times, edges[(edges > times[0]) & (edges < times[-1])]]))
    at = np.interp(inside, times, rates)
    total = np.concatenate([[0.0], np.cumsum(np.diff(inside) * (at[1:] + at[:-1]) / 2)])
    means: Float = np.diff(np.interp(edges, inside, total)) / np.diff(np.minimum(edges, times[-1]))
    return means


def _rows(path: Path) -> tuple[Float, Float]:
    times: list[float] = []
    rates: list[float] = []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        filled = ((n, row) for n, row in enumerate(csv.reader(file), 1) if any(cell.strip() for cell in row))
        next(filled)  # the header
        for number, row in filled:
            try:
                time_s, rate = float(row[0]), float(row[1])
            except (ValueError, IndexError):
                shown = ",".join(row)[:40]
                raise InputError(
                    f"Line {number} of the trace `{path}` is `{shown}`, not two numbers. {_FORM}"
                ) from None
            if not np.isfinite(time_s) or not np.isfinite(rate) or rate < 0:
                raise InputError(f"Line {number} of the trace `{path}` holds no rate of at least 0. {_FORM}")
            times.append(time_s)
            rates.append(rate)
    return np.array(times), np.array(rates)
