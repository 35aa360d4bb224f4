"""scikit-learn itself: the estimator's own predict_proba or predict; nothing is compiled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Refusal
from accel.compilation._artefact import Artefact, script_head
from accel.errors import InputError, VariantError

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

_FILE = "estimator.pkl"
_RECORD = "estimator.json"
_OPENMP = "HistGradientBoosting"


class Sklearn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The estimator as it was fitted.

    threads: for every part of it that can use several (n_jobs, OpenMP, BLAS); 0 leaves it as it was fitted.
    """

    threads: int = 0

    runs: ClassVar[tuple[str, ...]] = ("sklearn",)
    runtime: ClassVar[str] = "sklearn"
    extra: ClassVar[str | None] = "sklearn"
    shares_process: ClassVar[bool] = False
    takes_turns: ClassVar[bool] = True
    build_fields: ClassVar[tuple[str, ...]] = ()

    def env(self) -> dict[str, str]:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return dict.fromkeys(names, str(self.threads)) if self.threads > 0 else {}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        return None

    def build(self, model: Model, folder: Path) -> None:
        """Store the estimator; raises VariantError if it can't be pickled."""
        from accel.model import pickles

        try:
            sha256, roots = pickles.store({"estimator": model.as_form("sklearn")}, folder / _FILE)
        except Exception as error:  # a step of a pipeline may hold anything
            raise VariantError(
                f"The estimator can't be stored: {type(error).__name__}: {error}.",
                "Give it as `file.py:factory`, where the factory returns the fitted estimator.",
            ) from error
        (folder / _RECORD).write_text(json.dumps({"sha256": sha256, "sys_path": roots}))
        Artefact.of(model, _FILE, stored="float64").save(folder)

    def open(self, folder: Path) -> SklearnEngine:
        """Load the estimator; raises VariantError if what it is made of isn't installed here."""
        from accel.model import pickles

        artefact = Artefact.load(folder)
        record = json.loads((folder / _RECORD).read_text())
        try:
            given = pickles.restore(folder / _FILE, record["sha256"], tuple(record["sys_path"]))["estimator"]
        except InputError:
            raise
        except Exception as error:
            raise VariantError(
                f"The estimator can't be restored: {type(error).__name__}: {error}.",
                "Make sure that the scikit-learn it was prepared with is installed here.",
            ) from error
        if self.threads > 0:
            set_jobs(given.estimator, self.threads)
        return SklearnEngine(given, artefact, self.threads or threads_of(given.estimator))

    def script(self, folder: Path) -> str:
        return (
            "# An estimator is stored as a pickle; it needs accel and scikit-learn to be restored.\n"
            "from accel.compilation.sklearn import Sklearn\n\n"
            f"{script_head(Artefact.load(folder))}engine = Sklearn(threads={self.threads}).open(here)\n\n\n"
            "def predict(inputs):\n    return engine.run(inputs)\n"
        )


class SklearnEngine:
    """The estimator behind named arrays."""

    parallel_runs = False

    def __init__(self, estimator: Any, artefact: Artefact, threads: int) -> None:
        self.sizes = artefact.sizes
        self.effective = Effective(
            precision="float64", threads=threads, provider="scikit-learn", detail={"estimator": estimator.name}
        )
        self._estimator = estimator

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        try:
            answer: Arrays = self._estimator(inputs)
        except Exception as error:  # any step of a pipeline may raise anything
            raise VariantError(
                f"The estimator failed with {type(error).__name__}: {error}.",
                "Try its predict on the same samples outside accel.",
            ) from error
        return answer

    def close(self) -> None:
        self._estimator = None


def set_jobs(estimator: Any, threads: int) -> None:
    """Let every part of it that has n_jobs use so many threads."""
    names = [name for name in estimator.get_params() if name.rpartition("__")[2] == "n_jobs"]
    estimator.set_params(**dict.fromkeys(names, threads))
    for part in _ensembles(estimator):
        part.n_jobs = threads


def threads_of(estimator: Any) -> int:
    """How many threads its predict uses as it is: the most of its parts."""
    from joblib import effective_n_jobs
    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads  # no public way to ask

    counts = [1]
    for part in _ensembles(estimator):
        if type(part).__name__.startswith(_OPENMP):
            counts.append(int(_openmp_effective_n_threads()))
        elif getattr(part, "n_jobs", None) is not None:
            counts.append(int(effective_n_jobs(part.n_jobs)))
    return max(counts)


def _ensembles(estimator: Any) -> Iterator[Any]:
    """The estimator and the steps of a pipeline: whatever may run on several threads by itself."""
    yield estimator
    for _, step in getattr(estimator, "steps", ()):
        yield from _ensembles(step)
