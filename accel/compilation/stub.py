"""Takes the time it is told to take and answers with zeros: an engine whose truth is known, to check the harness by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Refusal
from accel.compilation._artefact import Artefact, check_inputs, prebuilt, script_head

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

_FACTORS = 65_536
"""So many calls until the drawn factors repeat: more than the trials of one experiment make."""
NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class Stub(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A batch of n takes `fixed_s + n * item_s` seconds, spent working ("spin") or waiting ("sleep").

    scatter: sigma of a lognormal factor (median 1) on every call, seeded. exponential: a factor of mean 1 from the
    exponential distribution on every call, so that queueing theory knows the answer. drift_per_s: by how much of itself
    the service time grows in each second since the engine was opened.
    """

    runs: ClassVar[tuple[str, ...]] = ("onnx", "torch", "openvino", "callable")
    runtime: ClassVar[str] = "numpy"
    extra: ClassVar[str | None] = None
    build_fields: ClassVar[tuple[str, ...]] = ()
    plain: ClassVar[bool] = True

    item_s: NotNegative = 0.002
    fixed_s: NotNegative = 0.0
    wait: Literal["spin", "sleep"] = "spin"
    scatter: NotNegative = 0.0
    exponential: bool = False
    drift_per_s: float = 0.0

    def env(self) -> dict[str, str]:
        return {}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        return None

    def build(self, model: Model, folder: Path) -> None:
        """Write the shapes of the outputs; no form of the model is made."""
        Artefact.of(model, "", stored="nothing").save(folder)

    def open(self, folder: Path) -> StubEngine:
        return StubEngine(self, Artefact.load(folder))

    def script(self, folder: Path) -> str:
        artefact = Artefact.load(folder)
        shapes = {t.name: [t.dtype, *prebuilt(artefact, 1)[t.name].shape[1:]] for t in artefact.outputs}
        return (
            f"import numpy as np\n\n{script_head(artefact)}SHAPES = {shapes!r}\n\n\n"
            "def predict(inputs):\n"
            "    n = len(next(iter(inputs.values())))\n"
            "    return {name: np.zeros((n, *shape[1:]), shape[0]) for name, shape in SHAPES.items()}\n"
        )


class StubEngine:
    """Spends the time, then hands out zeros."""

    parallel_runs = True

    def __init__(self, stub: Stub, artefact: Artefact) -> None:
        self.sizes = artefact.sizes
        self.effective = Effective(precision="none", threads=1, provider="stub")
        self._stub, self._artefact = stub, artefact
        self._first = artefact.input_names[0]
        self._dtypes = {t.name: np.dtype(t.dtype) for t in artefact.inputs}
        self._opened_ns = time.perf_counter_ns()
        rng = np.random.Generator(np.random.PCG64(0))
        factors = np.exp(rng.normal(0.0, stub.scatter, _FACTORS))
        if stub.exponential:
            factors *= rng.exponential(size=_FACTORS)
        self._factors: list[float] = factors.tolist() if stub.scatter or stub.exponential else []
        self._calls = 0

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        start = time.perf_counter_ns()
        check_inputs(inputs, self._dtypes)
        n = len(inputs[self._first])
        stub = self._stub
        seconds = stub.fixed_s + n * stub.item_s
        if self._factors:
            seconds *= self._factors[self._calls % len(self._factors)]
        if stub.drift_per_s:
            seconds *= 1.0 + stub.drift_per_s * (start - self._opened_ns) * 1e-9
        self._calls += 1
        outputs = prebuilt(self._artefact, n)
        end = start + round(seconds * 1e9)
        if stub.wait == "sleep":
            time.sleep(max(0.0, (end - time.perf_counter_ns()) * 1e-9))
        while time.perf_counter_ns() < end:
            continue
        return outputs

    def close(self) -> None:
        self._factors.clear()
