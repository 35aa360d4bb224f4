"""A compressed model as its user holds it: the file, how good its answers are, what it weighs, in which precision."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

import msgspec

from accel.compilation import Effective
from accel.compilation._artefact import NAME
from accel.errors import InputError
from accel.plugins import Named
from accel.recipe import variant_name
from accel.report.numerics import told
from accel.result import Numerics, Quality, SetUp
from accel.units import show_bytes, show_seconds

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
"""The forms that are files which a runtime loads without accel, and how such a file ends."""


class Compressed(msgspec.Struct, frozen=True, kw_only=True):
    """What `accel.compress` made: a file that plain ONNX Runtime or OpenVINO loads, with what is known about it.

    path: the .onnx, or the .xml with its .bin beside it; external data lies in the same folder.
    quality: against the original in the same runtime, on samples it wasn't made with. numerics: what computes in which
    precision, where that was read. effective: what ran while it was judged.
    before_bytes, after_bytes: the files of the original in the same form, and these. seconds: all of making it.
    """

    name: str
    path: Path
    form: Literal["onnx", "openvino"]
    techniques: tuple[Named, ...]
    backend: Named
    quality: Quality
    numerics: Numerics | None
    effective: Effective
    set_up: SetUp
    before_bytes: int
    after_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Copy the model to a file (its own suffix) or into a folder; what belongs to it goes beside it.

        Gives the path of the model there. Raises InputError if something is there already, unless `overwrite`.
        """
        target = destination(path, self.form)
        copies = {source: self._place(source, target) for source in self._files()}
        for there in copies.values():
            free(there, overwrite=overwrite)
        try:
            for source, there in copies.items():
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, there)
        except OSError as error:
            raise InputError(f"`{target}` can't be written: {error.strerror or error}. Choose another place.") from None
        return target

    def _files(self) -> list[Path]:
        """The model's own files, it itself last: a copy that breaks off leaves no model without its weights."""
        others = [p for p in sorted(self.path.parent.rglob("*")) if p.is_file() and p != self.path]
        return [*others, self.path]

    def _place(self, source: Path, target: Path) -> Path:
        """OpenVINO looks for its weights under the model's name, ONNX under the name that stands in the model."""
        if source in (self.path, self.path.with_suffix(".bin")):
            return target.with_suffix(source.suffix)
        return target.parent / source.relative_to(self.path.parent)

    def __str__(self) -> str:
        share = f"{100 * self.after_bytes / max(1, self.before_bytes):.0f} %"
        lines = [
            f"{self.name}, {variant_name(self.techniques, self.backend)}: {show_bytes(self.after_bytes)}, "
            f"{share} of {show_bytes(self.before_bytes)}",
            f"  {_judged(self.quality)}",
            *(f"  {line}" for line in self._computes()),
            *(f"  {note}" for note in self.notes),
            f"  {self.path}",
            f"  made in {show_seconds(self.seconds)}; not timed: `accel.bench` says whether it is faster",
        ]
        return "\n".join(lines)

    def _computes(self) -> list[str]:
        """What computes in 8 bits and what doesn't, and why."""
        lines = told(self.numerics) if self.numerics is not None else []
        return [line for line in lines if line.startswith(("in 8 bits", "left in float"))]

    def __repr__(self) -> str:
        return f"<Compressed {self.path}: {self.quality.outcome}, {show_bytes(self.after_bytes)}>"


def destination(path: str | os.PathLike[str], form: str) -> Path:
    """Where the model goes: the path itself if it ends as such a file does, else a file in that folder.

    >>> str(destination("int8.onnx", "onnx")), str(destination("made", "openvino"))
    ('int8.onnx', 'made/model.xml')
    """
    to = Path(path).expanduser()
    suffix = SUFFIXES[form]
    if to.suffix == suffix and not to.is_dir():
        return to
    if to.suffix in SUFFIXES.values() and not to.is_dir():
        raise InputError(f"The compressed model is a `{suffix}` file, but `{to}` ends in `{to.suffix}`.")
    return to / f"model{suffix}"


def free(path: Path, *, overwrite: bool = False) -> None:
    """InputError if a file would be lost."""
    if path.exists() and not overwrite:
        raise InputError(f"`{path}` exists already. Choose another name, or use `.save(path, overwrite=True)`.")


def files_bytes(folder: Path) -> int:
    """Bytes of a model's files, less accel's own description beside them."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and f.name != NAME)


def _judged(quality: Quality) -> str:
    """The verdict in a sentence: what was compared, what came out, by which rule."""
    told = f"{quality.outcome.upper()} on {quality.samples} samples: {quality.rule}"
    if quality.metric is not None and quality.value is not None:
        ends = "" if quality.low is None or quality.high is None else f" [{quality.low:.3f}, {quality.high:.3f}]"
        told = f"{quality.metric} {quality.value:.3f}{ends}, was {quality.reference_value:.3f}; {told}"
    elif quality.agreement is not None and "agreement" in quality.rule:
        told = f"{100 * quality.agreement:.1f} % of the answers agree with the original's; {told}"
    elif quality.sqnr_db is not None:
        told = f"{quality.sqnr_db:.1f} dB from the original's outputs; {told}"
    return f"{told} ({quality.reason})" if quality.reason else told
