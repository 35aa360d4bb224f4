"""Where does a run's time go, by class of layer? What a runtime's own profiler said, as plain values.

Each runtime has a reader of its own (`_profile_onnx`, `_profile_openvino`, `_profile_torch`); reading what they left
needs no runtime. A profiler costs time itself, so these figures are shares and never enter a comparison.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec
import numpy as np

from accel.model.layer_class import layer_class

FUSED, AROUND = "fused", "around"
"""Classes beside those of `accel.model.layer_class`: a kernel that a compiler made of several operators; what runs
around the operators."""
GENERATED, LIBRARY, BETWEEN = "generated kernels", "the compiled library", "calls between operators"
_OWN = {"Subgraph": FUSED, GENERATED: FUSED, LIBRARY: FUSED, BETWEEN: AROUND}
# What torch notes down about tensors, none of which computes anything.
_BOOKKEEPING = (
    "detach",
    "lift_fresh",
    "resolve_conj",
    "resolve_neg",
    "empty",
    "empty_strided",
    "resize_",
    "as_strided",
)
_OWN |= {f"aten::{name}": AROUND for name in _BOOKKEEPING} | {"detach": AROUND}
_WARM, _LEAST, _MOST = 3, 3, 100


class LayerTime(msgspec.Struct, frozen=True, kw_only=True):
    """What the operators of one type took together.

    layer_class: see `class_of`. type: the runtime's own word for it ("Conv", "FullyConnected", "aten::addmm").
    precision: what it computed in, by the runtime's word; "" where it doesn't say. seconds_share: of the time that all
    operators took, 0 to 1. calls: how often operators of this type ran in one run of the model.
    """

    layer_class: str
    type: str
    precision: str = ""
    seconds_share: float
    calls: float


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """One variant under its runtime's profiler; the shares of `times` add up to 1, the largest first.

    items: how many samples one run held. runs: how many runs were profiled, those before them not counted.
    seconds: what all operators of one run took with the profiler on (medians). source: which profiler, in words.
    variant: whose; filled in by whoever asked for the profile.
    """

    variant: str = ""
    times: tuple[LayerTime, ...]
    items: int
    runs: int
    seconds: float
    source: str
    notes: tuple[str, ...] = ()

    def share(self, *classes: str) -> float:
        """The share of the time that layers of these classes took."""
        return sum(t.seconds_share for t in self.times if t.layer_class in classes)

    def calls(self, *classes: str) -> float:
        """How many operators of these classes one run calls."""
        return sum(t.calls for t in self.times if t.layer_class in classes)


class Call(NamedTuple):
    """One operator that ran once: its type and precision in the runtime's words, and its seconds."""

    type: str
    precision: str
    seconds: float


def class_of(word: str) -> str:
    """The class of an operator type of any runtime.

    >>> [class_of(w) for w in ("aten::conv2d", "QLinearMatMul", "Reorder", "Subgraph")]
    ['convolution', 'matmul', 'layout', 'fused']
    """
    return _OWN.get(word) or layer_class(word)


def layers(calls: Iterable[Call], *, items: int, runs: int, source: str, notes: tuple[str, ...] = ()) -> Layers:
    """Sum up the operators of `runs` profiled runs, in the order they ran, by type and precision.

    Each operator counts with its median over the runs, so that one run in which something else had the processor
    doesn't decide where the time goes.
    """
    taken: dict[tuple[str, str], list[float]] = {}
    for call in calls:
        taken.setdefault((call.type, call.precision), []).append(call.seconds)
    seconds = {key: _of_a_run(each, runs) for key, each in taken.items()}
    total = sum(seconds.values())
    times = [
        LayerTime(
            layer_class=class_of(kind),
            type=kind,
            precision=precision,
            seconds_share=spent / total if total else 0.0,
            calls=len(taken[kind, precision]) / runs,
        )
        for (kind, precision), spent in seconds.items()
    ]
    times.sort(key=lambda t: (-t.seconds_share, t.type, t.precision))
    return Layers(times=tuple(times), items=items, runs=runs, seconds=total, source=source, notes=notes)


def _of_a_run(seconds: list[float], runs: int) -> float:
    """What the operators of one type take in a run: medians where every run has the same ones, else the mean."""
    if len(seconds) % runs:
        return sum(seconds) / runs
    return float(np.median(np.reshape(seconds, (runs, -1)), axis=0).sum())


def warm_up(run: Callable[[], object], seconds: float) -> int:
    """Run a few times without counting; gives how many times, since some profilers can't be switched on later."""
    begun = time.perf_counter()
    for done in range(1, _WARM + 1):
        run()
        if time.perf_counter() - begun > seconds / 3:
            return done
    return _WARM


def repeat(run: Callable[[], object], seconds: float) -> int:
    """Run for about `seconds`, three times at least and a hundred times at most; gives how many times."""
    begun = time.perf_counter()
    for done in range(1, _MOST + 1):
        run()
        if done >= _LEAST and time.perf_counter() - begun > seconds:
            return done
    return _MOST
