"""ONNX Runtime on an NVIDIA GPU, by its CUDA or its TensorRT provider: arrays are bound to the device by hand.

A provider that can't be loaded is left out by ONNX Runtime without an error and the processor computes instead; here
that is an error. Both providers allow TensorFloat-32 unless they are told otherwise, so they always are.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, DeviceTimes, Effective
from accel.compilation._artefact import Artefact, check_inputs
from accel.compilation._reasons import explain
from accel.errors import VariantError

CLOCK = "the host's clock around copies and runs that are waited for one by one"
RUNTIME = "ONNX Runtime"
NAMES = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
HALF = "half.onnx"
_NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}
Providers = list[tuple[str, dict[str, str]]]


def environment(precision: str) -> dict[str, str]:
    """What a child needs before the runtime is loaded: float32 that is float32, also in TensorRT and cuDNN."""
    return {} if precision != "float32" else dict(_NO_TF32)


def cuda_providers(precision: str) -> Providers:
    """The CUDA provider, then the processor for what it lacks."""
    options = {"device_id": "0", "use_tf32": str(int(precision == "tf32"))}
    return [(NAMES["cuda"], options), ("CPUExecutionProvider", {})]


def open_session(ort: Any, path: Path, options: Any, providers: Providers) -> Any:
    """A session whose first provider really is the one asked for; raises VariantError."""
    if hasattr(ort, "preload_dlls"):
        # CUDA and cuDNN of the packages that torch brings; what isn't there must be on the loader's path.
        ort.preload_dlls()
    wanted = providers[0][0]
    available = ort.get_available_providers()
    if wanted not in available:
        raise VariantError(
            f"This {RUNTIME} has no {wanted}; it has {', '.join(available)}.",
            "Install it with: pip uninstall --yes onnxruntime && pip install --force-reinstall onnxruntime-gpu",
        )
    try:
        session = ort.InferenceSession(str(path), sess_options=options, providers=providers)
    except Exception as error:
        raise explain(error, RUNTIME, "loading the model on the GPU") from error
    if session.get_providers()[0] != wanted:
        raise VariantError(
            f"{RUNTIME} left out its {wanted} and would have computed on the processor: a library is missing.",
            "Install CUDA and cuDNN with it: pip install --force-reinstall 'onnxruntime-gpu[cuda,cudnn]'",
        )
    return session


def to_float16(source: Path, target: Path) -> None:
    """The model with 16-bit floats inside and its inputs and outputs as they were (ONNX Runtime's own converter)."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        made = convert_float_to_float16(onnx.load(source), keep_io_types=True)
        onnx.save(made, target)
    except Exception as error:
        raise VariantError(
            f"The model can't be converted to float16: {type(error).__name__}: {str(error)[:200]}.",
            'Use precision = "tf32".',
        ) from error


def for_gpu(artefact: Artefact, folder: Path, precision: str) -> Artefact:
    """The artefact with its model in 16 bits, if that is the precision; raises VariantError."""
    if precision != "f16":
        return artefact
    to_float16(folder / artefact.file, folder / HALF)
    return msgspec.structs.replace(artefact, file=HALF, stored="f16")


def open_gpu(ort: Any, artefact: Artefact, folder: Path, options: Any, precision: str) -> GpuSession:
    """The CUDA provider's session with everything bound by hand; raises VariantError."""
    session = open_session(ort, folder / artefact.file, options, cuda_providers(precision))
    told = Effective(
        precision=artefact.stored if artefact.stored != "float32" else precision,
        threads=session.get_session_options().intra_op_num_threads,
        provider=f"{session.get_providers()[0]}, cuda",
        detail={"TF32": "on" if precision == "tf32" else "off", "inputs and outputs": "bound to the device"},
    )
    return GpuSession(ort, session, artefact, told)


class GpuSession:
    """A session with its inputs and outputs bound to the device; one run at a time."""

    parallel_runs = False

    def __init__(
        self, ort: Any, session: Any, artefact: Artefact, effective: Effective, sizes: tuple[int, ...] | None = None
    ) -> None:
        self.sizes = artefact.sizes or sizes
        self.effective = effective
        self._ort, self._session = ort, session
        self._names = [output.name for output in session.get_outputs()]
        self._dtypes = {t.name: np.dtype(t.dtype) for t in artefact.inputs}
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        check_inputs(inputs, self._dtypes)
        try:
            with self._lock:
                binding = self._bound(inputs)
                self._session.run_with_iobinding(binding)
                return self._fetched(binding)
        except Exception as error:
            n = len(next(iter(inputs.values())))
            raise explain(error, RUNTIME, f"running a batch of {n} on the GPU") from error

    def _bound(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Any:
        """Every input copied to the device; outputs are left there until they are fetched."""
        binding = self._session.io_binding()
        for name in self._dtypes:
            array = np.ascontiguousarray(inputs[name])
            binding.bind_ortvalue_input(name, self._ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
        for name in self._names:
            binding.bind_output(name, "cuda")
        return binding

    def _fetched(self, binding: Any) -> Arrays:
        binding.synchronize_outputs()
        return dict(zip(self._names, binding.copy_outputs_to_cpu(), strict=True))

    def apart(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int = 20) -> DeviceTimes:
        """What copying there, computing and copying back take, each the median of `repeats` runs of one batch."""
        self.run(inputs)
        parts = []
        for _ in range(repeats):
            with self._lock:
                marks = [time.perf_counter()]
                binding = self._bound(inputs)
                binding.synchronize_inputs()
                marks.append(time.perf_counter())
                self._session.run_with_iobinding(binding)
                binding.synchronize_outputs()
                marks.append(time.perf_counter())
                self._fetched(binding)
                marks.append(time.perf_counter())
                parts.append(tuple(b - a for a, b in pairwise(marks)))
        there, computed, back = (statistics.median(p[i] for p in parts) for i in range(3))
        rows = len(next(iter(inputs.values())))
        return DeviceTimes(
            rows=rows, repeats=repeats, to_device_s=there, compute_s=computed, to_host_s=back, source=CLOCK
        )

    def close(self) -> None:
        self._session = None
