"""Which runs does a study hold, and which numbers does each give? Reads traces once and keeps what is needed of them.

Of several phases the deepest one with three runs speaks: confirmation, then blocks, tuning, screening.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.analysis import percentiles
from accel.analysis.online import latencies_s
from accel.measurement.trace import Trace
from accel.result import Level, Result

Float = npt.NDArray[np.float64]
PHASES = ("measure", "steps", "screening", "tuning", "blocks", "search", "load", "confirmation")
Target = Literal["latency", "batch", "online"]
_MOST_UNSTABLE = 0.3
_ENOUGH = 3


class Run(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One run and its numbers.

    latency_s: (n,) of the counted requests, inf where none was answered.
    items, seconds: (batches,) of the answered ones: how many requests, and the time until the next batch was done.
    service_s: (batches,) what the engine took. trace: kept for server runs only.
    """

    result: Result
    latency_s: Float
    items: Float
    seconds: Float
    service_s: Float
    trace: Trace | None = None

    @property
    def median_s(self) -> float:
        """Median latency: the one number a single_stream run gives to a comparison."""
        return percentiles.quantile(self.latency_s, 0.5)

    @property
    def throughput(self) -> float:
        """Items a second from the release of the first to the end of the last (rule 28)."""
        return float(self.items.sum() / self.seconds.sum())

    @property
    def size(self) -> int:
        """The batch size an offline run was asked for."""
        fields = self.result.batching.fields if self.result.batching else {}
        return int(fields.get("size", self.items.max() if self.items.size else 1))

    @property
    def rate(self) -> float:
        """Requests a second a server run was asked for."""
        return float(self.result.scenario.fields.get("rate", 0.0)) if self.result.scenario else 0.0

    @property
    def keeps_denormals(self) -> bool:
        """Whether it was made to see what it costs to keep denormal numbers, and so belongs to no other group."""
        effective = self.result.effective
        return effective is not None and effective.detail.get("denormals") == "kept"


def load_runs(results: Iterable[Result], folder: Path) -> tuple[list[Run], dict[str, list[str]]]:
    """The runs with a readable trace, sorted by run id, and notes by variant on those without."""
    runs: list[Run] = []
    notes: dict[str, list[str]] = {}
    for result in sorted(results, key=lambda r: r.run_id):
        if result.trace is None or result.status not in ("ok", "refused"):
            continue
        try:
            # The bare name only: a result from elsewhere must not make us read any other file.
            trace = Trace.load(folder / Path(result.trace).name)
            run = _run(result, trace)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            said = f"the trace of run `{result.run_id}` can't be read ({type(error).__name__}); the run is left out"
            notes.setdefault(result.variant.name, []).append(said)
            continue
        if run is not None:
            runs.append(run)
        else:
            said = f"run `{result.run_id}` answered no request; it is left out"
            notes.setdefault(result.variant.name, []).append(said)
    return runs, notes


def _run(result: Result, trace: Trace) -> Run | None:
    counted = trace.counted()
    answered = counted.ok()
    online = result.target == "online" or result.phase == "load"
    if len(counted) == 0 or (len(answered) == 0 and not online):
        return None
    items, seconds, service_s = _batches(answered)
    latency_s = np.asarray(latencies_s(trace), np.float64)
    return Run(
        result=result,
        latency_s=latency_s if online else latency_s[np.isfinite(latency_s)],
        items=items,
        seconds=seconds,
        service_s=service_s,
        trace=counted if online else None,
    )


def _batches(done: Trace) -> tuple[Float, Float, Float]:
    """Batches in the order in which they finished: size, time since the one before, service time (s)."""
    if len(done) == 0:
        empty = np.empty(0)
        return empty, empty, empty
    _, first, counts = np.unique(done.batch, return_index=True, return_counts=True)
    order = np.argsort(done.finished[first], kind="stable")
    first, counts = first[order], counts[order]
    ends = done.finished[first].astype(np.float64) * 1e-9
    begin = float(done.due.min()) * 1e-9
    return (
        counts.astype(np.float64),
        np.diff(ends, prepend=begin),
        np.asarray(done.service_ns[first] * 1e-9, np.float64),
    )


def of(runs: Iterable[Run], target: Target, *, name: str | None = None, phase: str | None = None) -> list[Run]:
    """The runs of one target, variant and phase."""
    return [
        r
        for r in runs
        if r.result.target == target
        and (name is None or r.result.variant.name == name)
        and (phase is None or r.result.phase == phase)
    ]


def once(runs: Iterable[Run]) -> list[Run]:
    """Without the repeats A': they share their block's weather with A, so they are no further evidence."""
    return [r for r in runs if r.result.role != "repeat"]


def deepest(runs: Sequence[Run]) -> list[Run]:
    """The runs of the deepest phase with three runs or more; else of the phase with the most (the deeper of equals)."""
    by_phase = [[r for r in runs if r.result.phase == p] for p in PHASES]
    enough = [group for group in by_phase if len(group) >= _ENOUGH]
    if enough:
        return enough[-1]
    return max(reversed(by_phase), key=len, default=[])


def believable(runs: Sequence[Run]) -> tuple[list[Run], Level]:
    """The runs to use and what they are worth: invalid ones never; unstable ones only if they are more than 30 %."""
    known = [r for r in runs if r.result.validity != "invalid"]
    if not known:
        return [], "invalid" if runs else "valid"
    stable = [r for r in known if r.result.validity == "valid"]
    if len(known) - len(stable) <= _MOST_UNSTABLE * len(known):
        return stable, "valid"
    return known, "unstable"


def worst(levels: Iterable[Level]) -> Level:
    """The worst of several levels; valid if there are none."""
    order: tuple[Level, ...] = ("valid", "unstable", "invalid")
    return max(levels, key=order.index, default="valid")


def by_key(runs: Iterable[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    """Runs grouped by a key, the keys in ascending order."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return dict(sorted(groups.items()))
