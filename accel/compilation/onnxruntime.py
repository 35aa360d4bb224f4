"""ONNX Runtime on the CPU: the model file is the artefact, the graph is optimised while it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Refusal, threads_or
from accel.compilation._artefact import Artefact, check_inputs, place, script_head
from accel.compilation._reasons import explain
from accel.measurement.cgroup import usable_cores

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

_LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
_LEAVE_FLOAT = ("optimization.disable_specified_optimizers", "WeightBiasQuantization")
_RUNTIME = "ONNX Runtime"


class OnnxRuntime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The CPU provider of ONNX Runtime.

    threads: of one operator; 0 means every core this process may use. inter_threads: operators run side by side.
    spinning: whether idle threads burn their core while they wait for the next run; None leaves it to the runtime (on).
    optimization: how far the graph is rewritten. save_optimized: write the rewritten graph while building; loads
        faster, but the file is right for this kind of processor only.
    """

    threads: int = 0
    spinning: bool | None = None
    optimization: Literal["all", "extended", "basic", "none"] = "all"
    inter_threads: int = 1
    save_optimized: bool = False

    runs: ClassVar[tuple[str, ...]] = ("onnx",)
    runtime: ClassVar[str] = "onnxruntime"
    extra: ClassVar[str | None] = None
    build_fields: ClassVar[tuple[str, ...]] = ("optimization", "save_optimized")
    plain: ClassVar[bool] = True

    def env(self) -> dict[str, str]:
        return {}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        return None

    def build(self, model: Model, folder: Path) -> None:
        """Copy the model, its external data with it; raises VariantError where a file is missing."""
        from accel.compilation._onnx import external_files, float_between_quantized, stored_as

        if model.precision != "float32":
            raise explain(
                RuntimeError(f"NOT_IMPLEMENTED: this model asks for {model.precision}"),
                _RUNTIME,
                "building the artefact",
            )
        source = Path(model.as_form("onnx"))
        for name in external_files(source):
            place(source.parent / name, folder / name)
        place(source, folder / "model.onnx")
        artefact = msgspec.structs.replace(
            Artefact.of(model, "model.onnx", stored=stored_as(source)), left_float=float_between_quantized(source)
        )
        if self.save_optimized:
            artefact = self._optimized(artefact, folder)
        artefact.save(folder)

    def _optimized(self, artefact: Artefact, folder: Path) -> Artefact:
        import onnxruntime as ort

        options = self.options(ort, artefact)
        options.optimized_model_filepath = str(folder / "optimized.onnx")
        self._session(ort, folder / artefact.file, options)
        return msgspec.structs.replace(artefact, file="optimized.onnx")

    def open(self, folder: Path) -> OnnxRuntimeEngine:
        """Load the artefact; raises VariantError if ONNX Runtime refuses it."""
        import onnxruntime as ort

        artefact = Artefact.load(folder)
        options = self.options(ort, artefact)
        return OnnxRuntimeEngine(self._session(ort, folder / artefact.file, options), artefact, self)

    @staticmethod
    def _session(ort: Any, path: Path, options: Any) -> Any:
        try:
            return ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise explain(error, _RUNTIME, "loading the model") from error

    def options(self, ort: Any, artefact: Artefact) -> Any:
        """The SessionOptions with which this variant opens an artefact."""
        options = ort.SessionOptions()
        level = "none" if artefact.file == "optimized.onnx" else self.optimization
        if artefact.left_float:
            options.add_session_config_entry(*_LEAVE_FLOAT)
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[level])
        options.intra_op_num_threads = self.thread_count
        options.inter_op_num_threads = self.inter_threads
        if self.inter_threads > 1:
            options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        if self.spinning is not None:
            # Unknown keys are accepted in silence, so only known ones are ever set.
            value = "1" if self.spinning else "0"
            options.add_session_config_entry("session.intra_op.allow_spinning", value)
            options.add_session_config_entry("session.inter_op.allow_spinning", value)
        options.log_severity_level = 3
        return options

    @property
    def thread_count(self) -> int:
        """The threads of one operator, with 0 resolved."""
        return threads_or(usable_cores(), self.threads)

    def script(self, folder: Path) -> str:
        artefact = Artefact.load(folder)
        level = "none" if artefact.file == "optimized.onnx" else self.optimization
        spinning = (
            ""
            if self.spinning is None
            else (f'options.add_session_config_entry("session.intra_op.allow_spinning", "{int(self.spinning)}")\n')
        )
        leave = f"options.add_session_config_entry{_LEAVE_FLOAT!r}\n" if artefact.left_float else ""
        return (
            f"import onnxruntime as ort\n\n{script_head(artefact)}options = ort.SessionOptions()\n"
            f"options.graph_optimization_level = ort.GraphOptimizationLevel.{_LEVELS[level]}\n"
            f"options.intra_op_num_threads = {self.thread_count}\n"
            f"options.inter_op_num_threads = {self.inter_threads}\n{spinning}{leave}"
            f'MODEL = str(here / "{artefact.file}")\n'
            'session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])\n'
            "\n\ndef predict(inputs):\n    return dict(zip(OUTPUTS, session.run(None, inputs), strict=True))\n"
        )


class OnnxRuntimeEngine:
    """One session; `run` may be called from several threads and returns arrays of its own."""

    parallel_runs = True

    def __init__(self, session: Any, artefact: Artefact, backend: OnnxRuntime) -> None:
        self.sizes = artefact.sizes
        self._session = session
        self._dtypes = {t.name: np.dtype(t.dtype) for t in artefact.inputs}
        self._names = [output.name for output in session.get_outputs()]
        spinning = "default (on)" if backend.spinning is None else str(backend.spinning).lower()
        detail = {
            "optimization": backend.optimization,
            "spinning": spinning,
            "inter_threads": str(backend.inter_threads),
        }
        self.effective = Effective(
            precision=artefact.stored,
            threads=session.get_session_options().intra_op_num_threads,
            provider=session.get_providers()[0],
            detail=detail,
        )

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        names = self._names
        try:
            return dict(zip(names, self._session.run(names, inputs), strict=True))
        except Exception as error:
            check_inputs(inputs, self._dtypes)
            raise explain(error, _RUNTIME, _doing(inputs)) from error

    def close(self) -> None:
        self._session = None


def _doing(inputs: Mapping[str, npt.NDArray[Any]]) -> str:
    return f"running a batch of {next((len(a) for a in inputs.values() if a.ndim), 0)}"
