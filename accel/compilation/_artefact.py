"""What `build` leaves beside the model file, so that `open` needs no toolchain to know what it loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import VariantError
from accel.model.types import Tensor

if TYPE_CHECKING:
    from accel.compilation import Arrays
    from accel.model import Model

NAME = "artefact.json"


class Artefact(msgspec.Struct, frozen=True, kw_only=True):
    """The model file of a folder, its inputs and outputs in order, and how its numbers are stored.

    sizes: batch sizes the model takes, ascending; None means any.
    precision: what the model asks for outside its quantized parts ("float32", "bf16", "f16").
    stored: how weights and activations stand in the file ("float32", "int8", "int8 dynamic", "f16", ...).
    left_float: operators of a quantized file that the runtime must be told to leave in float.
    made_for: instruction sets of the processor that the file was compiled or rewritten for; empty if it fits any.
    """

    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    sizes: tuple[int, ...] | None
    precision: str = "float32"
    stored: str = "float32"
    left_float: tuple[str, ...] = ()
    made_for: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Model, file: str, *, stored: str = "float32") -> Artefact:
        """Describe a model that lies (or will lie) in `file` of the artefact folder."""
        signature = model.signature
        return cls(
            file=file,
            inputs=tuple(signature.inputs),
            outputs=tuple(signature.outputs),
            sizes=None if signature.batch == "any" else (int(signature.batch),),
            precision=model.precision,
            stored=stored,
        )

    def save(self, folder: Path) -> None:
        (folder / NAME).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> Artefact:
        """Read it back; raises VariantError if the folder holds no artefact, or one whose model lies elsewhere."""
        try:
            found = msgspec.json.decode((folder / NAME).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise VariantError(
                f"The folder `{folder}` holds no artefact: {error}.", "Prepare the variant again."
            ) from None
        if Path(found.file).name != found.file or "\\" in found.file:
            raise VariantError(
                f"The artefact `{folder}` names a model outside its folder: `{found.file}`. It isn't opened.",
                "Prepare the variant again.",
            )
        return found

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(t.name for t in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(t.name for t in self.outputs)


def place(source: Path, target: Path) -> None:
    """Copy a file into the artefact; never a link, since whoever owns the original may overwrite it in place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def prebuilt(artefact: Artefact, batch: int) -> Arrays:
    """Zeros of the outputs' shapes; an axis that may vary counts 1, the batch axis `batch`."""
    return {t.name: np.zeros(_shape(t, batch), dtype=np.dtype(t.dtype)) for t in artefact.outputs}


def _shape(tensor: Tensor, batch: int) -> tuple[int, ...]:
    rest = tuple(a if isinstance(a, int) else 1 for a in tensor.shape[1:])
    return (batch, *rest) if tensor.shape else ()


def check_inputs(inputs: Mapping[str, npt.NDArray[Any]], dtypes: Mapping[str, np.dtype[Any]]) -> None:
    """Raise VariantError where a name is missing or a dtype isn't the model's (some runtimes cast in silence)."""
    for name, dtype in dtypes.items():
        given = inputs.get(name)
        if given is None:
            raise VariantError(
                f"The input `{name}` is missing; given: {', '.join(f'`{n}`' for n in inputs) or 'nothing'}.",
                "Name the sample arrays as the model names its inputs.",
            )
        if given.dtype != dtype:
            raise VariantError(
                f"The input `{name}` must be {dtype}, but is {given.dtype}.", f"Convert the samples to {dtype}."
            )


def script_head(artefact: Artefact) -> str:
    """The line of run.py that every runtime's `predict` shares: the output names in order."""
    return f"OUTPUTS = {json.dumps(list(artefact.output_names))}\n"
