"""The child that measures what the machine can do at most: `python -m accel.study.peaks_child`.

Each kind and thread count has its share of the time: every library and size that is there gets a short look, the one
with the fastest median is then measured afresh, so that having been chosen doesn't make it look faster than it is.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
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
_LONGEST_CALL = 0.1
"""A size whose single product takes more than this share of the time isn't tried."""

Ways = Callable[[], "contextlib.AbstractContextManager[Iterator[Work]]"]


def measure(command: dict[str, Any]) -> dict[str, Any]:
    """Everything in about `seconds`. threads: the counts. caches, l3_count, memory_bytes, bf16: of the machine."""
    end = time.monotonic() + command["seconds"]
    for library in _installed():
        stage(f"importing {library}")
        with contextlib.suppress(Exception):  # a broken library is no source; it has no common error
            importlib.import_module(library)
    tasks = [(kind, threads) for kind in (*LEVELS, *COMPUTE) for threads in command["threads"]]
    found: list[Peak] = []
    missing: dict[str, str] = {}
    for done, (kind, threads) in enumerate(tasks):
        stage(f"peak of {kind} on {_on(threads)}")
        share_s = max(0.0, end - time.monotonic()) / (len(tasks) - done)
        peak = _peak(kind, threads, share_s, command)
        if isinstance(peak, Peak):
            found.append(peak)
        else:
            missing.setdefault(kind, peak)
    reply: dict[str, Any] = {"entries": msgspec.to_builtins(found), "missing": missing}
    return reply


def _peak(kind: PeakKind, threads: int, share_s: float, command: dict[str, Any]) -> Peak | str:
    """The best of what can be tried, or why nothing can."""
    if kind == "bf16" and not command["bf16"]:
        return "this processor has no bfloat16 instructions"
    if kind in COMPUTE:
        with contextlib.ExitStack() as open_ones:
            return best(_products(kind, threads, _LONGEST_CALL * share_s, open_ones), kind, threads, share_s)
    size = bandwidth.buffer_bytes(
        kind, threads, command["caches"], command["l3_count"], memory_bytes=command["memory_bytes"]
    )
    if isinstance(size, str):
        return size
    with bandwidth.reading(size, threads) as ways:
        return best(iter(ways), kind, threads, share_s)


def best(ways: Iterator[Work], kind: PeakKind, threads: int, share_s: float) -> Peak | str:
    """Look at each way for a moment, then measure the fastest."""
    begun = time.monotonic()
    fastest: tuple[float, Work, int] | None = None
    try:
        for work in ways:
            times = often(work, _LOOK_S)
            rate = median_interval(rates(work, times, _LOOKS))[0]
            if fastest is None or rate > fastest[0]:
                fastest = (rate, work, times)
            if time.monotonic() - begun > _LOOK_SHARE * share_s:
                break
    except Exception as error:  # the libraries have no common error; what was found before it counts
        if fastest is None:
            return f"{type(error).__name__}: {str(error)[:200]}"
    if fastest is None:
        return "no installed library computes in it (pip install torch)"
    _, work, times = fastest
    until = time.perf_counter_ns() + int(1e9 * max(0.0, begun + share_s - time.monotonic()))
    again = rates(work, max(1, round(times * _ROUND_S / _LOOK_S)), _ROUNDS, until)
    value, low, high = median_interval(again)
    return Peak(kind=kind, threads=threads, value=value, low=low, high=high, source=work.source, n=len(again))


def _products(kind: str, threads: int, longest_s: float, open_ones: contextlib.ExitStack) -> Iterator[Work]:
    """Products of every library and size that is there, small sizes first.

    open_ones: keeps the threads of each until the fastest was measured afresh.
    """
    slow: dict[str, float] = {}
    for size in _LARGER if threads >= _MANY else _SIZES:
        for library in _installed():
            if slow.get(library, 0.0) * 8 > longest_s:
                continue
            module = importlib.import_module(f"accel.compilation._peaks_{library}")
            for name, call in _made(module, kind, size, threads):
                call()
                begun = time.monotonic()
                call()
                slow[library] = time.monotonic() - begun
                yield Work(run=_repeated(call), amount=2.0 * size**3, source=f"{name}, {size}, {_on(threads)}")
    if kind == "fp32":
        for size in products.SIZES:
            yield open_ones.enter_context(products.multiplying(size, threads))


def _made(module: Any, kind: str, size: int, threads: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """What one library offers; nothing if it breaks, since another may do."""
    try:
        yield from module.products(kind, size, threads)
    except Exception:  # the libraries have no common error
        return


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
