"""A recipe's model made ready to be timed: samples, reference outputs, artefacts and their quality; nothing is raced.

Everything lies in one folder and stays there: what is prepared isn't prepared again, and what is timed isn't timed
again, so that an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError, VariantError
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Quality, Result, write_atomically
from accel.study.artefacts import find_prepared, remember
from accel.study.folder import StudyFolder
from accel.study.judging import Judge
from accel.study.live import Live, Turn
from accel.study.options import asked_variants, resolve
from accel.study.prepare import Prepared
from accel.study.profiles import profile
from accel.study.progress import Quiet
from accel.study.session import Session

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
SIZES = (1, 2, 4, 8, 16, 32)
_LEAST_LIMIT = 1e-3
_PATIENCE_S = 180.0


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """An artefact whose outputs were compared with the reference's.

    check_limit: how far timed outputs may be from the reference's: twice what was seen here.
    """

    prepared: Prepared
    quality: Quality
    check_limit: float

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.prepared.variant.name


def place() -> Path:
    """Where benchmarks keep what they prepare and measure: ACCEL_BENCH_OUT, or `accel-results/bench`."""
    return Path(os.environ.get("ACCEL_BENCH_OUT") or ROOT / "accel-results" / "bench").absolute()


def recipe_of(model: str) -> Path:
    """The file of a recipe by its name or path; raises InputError with the known names."""
    path = Path(model) if model.endswith(".toml") else RECIPES / f"{model}.toml"
    if not path.is_file():
        raise InputError(
            f"There is no recipe `{model}`. Known: {', '.join(sorted(p.stem for p in RECIPES.glob('*.toml')))}."
        )
    return path.absolute()


class Subject(Session):
    """The beginning of a study of one recipe, without its race."""

    def __init__(self, model: str, root: Path, **given: Any) -> None:
        options = resolve(str(recipe_of(model)), defaults=False, **given)
        folder = StudyFolder(root)
        folder.create(resume=True)
        super().__init__(options, folder, Quiet())
        with folder.lock():
            self.record, self.context = self._begin()
            self._shop = self._workshop(self.context.source)
            self._reference(self.record, self._shop, self.context)
        # Of a folder that an earlier call began, the record may not know what is asked for now.
        self.variants = {v.name: v for v in (*asked_variants(options, ()), *self.record.variants)}

    def ready(self, variant: Variant) -> Ready:
        """A variant's artefact, made and compared with the reference once. Raises VariantError if it can't be used."""
        kept = self.folder.reference / f"{variant.name}.json"
        prepared = find_prepared(self.folder.root, variant.name)
        if kept.is_file() and prepared is not None:
            return msgspec.json.decode(kept.read_bytes(), type=Ready)
        with self.folder.lock():
            prepared = self._prepare(variant, self._shop, self.context, self.record)
            remember(self.folder.root, prepared)
            found = self._compared(prepared)
        write_atomically(kept, msgspec.json.encode(found))
        return found

    def _compared(self, prepared: Prepared) -> Ready:
        with self.live(prepared, "answers") as live:
            return self.judged(live)

    def judged(self, live: Live) -> Ready:
        """What an open artefact answers to every sample of the evaluation, compared with the reference's answers.

        Raises VariantError if the outputs are nonsense.
        """
        prepared = live.prepared
        out = self.folder.reference / f"{prepared.variant.name}.npz"
        size = max(live.sizes) if live.sizes else 8
        live.answer(list(self.context.reference_ids), size, out, timeout_s=3 * _PATIENCE_S)
        score = Judge(self.folder, self.record, self.context).score(prepared.variant, out)
        if score.wrong is not None:
            raise VariantError(score.wrong)
        limit = max(_LEAST_LIMIT, 2 * score.largest_error)
        return Ready(prepared=prepared, quality=score.quality, check_limit=limit)

    @property
    def reference(self) -> Path:
        """The outputs that timed ones are checked against."""
        return self.folder.reference / "outputs.npz"

    def live(self, prepared: Prepared, tag: str) -> Live:
        """A measure child with an artefact in it, whatever the study's budget says; the caller closes it."""
        return Live(prepared, self.folder, profile("quick"), seed=self.record.seed, tag=tag, patience_s=_PATIENCE_S)

    def result(self, fields: dict[str, Any]) -> Result:
        """A Result of this subject's."""
        record = self.record
        return Result(study_id=record.study_id, env_id=record.env_id, created_unix_ns=time.time_ns(), **fields)


