"""A study as its user holds it: what it says, the winners, the table, the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from accel.analysis.conclusion import Answer, Conclusion, StudyRecord
from accel.analysis.reading import conclude
from accel.errors import InputError
from accel.recipe import Recipe, to_toml
from accel.result import Result
from accel.study.folder import StudyFolder
from accel.study.given import absolute
from accel.study.options import Options, default_folder, resolve
from accel.study.progress import Progress, Quiet
from accel.study.session import Session
from accel.study.winner import Winner, keep_winners

if TYPE_CHECKING:
    import pandas as pd


class Study:
    """All results of one study on this machine, and the recommendation that follows from them.

    >>> study = accel.bench("model.onnx", samples="samples.npz")     # doctest: +SKIP
    >>> study.best("online").p99                                     # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        self._files = StudyFolder(self.folder)
        self.record: StudyRecord = self._files.record()

    @cached_property
    def results(self) -> list[Result]:
        """Every committed run."""
        return list(self._files.results().values())

    @cached_property
    def conclusion(self) -> Conclusion:
        """What the runs say."""
        return conclude(self.record, self.results, self._files.runs)

    def best(self, target: Literal["batch", "online", "memory"]) -> Winner:
        """The fastest variant that kept the accuracy (and the SLO, online), or your original; for memory the smallest.

        Raises InputError if the study didn't look at this target.
        """
        if target not in ("batch", "online", "memory"):
            raise InputError(f'best() takes "batch", "online" or "memory", but got `{target}`.')
        answer: Answer | None = getattr(self.conclusion, target)
        if answer is None:
            again = "memory" if target == "memory" else "both"
            raise InputError(
                f"This study has no answer for `{target}`: it was made with target `{self.record.target}`, "
                f'or nothing was measured for it. Run it again with target="{again}".'
            )
        return Winner(self, answer)

    def frame(self) -> pd.DataFrame:
        """Tidy: one row per variant, target and metric, with value, interval, unit, n, validity and evidence."""
        from accel.analysis.frame import frame

        return frame(self.conclusion, self.results)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the HTML page; one file that opens offline."""
        from accel.report.page import write

        write(self.folder, Path(path))
        return Path(path)

    def to_json(self) -> bytes:
        """The conclusion as JSON with stable keys."""
        from accel.report.jsonout import as_json

        return as_json(self.conclusion)

    def __str__(self) -> str:
        from accel.report.table import text

        return text(self.conclusion)

    def __repr__(self) -> str:
        return f"<Study {self.record.name} in {self.folder}: {self.conclusion.headline}>"

    def _repr_html_(self) -> str:
        from accel.report.table import html_fragment

        return html_fragment(self.conclusion)


class Plan(msgspec.Struct, frozen=True):
    """What a study would try, without timing anything."""

    record: StudyRecord
    options: Options

    @property
    def variants(self) -> list[str]:
        """The names of the variants, in the order in which they'd be tried."""
        return [v.name for v in self.record.variants]

    def describe(self) -> str:
        """The plan in words, with what is refused beforehand and how the time would be spent."""
        from accel.study.describe import describe_plan

        return describe_plan(self.record, self.options)

    def recipe_toml(self) -> str:
        """A recipe that repeats exactly this plan."""
        options = self.options
        for what, value in (("model", options.model), ("samples", options.samples), ("labels", options.labels)):
            if value is not None and not isinstance(value, str | os.PathLike):
                raise InputError(
                    f"A recipe can't hold the {what} you gave, a live {type(value).__name__}. "
                    f"Put it into a file and give `file.py:{what}`."
                )
        return to_toml(
            Recipe(
                model=absolute(os.fspath(options.model)),
                samples=None if options.samples is None else absolute(os.fspath(options.samples)),
                labels=None if options.labels is None else absolute(os.fspath(options.labels)),
                metric=options.metric if isinstance(options.metric, str) else None,
                slo=options.slo_text or None,
                accuracy_drop=f"{100 * options.accuracy_drop:g}pp",
                target=options.target,
                budget=f"{options.budget_s:g}s",
                profile=options.profile.name,
                name=options.name,
                random_weights=options.random_weights,
                padding=options.padding,
                defaults=False,
                seed=options.seed,
                variants=self.record.variants,
            )
        )


def bench(
    model: Any,
    samples: Any = None,
    *,
    labels: Any = None,
    metric: Any = None,
    slo: str | None = None,
    target: str | None = None,
    accuracy_drop: str | float | None = None,
    budget: str | float | None = None,
    profile: str | None = None,
    backend: Sequence[Any] = (),
    compression: Sequence[Any] = (),
    batch: Sequence[int] = (),
    variants: Sequence[Any] = (),
    defaults: bool | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    name: str | None = None,
    trust_file: bool = False,
    random_weights: bool | None = None,
    padding: Any = None,
    seed: int | None = None,
    price: str | float | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Study:
    """Compare the ways to run `model` on this machine and recommend one for batch jobs and one for online requests.

    model: a torch module, any callable, a path (.onnx, .pt2, .xml), `file.py:factory`, `package.module:factory`, a
    recipe (.toml) or "demo". samples: see `accel.samples`; None makes synthetic inputs and says so. slo: "p99=20ms".
    budget: "5m". price: what an instance costs an hour, "0.20/h". Writes everything to `out` (default
    accel-results/NAME-DATE). Raises InputError for wrong input and NothingMeasured if nothing could be run.
    """
    given = {k: v for k, v in locals().items() if k not in ("model", "out", "resume", "progress")}
    options = resolve(model, **given)
    folder = StudyFolder((Path(out) if out is not None else default_folder(options.name)).absolute())
    folder.create(resume=resume)
    with folder.lock():
        if not resume:
            folder.begin_anew()
        begun = folder.record_path.exists()
        try:
            Session(options, folder, progress or Quiet()).run()
        except InputError:
            if not begun and not folder.holds_runs():
                folder.discard()
            raise
        study = Study(folder.root)
        keep_winners(study)
        study.report(folder.report)
    return study


def plan_study(model: Any, samples: Any = None, *, out: Any = None, resume: bool = False, **given: Any) -> Plan:
    """What `bench` would try with the same arguments; looks at the model, times nothing, leaves nothing behind."""
    import tempfile

    given.pop("progress", None)
    options = resolve(model, samples=samples, **given)
    with tempfile.TemporaryDirectory(prefix="accel-plan-") as place:
        folder = StudyFolder(Path(place) / "plan")
        return Plan(Session(options, folder, Quiet()).plan(), options)


def open_study(folder: str | os.PathLike[str]) -> Study:
    """A study that was written to disk, by now or last year; needs no torch and no runtime."""
    return Study(folder)


def write_report(studies: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Path:
    """Make the page of one study, or of several side by side, from their stored results; needs no torch, no runtime.

    Raises InputError for a folder that holds no study and for a place that can't be written.
    """
    from accel.report.page import write
    from accel.report.side_by_side import write_several

    folders = [Path(study) for study in studies]
    if len(folders) == 1:
        write(folders[0], Path(out))
    else:
        write_several(folders, Path(out))
    return Path(out)
