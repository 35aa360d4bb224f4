"""The child that measures what the machine can do at most: `python -m accel.study.peaks_child`.

Each kind and thread count has its share of the time: every library and size that is there gets a short look, the one
with the fastest median is then measured afresh, so that having been chosen doesn't make it look faster than it is. All
of them are measured once more in later passes, seconds apart, and the best pass counts: what disturbs a machine lasts
for a second or two and only ever makes it slower.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

import accel.compilation
from accel.measurement import bandwidth, products
from accel.measurement.peaks import COMPUTE, LEVELS, Peak, PeakKind
from accel.measurement.protocol import serve, stage
from accel.measurement.rounds import Work, median_interval, often, rates

_FOLDER = Path(accel.compilation.__file__).parent
_LIBRARIES = tuple(sorted(path.stem.removeprefix("_peaks_") for path in _FOLDER.glob("_peaks_*.py")))
"""Each file there says how one library multiplies, and is named as that library is imported."""
_SIZES, _LARGER, _MANY = (512, 1024, 2048), (1024, 2048, 4096), 16
_LOOKS, _LOOK_S, _LOOK_SHARE = 3, 0.01, 0.6
_ROUNDS, _ROUND_S = 15, 0.02
_FIRST_SHARE, _PASSES = 0.65, 2
"""Of the time, what looking for the fastest ways takes; how many further passes there are."""
_LONGEST_CALL = 0.1
"""A size whose single product takes more than this share of the time isn't tried."""

