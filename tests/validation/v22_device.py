"""V22: is a call over only when its device is done? An engine whose device answers later must not look fast.

A device hands out a promise at once and the numbers when they are asked for (traps 19, 20). The product has to ask for
them inside the timed span; who stops the clock at the promise measures how fast work is queued.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from accel.batching.single import Single
from accel.compilation._artefact import Artefact
from accel.compilation.callable import CallableEngine
from accel.measurement import loop
from accel.measurement.clock import FakeClock
from accel.measurement.feeding import Feed
from accel.model.types import Tensor
from accel.scenarios.single_stream import SingleStream
from tests.measurement.simulated import Pool
from tests.validation.experiment import Row

QUEUED_NS, DEVICE_NS = 20_000, 2_000_000
CALLS = 200


class Promise:
    """An array on a device: the time passes when somebody wants the numbers."""

    def __init__(self, clock: FakeClock, values: np.ndarray[Any, Any]) -> None:
        self._clock, self._values, self._waited = clock, values, False

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if not self._waited:
            self._clock.advance(DEVICE_NS)
            self._waited = True
        return np.array(self._values, dtype)


def quick() -> list[Row]:
    """On the virtual clock, to the nanosecond."""
    clock = FakeClock()

    def call(inputs: Mapping[str, Any]) -> dict[str, Any]:
        clock.advance(QUEUED_NS)
        return {"y": Promise(clock, inputs["x"])}

    plan = SingleStream(limit=CALLS).plan(64, seed=22, trial=0, duration_s=60.0)
    trace = loop.run(plan, Single(), Feed(_engine(call), Pool()), clock, drain_ns=0).trace.counted()
    expected = QUEUED_NS + DEVICE_NS
    right = int((trace.service_ns == expected).sum())
    return [
        Row(
            experiment="V22",
            what=f"a device that takes {DEVICE_NS / 1e6:g} ms behind calls that return after {QUEUED_NS / 1e3:g} µs",
            criterion=f"service time {expected / 1e6:g} ms in every call",
            measured=f"in {right} of {len(trace)} calls; median {float(np.median(trace.service_ns)) / 1e6:g} ms",
            passed=right == len(trace) == CALLS,
            kind="virtual",
        )
    ]


def full() -> Iterator[Row]:
    """The same, and a GPU where there is one."""
    yield from quick()
    yield _gpu()


def _gpu() -> Row:
    what = "matrix products on a GPU through torch: wall time against CUDA's own events"
    criterion = "the timed call lasts at least as long as the device worked"
    try:
        import torch
    except ModuleNotFoundError:
        return _not_run(what, criterion, "torch isn't installed")
    if not torch.cuda.is_available():
        return _not_run(what, criterion, "no GPU here")
    wall_s, device_s = _on_gpu(torch)
    return Row(
        experiment="V22",
        what=what,
        criterion=criterion,
        measured=f"{wall_s * 1e3:.2f} ms timed, {device_s * 1e3:.2f} ms on the device",
        passed=wall_s >= device_s,
        kind="real",
    )


class OnGpu:
    """A tensor on a GPU: the numbers are there when the device is done and they were copied."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self._tensor.cpu().numpy(), dtype)


def _on_gpu(torch: Any) -> tuple[float, float]:
    """Median seconds of ten calls, as the product's engine takes them and as the device's own events do."""
    matrix = torch.randn(4096, 4096, device="cuda")
    events: list[tuple[Any, Any]] = []

    def call(inputs: Mapping[str, Any]) -> dict[str, Any]:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        product = matrix @ matrix
        end.record()
        events.append((begin, end))
        return {"y": OnGpu(product[:1, :1])}

    engine, walls = _engine(call), []
    for _ in range(12):
        start = time.perf_counter()
        engine.run({"x": np.zeros((1, 1))})
        walls.append(time.perf_counter() - start)
    torch.cuda.synchronize()
    devices = [begin.elapsed_time(end) * 1e-3 for begin, end in events]
    return float(np.median(walls[2:])), float(np.median(devices[2:]))


def _engine(call: Any) -> CallableEngine:
    x, y = (Tensor(name=name, dtype="float64", shape=("batch", 1)) for name in ("x", "y"))
    return CallableEngine(
        call, Artefact(file="", inputs=(x,), outputs=(y,), sizes=None, stored="nothing"), parallel=False
    )


def _not_run(what: str, criterion: str, why: str) -> Row:
    return Row(experiment="V22", what=what, criterion=criterion, measured="", passed=False, kind="real", not_run=why)
