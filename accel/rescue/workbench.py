"""Makes the forms a search asks for, runs them over the validation part, has them judged and times them roughly."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel import plugins
from accel.compression._rules import tools_for
from accel.errors import VariantError
from accel.measurement.cgroup import usable_cores
from accel.measurement.outputs import split_rows
from accel.plugins import Named
from accel.rescue.record import Kind, Step
from accel.rescue.rough import relative_time

if TYPE_CHECKING:
    from accel.compilation import Engine
    from accel.model import Model
    from accel.recipe import Variant
    from accel.result import Quality
    from accel.samples import Samples

Rows = dict[str, list[npt.NDArray[Any]]]
Judge = Callable[[Rows], "Quality"]
Within = Callable[["Quality"], bool]
_LARGEST_BATCH = 8
_TIMED_S = 2.0


class Workbench:
    """Everything that stays the same while one variant is rescued.

    model: as it was loaded; the variant's techniques before the quantizer are applied once. samples: with its parts.
    Raises VariantError if the variant has no quantizer, or there is nothing to judge by.
    """

    def __init__(self, variant: Variant, model: Model, samples: Samples, judge: Judge, *, within: Within) -> None:
        places = [i for i, one in enumerate(variant.compression) if one.name.startswith("quantize")]
        if not places:
            raise VariantError(f"`{variant.name}` isn't quantized, so there is nothing to put back to float.")
        self.variant, self.place, self.target = variant, places[-1], variant.backend.name
        self.calibration = samples.only(samples.calibration)
        self.ids = np.asarray(samples.validation, np.int64)
        if not len(self.ids):
            raise VariantError("There are no validation samples to judge a rescue by.", "Give more samples.")
        self._samples, self._judge, self._within = samples, judge, within
        self._root = getattr(model, "folder", None)
        self._there = self._folders()
        self.before = model
        for one in variant.compression[: self.place]:
            self.before = plugins.make("compression", one).apply(self.before, self.calibration, self.target)
        self._prepared: dict[bytes, tuple[Path, Path]] = {}
        self._float: Engine | None = None
        self._float_folder: tempfile.TemporaryDirectory[str] | None = None
        self._batch = self._batch_size()

    def technique(self, compression: tuple[Named, ...]) -> Any:
        """The quantizing technique of a compression, as its struct."""
        return plugins.make("compression", compression[self.place])

    def with_fields(self, compression: tuple[Named, ...], fields: dict[str, Any]) -> tuple[Named, ...]:
        """The same compression with other fields of its quantizer, as they stand in a recipe."""
        named = compression[self.place]
        changed = plugins.plain(plugins.make("compression", Named(named.name, {**named.fields, **fields})))
        return (*compression[: self.place], changed, *compression[self.place + 1 :])

    def quantizer(self, compression: tuple[Named, ...]) -> str:
        """Whose tool quantizes it: the technique's own word, else that of the backend."""
        technique = self.technique(compression)
        return str(technique.quantizer(self.target)) if hasattr(technique, "quantizer") else tools_for(self.target)

    def quantized_types(self, technique: Any) -> dict[str, int]:
        """Operator types of the graph that this technique would quantize, with their numbers."""
        facts = self.before.facts
        if not self.uses_qdq(self.variant.compression):
            return dict(facts.operators)
        from accel.compression import _qdq

        wanted = set(_qdq.operators(facts, technique))
        return {name: n for name, n in facts.operators.items() if name in wanted}

    @property
    def threads(self) -> int:
        """Of one operator, as the variant's backend is set; 1 where a backend has no such knob."""
        return int(getattr(self._backend(), "threads", 1)) or usable_cores()

    def make(self, compression: tuple[Named, ...]) -> Model:
        """The model in this form, made cleanly; raises VariantError if it can't be."""
        technique = self.technique(compression)
        if self.uses_qdq(compression):
            model = self._requantized(technique)
        else:
            model = technique.apply(self.before, self.calibration, self.target)
        for one in compression[self.place + 1 :]:
            model = plugins.make("compression", one).apply(model, self.calibration, self.target)
        return model

    def uses_qdq(self, compression: tuple[Named, ...]) -> bool:
        """True if ONNX Runtime's static quantizer makes it, whose ranges can be learned once for many forms."""
        return compression[self.place].name == "quantize_static" and self.quantizer(compression) == "onnxruntime"

    def float_and_ranges(self, technique: Any) -> tuple[Path, Path]:
        """The float graph and the learned ranges of a technique; learned once for all that leave other nodes out."""
        from accel.compression import _qdq

        same = msgspec.structs.replace(technique, keep=(), exclude=())
        key = msgspec.json.encode(same, order="deterministic")
        if key not in self._prepared:
            source = _qdq.prepared_float(self.before, same)
            self._prepared[key] = (source, _qdq.calibrated(source, same, self.before, self.calibration))
        return self._prepared[key]

    def _requantized(self, technique: Any) -> Model:
        from accel.compression import _qdq
        from accel.compression._graph import quantized_facts, quantized_operators, require

        source, ranges = self.float_and_ranges(technique)
        path = _qdq.quantized(source, ranges, technique, self.before, self.before.scratch() / "model.onnx")
        require(quantized_operators(path), _qdq.operators(self.before.facts, technique))
        return self.before.derive("onnx", path, facts=quantized_facts(self.before))

    def step(
        self,
        what: str,
        kind: Kind,
        compression: tuple[Named, ...],
        left_float: tuple[str, ...] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> Step:
        """Make, run, judge and time one form; what goes wrong on the way is its `reason`, not an error."""
        begun = clock()
        step = Step(what=what, kind=kind, compression=compression, left_float=left_float)
        try:
            with self._tidied(), self.opened(self.make(compression)) as engine:
                quality = self._judge(self.rows(engine))
                step = self._judged(step, quality)
                step = self._timed(step, engine)
        except Exception as error:  # a form that a toolchain can't make or run is a finding
            reason = str(error).strip().partition("\n")[0]
            named = "" if isinstance(error, VariantError) else f"{type(error).__name__}: "
            step = msgspec.structs.replace(step, outcome="failed", acceptable=False, reason=f"{named}{reason}"[:300])
        return msgspec.structs.replace(step, seconds=clock() - begun)

    def _judged(self, step: Step, quality: Quality) -> Step:
        outcome = "failed" if quality.outcome == "unmeasured" else quality.outcome
        score, drop = quality.value, quality.drop
        if score is None and quality.agreement is not None:
            score, drop = quality.agreement, 1 - quality.agreement
        return msgspec.structs.replace(
            step,
            outcome=outcome,
            acceptable=outcome == "passes" or (outcome == "unresolved" and self._within(quality)),
            score=score,
            drop=drop,
            distance_db=quality.sqnr_db,
            reason=quality.reason,
        )

    def _timed(self, step: Step, engine: Engine) -> Step:
        feed = self._feed(self._typical())
        other = self._float_engine()
        found = relative_time(lambda: engine.run(feed), lambda: other.run(feed), seconds=_TIMED_S)
        return msgspec.structs.replace(
            step, relative_time=found.value, relative_time_low=found.low, relative_time_high=found.high
        )

    def rows(self, engine: Engine) -> Rows:
        """Answers to the validation part, one row a sample, by output name."""
        found: Rows = {}
        for start in range(0, len(self.ids), self._batch):
            ids = self.ids[start : start + self._batch]
            for row in split_rows(engine.run(self._feed(ids)), len(ids)):
                for name, value in row.items():
                    found.setdefault(name, []).append(np.array(value))
        return found

    def batches(self, count: int) -> list[dict[str, npt.NDArray[Any]]]:
        """Some calibration samples in the order of the model's inputs, for ranking: `count` of them at least."""
        available = int(self.calibration.count)
        ids = np.unique(np.linspace(0, available - 1, min(count, available)).astype(np.int64))
        found = []
        for start in range(0, len(ids), self._batch):
            part = self._filled(ids[start : start + self._batch])
            batch = self.calibration.batch(part)
            found.append({t.name: np.ascontiguousarray(batch[t.name]) for t in self.before.signature.inputs})
        return found

    @contextmanager
    def opened(self, model: Model) -> Iterator[Engine]:
        """An engine of the variant's backend for a model; its artefact is gone afterwards."""
        backend = self._backend()
        with tempfile.TemporaryDirectory() as folder:
            backend.build(model, Path(folder))
            engine: Engine = backend.open(Path(folder))
            try:
                yield engine
            finally:
                engine.close()

    def _backend(self) -> Any:
        """The variant's backend; idle threads don't spin, since two engines take turns here."""
        backend = plugins.make("compilation", self.variant.backend)
        return msgspec.structs.replace(backend, spinning=False) if hasattr(backend, "spinning") else backend

    def _float_engine(self) -> Engine:
        if self._float is None:
            self._float_folder = tempfile.TemporaryDirectory()
            backend = self._backend()
            backend.build(self.before, Path(self._float_folder.name))
            self._float = backend.open(Path(self._float_folder.name))
        return self._float

    def close(self) -> None:
        """Let go of the float engine and of what was prepared on the way."""
        if self._float is not None:
            self._float.close()
            self._float = None
        if self._float_folder is not None:
            self._float_folder.cleanup()
        for made in self._folders() - self._there:
            shutil.rmtree(made, ignore_errors=True)

    def _folders(self) -> set[Path]:
        """The model's folders of forms that were made on the way."""
        return set() if self._root is None else set(self._root.rglob("made_*"))

    @contextmanager
    def _tidied(self) -> Iterator[None]:
        """Forms are made in fresh folders of the model's own; those of a finished step are removed."""
        there = self._folders()
        try:
            yield
        finally:
            kept = {source.parent for source, _ in self._prepared.values()}
            for made in self._folders() - there - kept:
                shutil.rmtree(made, ignore_errors=True)

    def _batch_size(self) -> int:
        fixed = self.before.signature.batch
        if fixed != "any":
            return int(fixed)
        return 1 if self._samples.ragged else min(_LARGEST_BATCH, len(self.ids))

    def _filled(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """A model with a fixed batch gets full ones: the last row again and again."""
        missing = 0 if self.before.signature.batch == "any" else self._batch - len(ids)
        return np.concatenate([ids, np.repeat(ids[-1:], missing)]) if missing else ids

    def _feed(self, ids: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        return {name: np.ascontiguousarray(value) for name, value in self._samples.batch(self._filled(ids)).items()}

    def _typical(self) -> npt.NDArray[np.int64]:
        """The ids of a batch of middle length."""
        ids = self.ids
        for lengths in self._samples.lengths.values():
            ids = ids[np.argsort(lengths[ids], kind="stable")]
        start = max(0, (len(ids) - self._batch) // 2)
        return ids[start : start + self._batch]
