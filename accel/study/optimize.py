"""From a model to a faster callable of the same shape, or the model itself if nothing is faster in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from accel.analysis.estimates import t_interval
from accel.errors import InputError
from accel.measurement.outputs import relative_error
from accel.model import live
from accel.samples import Samples
from accel.study.study import Study, bench

_ROUNDS = 15
_ROUND_S = 0.04
_FARTHEST = 0.5


class Optimized:
    """The winner as a callable, with why it was chosen; `original` and `study` are kept.

    faster: how often faster than the original in this process, as (value, low, high) of the paired ratio.
    """

    def __init__(
        self, replacement: Callable[..., Any], original: Any, study: Study, faster: tuple[float, float, float]
    ) -> None:
        self._replacement = replacement
        self.original = original
        self.study = study
        self.faster = faster

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it like the original."""
        return self._replacement(*args, **kwargs)

    def __repr__(self) -> str:
        value, low, high = self.faster
        return f"<Optimized: {value:.2f}x [{low:.2f}, {high:.2f}] here; {self.study.conclusion.headline}>"


def optimize(model: Any, samples: Any = None, *, target: Literal["batch", "online"] = "online", **options: Any) -> Any:
    """Find the fastest honest way to run `model` and return it with the model's own calling convention.

    After the study the winner is compared with the original in this process (its pools, its other threads): outputs
    must agree, and the lower end of the 95 % interval of the paired ratio must be above 1. Otherwise the original
    itself is returned. Options are those of `accel.bench`. Raises InputError for anything that isn't a live callable.
    """
    if not callable(model):
        raise InputError(
            f"optimize() takes a live torch module or a function, but got a {type(model).__name__}. "
            "For a file use accel.bench(path) and study.best(target).load()."
        )
    study = bench(model, samples, target=target, **options)
    winner = study.best(target)
    if winner.answer.keeps_baseline:
        return model
    replacement = winner.load()
    fixed = study.record.signature.batch
    size = (winner.row.batch_size or 1) if target == "batch" else 1
    size = size if fixed == "any" else int(fixed)
    batches = [live.arguments(b, model) for b in _batches(study, size)]
    faster = (0.0, 0.0, 0.0)
    if _agrees(model, replacement, batches[0]):
        faster = compare(lambda b: live.call(model, b), lambda b: replacement(**b), batches)
    if faster[1] <= 1.0:
        replacement.close()
        return model
    return Optimized(replacement, model, study, faster)


def _batches(study: Study, size: int) -> list[dict[str, Any]]:
    samples = Samples.open(study.folder / "samples")
    ids = np.resize(samples.evaluation, 8 * size)
    return [samples.batch(ids[i * size : (i + 1) * size]) for i in range(8)]


def _agrees(model: Any, replacement: Any, given: Mapping[str, Any]) -> bool:
    ours, theirs = live.leaves(replacement(**given)), live.leaves(live.call(model, given))
    return bool(relative_error(ours, theirs) < _FARTHEST)


def compare(
    original: Callable[[Any], Any], replacement: Callable[[Any], Any], batches: list[Any]
) -> tuple[float, float, float]:
    """How often faster the replacement is, with its 95 % interval: paired, interleaved rounds."""
    logs = []
    for i in range(_ROUNDS + 1):
        pair = (original, replacement) if i % 2 else (replacement, original)
        took = {which is replacement: _median_s(which, batches) for which in pair}
        if i > 0:
            logs.append(math.log(took[False] / took[True]))
    mean, low, high = t_interval(logs)
    return math.exp(mean), math.exp(low), math.exp(high)


def _median_s(run: Callable[[Any], Any], batches: list[Any]) -> float:
    times: list[float] = []
    end = time.perf_counter() + _ROUND_S
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        run(batches[len(times) % len(batches)])
        times.append(time.perf_counter() - start)
    return float(np.median(times))
