"""Something raced against itself: how much do identical artefacts differ on this machine, block by block?

Baseline, the baseline again and a byte-identical copy in interleaved blocks, raced and read as a study does.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel import plugins
from accel.analysis import Estimate
from accel.analysis.comparison import MIN_EFFECTS, log_ratios
from accel.analysis.conclusion import Comparison
from accel.analysis.estimates import across_runs, rate_of_batches
from accel.analysis.paired import BETTER, Paired, compare_runs, race_of
from accel.analysis.percentiles import quantile, quantile_interval
from accel.analysis.runs import Run, load_runs
from accel.checkup.projection import Scatter, Smallest, project
from accel.demo import onnx_path, samples_path
from accel.model import describe
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result
from accel.study.folder import StudyFolder
from accel.study.given import Given
from accel.study.live import memory_limit_bytes
from accel.study.prepare import Prepared, Workshop
from accel.study.profiles import PROFILES, Profile, profile
from accel.study.racing import Ask, Entrant, Race
from accel.study.standin import folder_of, renamed, stand_in

RUN_S, WARM_UP_S, BATCH = 0.6, 0.2, 8
_ITEM_S = 0.002
_LEAST_BLOCKS = 3
_Z = 1.96
Tell = Callable[[str], None]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is raced: a prepared artefact, the folder with its samples, what it runs in each block."""

    name: str
    prepared: Prepared
    samples: Path
    asks: tuple[Ask, ...]


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """How something compared with itself: any difference is the machine's.

    profiles: those that work with such processes. fresh: a process of its own for each run, else parked between turns.
    repeat: A'/A (1 is the truth). copy: the byte-identical artefact against the baseline. false_alarm: it was called
    faster or slower. disturbed: how many of the blocks had an unstable run. smallest: by profile.
    """

    subject: str
    target: Paired
    fresh: bool
    blocks: int
    disturbed: int
    repeat: Estimate
    copy: Comparison
    false_alarm: bool
    scatter: Scatter
    smallest: tuple[Smallest, ...]


def stub(place: Path) -> Subject:
    """A loop that works for 2 ms: what suffers least."""
    folder = folder_of(place / "stub")
    return Subject(
        name="a 2 ms loop",
        prepared=stand_in(folder, "stub", item_s=_ITEM_S),
        samples=folder.samples,
        asks=(_latency(),),
    )


def network(place: Path, tell: Tell) -> Subject | None:
    """The demo's network in ONNX Runtime, whose threads suffer from whatever runs beside them; None without it.

    Raises AccelError if it can't be prepared here.
    """
    if find_spec("onnxruntime") is None:
        return None
    folder = StudyFolder(place / "network")
    folder.create(resume=False)
    source = describe(str(onnx_path()), folder=folder.model)
    workshop = Workshop(folder, source, memory_limit_bytes=memory_limit_bytes(), timeout_s=120.0)
    none = Given("none")
    given = {"samples": Given("text", str(samples_path())), "labels": none, "metric": none}
    terms = {**msgspec.to_builtins(given), "options": {"padding": 0, "seed": 0}}
    seen = workshop.inspect(terms, tell)
    variant = Variant(name="network", backend=plugins.parse("compilation", {"name": "onnxruntime"}))
    known = {name: seen[name] for name in ("signature", "facts", "load_s")}
    return Subject(
        name="a small network",
        prepared=workshop.prepare(variant, None, known, tell),
        samples=folder.samples,
        asks=(_latency(), _batch()),
    )


def _latency() -> Ask:
    return Ask(target="latency", scenario=Named("single_stream"), batching=Named("single"), duration_s=RUN_S)


def _batch() -> Ask:
    batching = Named("fixed", {"size": BATCH})
    return Ask(target="batch", scenario=Named("offline"), batching=batching, duration_s=RUN_S)