class Runner:
    """Times turns of one variant, each once: what is on disk is read, the rest is measured in one child, opened late.

    A context manager that ends the child. `measured`: how many turns were really made.
    """

    def __init__(self, subject: Subject, ready: Ready) -> None:
        self.subject, self.ready = subject, ready
        self.measured = 0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.close()

    def run(self, turn: Turn) -> tuple[Result, Trace]:
        """The Result of a turn and what happened in it; raises VariantError if the child can't go on."""
        runs = self.subject.folder.runs
        result = kept(runs, turn.run_id)
        if result is None:
            if self._live is None:
                self._live = self.subject.live(self.ready.prepared, f"runs-{os.getpid()}")
            result = self._live.run(
                turn,
                reference=self.subject.reference,
                check_limit=self.ready.check_limit,
                common=self.subject.result,
            )
            self.measured += 1
        return result, Trace.load(runs / str(result.trace))

    @property
    def start_s(self) -> float | None:
        """Seconds from a fresh process to an opened engine; None if everything was on disk."""
        return None if self._live is None else self._live.set_up.start_s


def kept(runs: Path, run_id: str) -> Result | None:
    """A run that is on disk with the trace it was written with; None if it has to be made."""
    path = runs / f"{run_id}.json"
    if not path.is_file():
        return None
    result = Result.load(path)
    trace = runs / str(result.trace)
    if not trace.is_file() or hashlib.sha256(trace.read_bytes()).hexdigest() != result.trace_sha256:
        return None
    return result


def offline_turn(run_id: str, size: int, seconds: float, *, trial: int, samples: int | None = None) -> Turn:
    """A batch job in batches of one size."""
    fields = {} if samples is None else {"samples": samples}
    return Turn(
        run_id=run_id,
        phase="measure",
        target="batch",
        scenario=Named("offline", fields),
        batching=Named("fixed", {"size": size}),
        duration_s=seconds,
        trial=trial,
    )


def curve(
    runner: Runner, seconds: float, sizes: Sequence[int] = SIZES, *, name: str = "", twice: bool = True
) -> dict[int, npt.NDArray[np.int64]]:
    """Service times (ns) by batch size, measured with batch jobs, until two sizes in a row gain nothing.

    twice: up and down, so that a drift of the machine doesn't look like a property of large batches. name: of the
    variant, where several share a folder.
    """
    tag = f"curve-{name}-{seconds:g}s" if name else "curve"
    found = _useful(runner, seconds, sizes, tag)
    for size in reversed(list(found) if twice else []):
        _, trace = runner.run(offline_turn(f"{tag}-{size}-again", size, seconds, trial=100 + size))
        found[size].append(_services(trace, size))
    return {size: np.concatenate(parts) for size, parts in found.items()}


def _useful(runner: Runner, seconds: float, sizes: Sequence[int], tag: str) -> dict[int, list[npt.NDArray[np.int64]]]:
    found: dict[int, list[npt.NDArray[np.int64]]] = {}
    best, falling = 0.0, 0
    for size in sizes:
        try:
            _, trace = runner.run(offline_turn(f"{tag}-{size}", size, seconds, trial=size))
        except VariantError:
            if not found:
                raise
            break
        services = _services(trace, size)
        if not len(services):
            break
        found[size] = [services]
        rate = size / float(np.median(services))
        falling = falling + 1 if rate < 0.97 * best else 0
        best = max(best, rate)
        if falling >= 2:
            break
    return found


def _services(trace: Trace, size: int) -> npt.NDArray[np.int64]:
    """One service time (ns) a batch of that size."""
    done = trace.counted().ok()
    firsts = np.unique(done.batch, return_index=True)[1]
    full = done.batch_size[firsts] == size
    services: npt.NDArray[np.int64] = done.service_ns[firsts][full]
    return services


def best_size(by_size: dict[int, npt.NDArray[np.int64]]) -> int:
    """The batch size with the highest throughput; a smaller one that comes within 2 % is preferred."""
    rates = {size: size / float(np.median(services)) for size, services in by_size.items()}
    return min(size for size, rate in rates.items() if rate >= 0.98 * max(rates.values()))
