"""Returns at once: no model runs, so what is measured is the harness alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Refusal
from accel.compilation._artefact import Artefact, check_inputs, prebuilt, script_head

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model


class Null(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers every request with the same zeros of the right shape, without looking at it."""

    runs: ClassVar[tuple[str, ...]] = ("onnx", "torch", "openvino", "callable")
    runtime: ClassVar[str] = "numpy"
    extra: ClassVar[str | None] = None
    build_fields: ClassVar[tuple[str, ...]] = ()
    plain: ClassVar[bool] = True

    def env(self) -> dict[str, str]:
        return {}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        return None

    def build(self, model: Model, folder: Path) -> None:
        """Write the shapes of the outputs; no form of the model is made."""
        Artefact.of(model, "", stored="nothing").save(folder)

    def open(self, folder: Path) -> NullEngine:
        return NullEngine(Artefact.load(folder))

    def script(self, folder: Path) -> str:
        shapes = {
            t.name: [t.dtype, *prebuilt(Artefact.load(folder), 1)[t.name].shape[1:]]
            for t in Artefact.load(folder).outputs
        }
        return (
            f"import numpy as np\n\n{script_head(Artefact.load(folder))}SHAPES = {shapes!r}\n\n\n"
            "def predict(inputs):\n"
            "    n = len(next(iter(inputs.values())))\n"
            "    return {name: np.zeros((n, *shape[1:]), shape[0]) for name, shape in SHAPES.items()}\n"
        )


class NullEngine:
    """Prebuilt arrays, one set a batch size."""

    parallel_runs = True

    def __init__(self, artefact: Artefact) -> None:
        self.sizes = artefact.sizes
        self.effective = Effective(precision="none", threads=0, provider="null")
        self._artefact = artefact
        self._first = artefact.input_names[0]
        self._dtypes = {t.name: np.dtype(t.dtype) for t in artefact.inputs}
        self._prebuilt: dict[int, Arrays] = {}

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        try:
            return self._prebuilt[len(inputs[self._first])]
        except KeyError:
            return self._build(inputs)

    def _build(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        check_inputs(inputs, self._dtypes)
        n = len(inputs[self._first])
        self._prebuilt[n] = prebuilt(self._artefact, n)
        return self._prebuilt[n]

    def close(self) -> None:
        self._prebuilt.clear()
