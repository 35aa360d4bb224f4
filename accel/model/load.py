"""A model in a child process: loaded once, its other forms made on demand and kept for the next child."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from accel.errors import VariantError
from accel.model import convert
from accel.model.signature import Arrays, of_size, rows
from accel.model.types import Facts, Signature, Source, Tensor
from accel.samples.store import Samples
from accel.samples.table import Table

Form = Literal["torch", "onnx", "openvino", "callable", "sklearn"]
Precision = Literal["float32", "bf16", "f16"]
_UNREAD = object()
"""Stands for a form that is there, but wasn't needed so far."""


class Model:
    """A network, its signature and its forms; a child's side of a Source.

    forms: what is there without conversion. precision: what a compression asked the backend for.
    notes: what was noticed or decided on the way, in sentences. seconds: "load" and, once made, "export".
    folder: this model's own place on disk; forms are made under `folder/forms`.
    calibrated: what a quantizer's calibration saw (`accel.result.Calibrated`), None where there was none.
    table: how a model of tables wants its samples laid out; None for any other.
    """

    def __init__(
        self,
        *,
        source: Source,
        signature: Signature,
        folder: Path,
        forms: dict[str, Any],
        example: Arrays | None = None,
        precision: Precision = "float32",
        notes: tuple[str, ...] = (),
        seconds: dict[str, float] | None = None,
        facts: Facts | None = None,
        original: Model | None = None,
        calibrated: Any = None,
        table: Table | None = None,
    ) -> None:
        self.source = source
        self.signature = signature
        self.folder = Path(folder)
        self.precision = precision
        self.notes = notes
        self.seconds = dict(seconds or {})
        self._forms = dict(forms)
        self._example = example
        self._facts = facts
        self._samples: Samples | None = None
        self._original = original
        self.calibrated = calibrated
        self.table = table

    @property
    def original(self) -> Model:
        """The model as the user gave it, from which this one was derived in any number of steps; maybe this one."""
        return self if self._original is None else self._original

    @classmethod
    def load(cls, source: Source, folder: Path, samples: Samples | None = None) -> Model:
        """Load what `describe` found. samples: needed for a torch module or a function, whose inputs they tell.

        Raises InputError where the user must give something else, VariantError where the model itself fails.
        """
        from accel.model.read import read

        started = time.perf_counter()
        found = read(source, Path(folder), samples)
        return cls(
            source=found.source,
            signature=found.signature,
            folder=folder,
            forms={found.form: found.value},
            example=_example(found.signature, found.example, samples),
            notes=found.notes,
            table=found.table,
            seconds={"load": time.perf_counter() - started},
        )

    @classmethod
    def reopen(
        cls, source: Source, folder: Path, samples: Samples | None, *, signature: Signature, facts: Facts
    ) -> Model:
        """A model whose signature and facts an earlier child has found out.

        The source itself is read only if the form it came in is asked for, so that a runtime's artefact is made from
        the forms on disk without loading a framework.
        """
        model = cls(
            source=source,
            signature=signature,
            folder=folder,
            forms={facts.forms[0]: _UNREAD},
            example=_example(signature, None, samples),
            facts=facts,
        )
        model._samples = samples
        return model

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that are there already."""
        return tuple(self._forms)

    @property
    def example(self) -> Arrays | None:
        """Real inputs to trace the model with: two rows, or one batch of the fixed size; None for a file."""
        return self._example

    @cached_property
    def facts(self) -> Facts:
        """What decides which variants are worth trying; made from the ONNX form where there can be one."""
        from accel.model.facts import facts_of

        if self._facts is not None:
            return self._facts
        facts, notes = facts_of(self)
        self.notes = tuple(dict.fromkeys((*self.notes, *notes)))
        return facts

    def has_path_to(self, form: str) -> bool:
        """True if the form is there or could be made from one that is."""
        return any(form in convert.reachable(one) for one in self._forms)

    def as_form(self, form: str) -> Any:
        """The model in a form: "torch" a TorchForm, "onnx" and "openvino" a path (alone in a folder), "callable" Call,
        "sklearn" an Estimator.

        Made when first asked for and kept on disk. Raises VariantError with the reason if it can't be made.
        """
        if form not in self._forms:
            self._forms[form] = self._made(form)
        if self._forms[form] is _UNREAD and form == "sklearn":
            from accel.model.estimator import kept

            self._forms[form] = kept(self.source, self.folder) or _UNREAD
        if self._forms[form] is _UNREAD:
            whole = Model.load(self.source, self.folder, self._samples)
            self._forms[form] = whole.as_form(form)
            self._example = whole.example
            self.seconds |= whole.seconds
        return self._forms[form]

    def _made(self, form: str) -> Path:
        if not self.has_path_to(form):
            raise VariantError(f"a model that came as {' or '.join(self._forms)} can't be turned into {form}")
        folder = self.folder / "forms" / form
        kept, failed = folder / "seconds.json", folder.with_name(f"{form}.failed.json")
        if failed.exists():
            raise VariantError(**json.loads(failed.read_text()))
        if not kept.exists():
            origin = next(f for f in convert.PATHS[form] if self.has_path_to(f))
            value = self.as_form(origin)
            started = time.perf_counter()
            try:
                commit(folder, lambda part: self._convert(form, value, part), started)
            except VariantError as error:  # the next child needn't try again
                failed.write_text(json.dumps({"reason": error.reason, "next_step": error.next_step}))
                raise
        self.seconds["export"] = self.seconds.get("export", 0.0) + float(json.loads(kept.read_text())["seconds"])
        return folder / convert.MODEL_FILE[form]

    def _convert(self, form: str, value: Any, part: Path) -> None:
        if form == "openvino":
            convert.onnx_to_openvino(value, part)
            return
        if "sklearn" in self._forms:
            from accel.model.estimator_onnx import estimator_to_onnx

            estimator_to_onnx(value, self.signature, part / convert.MODEL_FILE[form])
            return
        if self._example is None:
            raise VariantError("the model can't be exported to ONNX without an example input", "Give samples.")
        convert.torch_to_onnx(value, self.signature, self._example, part)

    def derive(
        self,
        form: str,
        value: Any,
        *,
        precision: Precision | None = None,
        notes: tuple[str, ...] = (),
        facts: Facts | None = None,
        calibrated: Any = None,
    ) -> Model:
        """A new model of the same signature that has just this form; this one stays as it is.

        facts: None counts them anew where the form is a file, and keeps this model's where it isn't.
        """
        same = form in ("torch", "callable") or value is self._forms.get(form)
        return Model(
            source=self.source,
            signature=self.signature,
            folder=self.scratch(),
            forms={form: value},
            example=self._example,
            precision=precision or self.precision,
            notes=(*self.notes, *notes),
            seconds=self.seconds,
            facts=facts or (self.facts if same else None),
            original=self.original,
            calibrated=calibrated or self.calibrated,
        )

    def scratch(self) -> Path:
        """A fresh empty folder of this model's, for files that are made from it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="made_", dir=self.folder))


def _example(signature: Signature, known: Arrays | None, samples: Samples | None) -> Arrays | None:
    """Two rows, or one batch of the fixed size: what the signature was seen with, else samples that fit it."""
    if known is None and samples is not None and all(_fits(t, samples.inputs.get(t.name)) for t in signature.inputs):
        batch = rows(samples, 2)
        known = {t.name: batch[t.name] for t in signature.inputs}
    return None if known is None else of_size(known, 2 if signature.batch == "any" else signature.batch)


def _fits(tensor: Tensor, array: Any) -> bool:
    return array is not None and array.dtype.name == tensor.dtype and array.ndim == len(tensor.shape)


def commit(folder: Path, make: Any, started: float) -> None:
    """Let `make` fill a folder beside `folder`, note the seconds, and rename it into place: whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        make(part)
        (part / "seconds.json").write_text(json.dumps({"seconds": time.perf_counter() - started}))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(part, folder)  # noqa: PTH105  # the commit point
    finally:
        shutil.rmtree(part, ignore_errors=True)
