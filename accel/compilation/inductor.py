"""torch.compile: the module traced and compiled to C++ for this processor, ahead of time where its cache allows it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Engine, Refusal, threads_or
from accel.compilation._artefact import Artefact, check_inputs
from accel.compilation._compiler import cache_in, compiler, kernels, no_compiler
from accel.compilation._cuda import torch_build, torch_refusal
from accel.compilation._torch import (
    Direct,
    autocast,
    cpu_refusal,
    explain_torch,
    fewer,
    import_quantized_operators,
    load_example,
    precision_of,
    save_example,
    script,
)
from accel.measurement.cgroup import usable_cores

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

_CACHE = "inductor"


class Inductor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """torch.compile with its own compiler, inductor.

    threads: of one operator; 0 means every core this process may use.
    freezing: treat weights as constants, so that they can be folded and laid out beforehand.
    mode: how hard inductor tries; "max-autotune" takes several times longer to compile. "reduce-overhead" means CUDA
        graphs and is for the GPU.
    device: "cuda" is the first NVIDIA GPU; copying there and back is part of every run.
    precision: on the processor "float32", or "bf16" for autocast: bfloat16 where that is safe. On the GPU "float32"
        forbids TensorFloat-32, "tf32" allows it, 16 bits convert the weights, and 8 bits (torchao) quantize Linear
        layers over bf16.
    sizes: on the GPU only, the batch sizes to compile, each by itself; others are filled up to the next.

    A batch of one is compiled apart from larger ones (torch specialises on 1); all larger ones share one graph.
    Opening still traces the module again: the kernels come from the cache in the artefact, the trace does not.
    """

    threads: int = 0
    freezing: bool = False
    mode: Literal["default", "reduce-overhead", "max-autotune"] = "default"
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "tf32", "bf16", "f16", "int8", "fp8"] = "float32"
    sizes: tuple[Annotated[int, msgspec.Meta(ge=1)], ...] = (1, 8, 32)

    runs: ClassVar[tuple[str, ...]] = ("torch",)
    runtime: ClassVar[str] = "torch"
    slow_to_build: ClassVar[bool] = True
    # Opening one resets what torch has compiled in this process.
    shares_process: ClassVar[bool] = False
    extra: ClassVar[str | None] = "torch"
    build_fields: ClassVar[tuple[str, ...]] = ("threads", "freezing", "mode", "device", "precision", "sizes")

    def env(self) -> dict[str, str]:
        if self.device == "cuda":
            # Triton's kernels are many and each takes seconds; idle workers wait asleep, and a few are enough.
            return {"TORCHINDUCTOR_COMPILE_THREADS": "4"}
        # One compile worker means none: compiling in the process itself leaves no pool behind beside a measurement.
        return {"TORCHINDUCTOR_COMPILE_THREADS": "1"}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        if (refusal := no_compiler("torch.compile")) is not None:
            return refusal
        if self.device == "cuda":
            return torch_refusal(machine, self.precision, torch_build())
        if self.mode == "reduce-overhead":
            return Refusal(
                "`reduce-overhead` means CUDA graphs; on the CPU it is plain compiling.", "Leave `mode` out."
            )
        if self.sizes != type(self)().sizes:
            return Refusal(
                "`sizes` is for the GPU; on the processor one graph takes every size above one.", "Leave `sizes` out."
            )
        return cpu_refusal(self.precision, machine)

    def build(self, model: Model, folder: Path) -> None:
        """Store the module and compile it into the folder's own cache; raises VariantError with torch's reason."""
        model.as_form("torch").save(folder)
        Artefact.of(model, "torch_form.pkl", stored="int8" if model.facts.quantized else "float32").save(folder)
        save_example(model, folder)
        self.open(folder).close()

    def open(self, folder: Path) -> Engine:
        """Trace, load the kernels from the artefact's cache (or compile what isn't there), and run each graph once."""
        import torch

        from accel.model.torch_form import TorchForm

        torch.set_num_threads(threads_or(usable_cores(), self.threads))
        # A graph compiled earlier in this process for the same class would be reused, whatever its options.
        torch._dynamo.reset()
        # So would kernels, and would then be missing in this artefact's cache.
        torch._inductor.utils.clear_caches()
        artefact = Artefact.load(folder)
        # Only frozen graphs are matched to 8-bit kernels; unfrozen ones compute in float around each step.
        freezing = self.freezing or artefact.stored == "int8"
        import_quantized_operators(artefact)
        form = TorchForm.open(folder)
        if self.device == "cuda":
            return self._open_on_gpu(form, artefact, folder)
        form.module.compile(mode=self.mode)
        precision = precision_of(artefact, self.precision)
        engine = InductorEngine(Direct(form), artefact, precision, self._detail(freezing), freezing=freezing)
        try:
            # A precompiled header's path is part of each kernel's key, and artefacts are moved once they are done.
            settings = torch._inductor.config.patch(cpp_cache_precompile_headers=False, compile_threads=1)
            with cache_in(folder / _CACHE), settings:
                engine.warm_up(load_example(folder), folder / _CACHE)
        except Exception as error:
            engine.close()
            raise explain_torch(error, "compiling the model") from error
        return engine

    def _open_on_gpu(self, form: Any, artefact: Artefact, folder: Path) -> Engine:
        from accel.compilation._inductor_cuda import open_compiled

        with cache_in(folder / _CACHE):
            return open_compiled(
                form,
                artefact,
                folder,
                precision=self.precision,
                mode=self.mode,
                freezing=self.freezing,
                sizes=self.sizes,
            )

    def _detail(self, freezing: bool) -> dict[str, str]:
        return {"freezing": str(freezing).lower(), "mode": self.mode, "compiler": compiler() or "none"}

    def script(self, folder: Path) -> str:
        """Also exports the module into `folder` the first time."""
        if self.device == "cuda":
            from accel.compilation._torch_cuda import script_on_gpu

            compiled = f'model = torch.compile(model, mode="{self.mode}", dynamic=False)\n'
            return script_on_gpu(folder, Artefact.load(folder), self.precision, compiled)
        prepare = f"torch.set_num_threads({threads_or(usable_cores(), self.threads)})\n"
        artefact = Artefact.load(folder)
        if self.freezing or artefact.stored == "int8":
            prepare += "torch._inductor.config.freezing = True\n"
        prepare += f'model = torch.compile(model, mode="{self.mode}")\n'
        if precision_of(artefact, self.precision) == "bf16":
            prepare += 'compiled = model\n\n\ndef model(*tensors):\n    with torch.autocast("cpu", torch.bfloat16):\n'
            prepare += "        return compiled(*tensors)\n"
        return script(folder, prepare, "model(*tensors)")


class InductorEngine:
    """A compiled module behind named arrays; one run at a time."""

    parallel_runs = False

    def __init__(
        self, call: Any, artefact: Artefact, precision: str, detail: dict[str, str], *, freezing: bool
    ) -> None:
        import torch

        self.sizes = artefact.sizes
        self._call: Any = call
        self._artefact = artefact
        self._precision = precision
        self._dtypes = {t.name: np.dtype(t.dtype) for t in artefact.inputs}
        self._names = artefact.output_names
        self._lock = threading.Lock()
        # For the whole process until close(): as an option of torch.compile it reaches the compiler but not the
        # tracer, and a size that is compiled later must be frozen as well.
        self._frozen_before = torch._inductor.config.freezing
        torch._inductor.config.freezing = freezing
        self.effective = Effective(
            precision="int8" if artefact.stored == "int8" else self._precision,
            threads=torch.get_num_threads(),
            provider="torch inductor",
            detail=detail,
        )

    def warm_up(self, example: Arrays, cache: Path) -> None:
        """Compile what will be asked for: the fixed size, or one graph for a batch of 1 and one for all others.

        `effective` then says how many kernels had to be compiled because the cache didn't hold them.
        """
        before = kernels(cache)
        for rows in self.sizes or (1, 2):
            for _ in range(2):
                self._called(self._tensors(fewer(example, rows), mark=True))
        detail = {**self.effective.detail, "kernels compiled while opening": str(kernels(cache) - before)}
        self.effective = msgspec.structs.replace(self.effective, detail=detail)

    def _tensors(self, inputs: Mapping[str, npt.NDArray[Any]], *, mark: bool = False) -> dict[str, Any]:
        from accel.model.torch_form import as_tensor

        tensors = {name: as_tensor(inputs[name]) for name in self._dtypes}
        if mark:
            self._mark(tensors)
        return tensors

    def _mark(self, tensors: dict[str, Any]) -> None:
        """Tell torch which axes will vary, so that it doesn't compile anew for each size."""
        import torch

        for described in self._artefact.inputs:
            tensor = tensors[described.name]
            for axis, size in enumerate(described.shape):
                if isinstance(size, str) and tensor.shape[axis] > 1:
                    torch._dynamo.maybe_mark_dynamic(tensor, axis)

    def _called(self, tensors: dict[str, Any]) -> Any:
        import torch

        with torch.no_grad(), autocast(self._precision), self._lock:
            return self._call(tensors)

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        from accel.model.torch_form import as_numpy

        check_inputs(inputs, self._dtypes)
        try:
            outputs = self._called(self._tensors(inputs))
            return {name: as_numpy(value) for name, value in zip(self._names, outputs, strict=True)}
        except Exception as error:
            n = len(next(iter(inputs.values())))
            raise explain_torch(error, f"running a batch of {n}") from error

    def close(self) -> None:
        import torch

        torch._inductor.config.freezing = self._frozen_before
        self._call = None