class Contest:
    """The blocks of one subject; a context manager that ends its children. Raises VariantError where it can't run."""

    def __init__(self, subject: Subject, place: Path, *, fresh: bool, seed: int) -> None:
        self.subject, self.fresh, self._seed = subject, fresh, seed
        self.results: list[Result] = []
        self.blocks = 0
        self._folder = StudyFolder(place / f"{subject.prepared.variant.name}-{'fresh' if fresh else 'parked'}")
        self._folder.create(resume=False)
        self._folder.samples = subject.samples
        copy = renamed(subject.prepared, "copy")
        there = self._folder.artefacts / "copy"
        shutil.copytree(subject.prepared.folder, there)
        base = Entrant(prepared=subject.prepared, role="baseline")
        entrants = [
            base,
            msgspec.structs.replace(base, role="repeat"),
            Entrant(prepared=msgspec.structs.replace(copy, folder=str(there))),
        ]
        self._race = Race(self._folder, _profile(fresh), entrants, subject.asks, seed=seed, study_id="doctor")

    def __enter__(self) -> Contest:
        self._race.__enter__()
        return self

    def __exit__(self, *found: object) -> None:
        self._race.__exit__(*found)

    def block(self) -> None:
        """One more block."""
        self.results += self._race.block(self.blocks)
        self.blocks += 1
        for error in self._race.failed.values():
            raise error

    def found(self) -> list[Against]:
        """What the blocks showed for each target; nothing for one with fewer than three whole blocks."""
        runs, _ = load_runs(self.results, self._folder.runs)
        targets: list[Paired] = ["latency", "batch"]
        asked = {ask.target for ask in self.subject.asks}
        each = (self._against(runs, target) for target in targets if target in asked)
        return [one for one in each if one is not None]

    def _against(self, runs: Sequence[Run], target: Paired) -> Against | None:
        name = self.subject.prepared.variant.name
        _, pairs = race_of(runs, name, target)
        mine = pairs.get("copy", [])
        profiles = [p for p in PROFILES.values() if p.fresh == self.fresh and p.name != "gpu"]
        least = MIN_EFFECTS[profiles[0].name]
        copy = compare_runs(runs, name, target, min_effect=least, seed=self._seed).get("copy")
        if copy is None or len(mine) < _LEAST_BLOCKS:
            return None
        changes, _ = log_ratios(mine, BETTER[target])
        kept = [p for p in mine if p.stable] if sum(p.stable for p in mine) >= len(changes) else mine
        repeats = [p.repeat / p.base for p in kept if p.repeat is not None]
        scatter = Scatter(
            changes=tuple(changes),
            repeats=tuple(map(math.log, repeats)),
            run_s=RUN_S,
            within=within([r for r in runs if r.result.target == target], target),
        )
        return Against(
            subject=self.subject.name,
            target=target,
            fresh=self.fresh,
            blocks=len(mine),
            disturbed=sum(not p.stable for p in mine),
            repeat=across_runs(repeats, unit="x"),
            copy=copy,
            false_alarm=copy.verdict in ("FASTER", "SLOWER"),
            scatter=scatter,
            smallest=tuple(project(scatter, p, self._seed) for p in profiles),
        )


def _profile(fresh: bool) -> Profile:
    return msgspec.structs.replace(profile("quick"), fresh=fresh, warmup_s=WARM_UP_S)


def within(runs: Sequence[Run], target: Paired) -> float:
    """The variance of a block's change that stems from within its runs, from the runs' own intervals.

    A change is ln c - (ln a + ln a') / 2, so it has 1.5 times the variance of one run's number.
    """
    each = [v for v in (_own_variance(run, target) for run in runs) if math.isfinite(v)]
    return 1.5 * float(np.median(each)) if each else 0.0


def _own_variance(run: Run, target: Paired) -> float:
    """Variance of ln(a run's number) as one run alone shows it: (width of its 95 % interval / 2 x 1.96) squared."""
    if target == "latency":
        low, high = quantile_interval(run.latency_s, 0.5)
        value = quantile(run.latency_s, 0.5)
    else:
        rate = rate_of_batches(run.items, run.seconds, unit="1/s")
        low, high, value = rate.low, rate.high, rate.value
    if low is None or high is None or value <= 0 or low <= 0:
        return math.nan
    return (math.log(high / low) / (2 * _Z)) ** 2


def failed_words(error: Any) -> str:
    """An error as the reason why a subject is missing."""
    return " ".join(str(error).split())