Opening = Callable[[], "contextlib.AbstractContextManager[Work]"]


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way to reach a peak. work: it, ready to run; again: makes it anew, once others have run."""

    work: Work
    again: Opening


def measure(command: dict[str, Any]) -> dict[str, Any]:
    """Everything in about `seconds`. threads: the counts. caches, l3_count, memory_bytes, bf16: of the machine."""
    begun = time.monotonic()
    for library in _installed():
        stage(f"importing {library}")
        with contextlib.suppress(Exception):  # a broken library is no source; it has no common error
            importlib.import_module(library)
    tasks = [(kind, threads) for kind in (*LEVELS, *COMPUTE) for threads in command["threads"]]
    found: list[tuple[Peak, Opening]] = []
    missing: dict[str, str] = {}
    end = begun + _FIRST_SHARE * command["seconds"]
    for done, (kind, threads) in enumerate(tasks):
        stage(f"peak of {kind} on {_on(threads)}")
        share_s = max(0.0, end - time.monotonic()) / (len(tasks) - done)
        peak = _peak(kind, threads, share_s, command)
        if isinstance(peak, str):
            missing.setdefault(kind, peak)
        else:
            found.append(peak)
    peaks = _later(found, begun + command["seconds"])
    reply: dict[str, Any] = {"entries": msgspec.to_builtins(peaks), "missing": missing}
    return reply


def _later(found: list[tuple[Peak, Opening]], end: float) -> list[Peak]:
    """The best of each peak and its further passes, as far as the time goes."""
    peaks = [peak for peak, _ in found]
    for number in range(_PASSES):
        stage(f"peaks once more, {number + 1} of {_PASSES}")
        for i, (_, again) in enumerate(found):
            if time.monotonic() > end:
                return peaks
            with contextlib.suppress(Exception), again() as work:  # it ran before; if it doesn't now, that stands
                peaks[i] = max(peaks[i], _timed(work, often(work, _ROUND_S), peaks[i]), key=lambda peak: peak.value)
    return peaks


def _timed(work: Work, times: int, peak: Peak, until_ns: int = 0) -> Peak:
    value, low, high = median_interval(again := rates(work, times, _ROUNDS, until_ns))
    return msgspec.structs.replace(peak, value=value, low=low, high=high, source=work.source, n=len(again))


def _peak(kind: PeakKind, threads: int, share_s: float, command: dict[str, Any]) -> tuple[Peak, Opening] | str:
    """The best of what can be tried and how to make it anew, or why nothing can."""
    if kind == "bf16" and not command["bf16"]:
        return "this processor has no bfloat16 instructions"
    with contextlib.ExitStack() as open_ones:
        if kind in COMPUTE:
            ways = _products(kind, threads, _LONGEST_CALL * share_s, open_ones)
            return best(ways, kind, threads, share_s)
        size = bandwidth.buffer_bytes(
            kind, threads, command["caches"], command["l3_count"], memory_bytes=command["memory_bytes"]
        )
        if isinstance(size, str):
            return size
        return best(_readings(size, threads, open_ones), kind, threads, share_s)


def best(ways: Iterator[Way], kind: PeakKind, threads: int, share_s: float) -> tuple[Peak, Opening] | str:
    """Look at each way for a moment, then measure the fastest."""
    begun = time.monotonic()
    fastest: tuple[float, Way, int] | None = None
    try:
        for way in ways:
            times = often(way.work, _LOOK_S)
            rate = median_interval(rates(way.work, times, _LOOKS))[0]
            if fastest is None or rate > fastest[0]:
                fastest = (rate, way, times)
            if time.monotonic() - begun > _LOOK_SHARE * share_s:
                break
    except Exception as error:  # the libraries have no common error; what was found before it counts
        if fastest is None:
            return f"{type(error).__name__}: {str(error)[:200]}"
    if fastest is None:
        return "no installed library computes in it (pip install torch)"
    rate, way, times = fastest
    until = time.perf_counter_ns() + int(1e9 * max(0.0, begun + share_s - time.monotonic()))
    looked = Peak(kind=kind, threads=threads, value=rate, low=rate, high=rate, source=way.work.source)
    return _timed(way.work, max(1, round(times * _ROUND_S / _LOOK_S)), looked, until), way.again


def _readings(size: int, threads: int, open_ones: contextlib.ExitStack) -> Iterator[Way]:
    for number, work in enumerate(open_ones.enter_context(bandwidth.reading(size, threads))):
        yield Way(work=work, again=partial(_reading_again, size, threads, number))


@contextlib.contextmanager
def _reading_again(size: int, threads: int, number: int) -> Iterator[Work]:
    with bandwidth.reading(size, threads) as ways:
        yield ways[number]


def _products(kind: str, threads: int, longest_s: float, open_ones: contextlib.ExitStack) -> Iterator[Way]:
    """Products of every library and size that is there, small sizes first.

    open_ones: keeps the threads of each until the fastest was measured afresh.
    """
    slow: dict[str, float] = {}
    for size in _LARGER if threads >= _MANY else _SIZES:
        for library in _installed():
            if slow.get(library, 0.0) * 8 > longest_s:
                continue
            for number, (work, call) in enumerate(_made(library, kind, size, threads)):
                call()
                begun = time.monotonic()
                call()
                slow[library] = time.monotonic() - begun
                yield Way(work=work, again=partial(_made_again, library, kind, size, threads, number))
    if kind == "fp32":
        for size in products.SIZES:
            work = open_ones.enter_context(products.multiplying(size, threads))
            yield Way(work=work, again=partial(products.multiplying, size, threads))


def _made(library: str, kind: str, size: int, threads: int) -> Iterator[tuple[Work, Callable[[], object]]]:
    """What one library offers; nothing if it breaks, since another may do."""
    module = importlib.import_module(f"accel.compilation._peaks_{library}")
    try:
        for name, call in module.products(kind, size, threads):
            yield Work(run=_repeated(call), amount=2.0 * size**3, source=f"{name}, {size}, {_on(threads)}"), call
    except Exception:  # the libraries have no common error
        return


@contextlib.contextmanager
def _made_again(library: str, kind: str, size: int, threads: int, number: int) -> Iterator[Work]:
    # All of them: the threads of a library are set for the process, by whoever was made last.
    yield [work for work, _ in _made(library, kind, size, threads)][number]


def _on(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def _repeated(call: Callable[[], object]) -> Callable[[int], object]:
    def run(times: int) -> None:
        for _ in range(times):
            call()

    return run


def _installed() -> tuple[str, ...]:
    return tuple(name for name in _LIBRARIES if find_spec(name) is not None)


if __name__ == "__main__":
    serve({"measure": measure})
