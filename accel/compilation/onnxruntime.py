"""ONNX Runtime on the CPU: the model file is the artefact, the graph is optimised while it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Engine, Refusal, threads_or
from accel.compilation._artefact import Artefact, check_inputs, place, script_head
from accel.compilation._cuda import on_cpu, onnxruntime_refusal
from accel.compilation._onnx_settings import read_back, script_lines, session_options
from accel.compilation._onnxruntime_cuda import cuda_providers, environment, for_gpu, open_gpu
from accel.compilation._processor import instruction_sets, same_kind
from accel.compilation._reasons import explain
from accel.measurement.cgroup import usable_cores

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

_RUNTIME = "ONNX Runtime"
_MODEL = "model.onnx"
SAVED = "optimized.onnx"


class OnnxRuntime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The CPU provider of ONNX Runtime.

    threads: of one operator; 0 means every core this process may use. inter_threads: operators run side by side.
    spinning: whether idle threads burn their core while they wait for the next run; None leaves it to the runtime (on).
    stop_spinning: idle threads spin within a run, but stop once it is over.
    optimization: how far the graph is rewritten. save_optimized: write the rewritten graph while building; loads
        faster, but the file is right for this kind of processor only (elsewhere the original is opened).
    flush_denormals: numbers below the smallest normal one count as zero; None: if they do in the thread that opens it,
        as they do wherever accel measures.
    prepacking, arena, memory_pattern: lay weights out beforehand, keep memory between runs, plan it by shape; all on
        by default, and each off takes less memory. dynamic_block_base: finer pieces of work towards the end of an
        operator, so that threads finish together (0: off).
    device: "cuda" is the CUDA provider on the first NVIDIA GPU; copying there and back is part of every run.
    precision: on the GPU only; "float32" forbids TensorFloat-32, "tf32" allows it, "f16" converts the model.
    """

    threads: int = 0
    spinning: bool | None = None
    stop_spinning: bool = False
    optimization: Literal["all", "layout", "extended", "basic", "none"] = "all"
    inter_threads: Annotated[int, msgspec.Meta(ge=1)] = 1
    save_optimized: bool = False
    flush_denormals: bool | None = None
    prepacking: bool = True
    arena: bool = True
    memory_pattern: bool = True
    dynamic_block_base: Annotated[int, msgspec.Meta(ge=0)] = 0
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "tf32", "f16"] = "float32"

    runs: ClassVar[tuple[str, ...]] = ("onnx",)
    runtime: ClassVar[str] = "onnxruntime"
    extra: ClassVar[str | None] = None
    build_fields: ClassVar[tuple[str, ...]] = ("optimization", "save_optimized", "device", "precision")
    plain: ClassVar[bool] = True

    def env(self) -> dict[str, str]:
        return environment(self.precision) if self.device == "cuda" else {}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        on_gpu = self.device == "cuda"
        if on_gpu and self.save_optimized:
            return Refusal("`save_optimized` is for the processor.", 'Leave it out, or use device = "cpu".')
        return onnxruntime_refusal(machine, self.precision, "cuda") if on_gpu else on_cpu(self.precision)

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
        place(source, folder / _MODEL)
        artefact = msgspec.structs.replace(
            Artefact.of(model, _MODEL, stored=stored_as(source)), left_float=float_between_quantized(source)
        )
        if self.device == "cuda":
            artefact = for_gpu(artefact, folder, self.precision)
        elif self.save_optimized:
            artefact = self._optimized(artefact, folder)
        artefact.save(folder)

    def _optimized(self, artefact: Artefact, folder: Path) -> Artefact:
        import onnxruntime as ort

        options = self.options(ort, artefact)
        options.optimized_model_filepath = str(folder / SAVED)
        self._session(ort, folder / artefact.file, options)
        return msgspec.structs.replace(artefact, file=SAVED, made_for=instruction_sets())

    def open(self, folder: Path) -> Engine:
        """Load the artefact; raises VariantError if ONNX Runtime refuses it."""
        import onnxruntime as ort

        artefact = fitting(Artefact.load(folder))
        if self.device == "cuda":
            options = self.options(ort, artefact)
            return open_gpu(ort, artefact, folder, options, self.precision)
        session = self._session(ort, folder / artefact.file, self.options(ort, artefact))
        return OnnxRuntimeEngine(session, artefact, self)

    @staticmethod
    def _session(ort: Any, path: Path, options: Any) -> Any:
        try:
            return ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise explain(error, _RUNTIME, "loading the model") from error

    def options(self, ort: Any, artefact: Artefact) -> Any:
        """The SessionOptions with which this variant opens an artefact."""
        level = "none" if artefact.file == SAVED else self.optimization
        return session_options(ort, self, level, leave_float=bool(artefact.left_float))

    @property
    def thread_count(self) -> int:
        """The threads of one operator, with 0 resolved."""
        return threads_or(usable_cores(), self.threads)

    def script(self, folder: Path) -> str:
        """From the original file: run.py may be started on another kind of processor than a rewritten one is for."""
        artefact = Artefact.load(folder)
        options = script_lines(self, self.optimization, leave_float=bool(artefact.left_float))
        providers = cuda_providers(self.precision) if self.device == "cuda" else ["CPUExecutionProvider"]
        return (
            f"import onnxruntime as ort\n\n{script_head(artefact)}{options}"
            f'MODEL = str(here / "{artefact.file if self.device == "cuda" else _MODEL}")\n'
            f"session = ort.InferenceSession(MODEL, options, providers={providers!r})\n"
            "\n\ndef predict(inputs):\n    return dict(zip(OUTPUTS, session.run(None, inputs), strict=True))\n"
        )


def fitting(artefact: Artefact) -> Artefact:
    """The original graph instead of one that was rewritten for another kind of processor."""
    if artefact.file != SAVED or same_kind(artefact.made_for):
        return artefact
    return msgspec.structs.replace(artefact, file=_MODEL)


class OnnxRuntimeEngine:
    """One session; `run` may be called from several threads and returns arrays of its own."""

    parallel_runs = True

    def __init__(self, session: Any, artefact: Artefact, backend: OnnxRuntime) -> None:
        self.sizes = artefact.sizes
        self._session = session
        self._dtypes = {t.name: np.dtype(t.dtype) for t in artefact.inputs}
        self._names = [output.name for output in session.get_outputs()]
        detail = read_back(session)
        if backend.save_optimized:
            if artefact.file == SAVED:
                detail["optimization"] = f"{backend.optimization}, saved while building"
            else:
                detail["saved graph"] = "not used: made for another kind of processor"
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
