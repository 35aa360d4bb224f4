"""torch as it comes: the module itself in inference mode, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Engine, Refusal, threads_or
from accel.compilation._artefact import Artefact, check_inputs
from accel.compilation._cuda import torch_build, torch_refusal
from accel.compilation._torch import (
    Direct,
    autocast,
    cpu_refusal,
    explain_torch,
    import_quantized_operators,
    precision_of,
    save_example,
    script,
)
from accel.measurement.cgroup import usable_cores

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

_LAID_OUT = "model = model.to(memory_format=torch.channels_last)\n"


class Eager(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user's own module; the baseline of torch models.

    threads: of one operator; 0 means every core this process may use.
    channels_last: lay images out with their channels innermost, which some convolutions prefer.
    device: "cuda" is the first NVIDIA GPU; copying there and back is part of every run.
    precision: on the processor "float32", or "bf16" for autocast: bfloat16 where that is safe. On the GPU "float32"
        forbids TensorFloat-32, "tf32" allows it, and 16 bits convert the weights.
    """

    threads: int = 0
    channels_last: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "tf32", "bf16", "f16"] = "float32"

    runs: ClassVar[tuple[str, ...]] = ("torch",)
    runtime: ClassVar[str] = "torch"
    extra: ClassVar[str | None] = "torch"
    build_fields: ClassVar[tuple[str, ...]] = ()
    takes_turns: ClassVar[bool] = True

    def env(self) -> dict[str, str]:
        return {}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        if self.device == "cuda":
            return torch_refusal(machine, self.precision, torch_build())
        return cpu_refusal(self.precision, machine)

    def build(self, model: Model, folder: Path) -> None:
        """Store the module; raises VariantError if it can't be stored."""
        model.as_form("torch").save(folder)
        artefact = Artefact.of(model, "torch_form.pkl", stored="int8" if model.facts.quantized else "float32")
        precision_of(artefact)
        artefact.save(folder)
        save_example(model, folder)

    def open(self, folder: Path) -> Engine:
        """Load the module; raises VariantError if its own code can't be imported."""
        import torch

        from accel.model.torch_form import TorchForm

        torch.set_num_threads(threads_or(usable_cores(), self.threads))
        artefact = Artefact.load(folder)
        import_quantized_operators(artefact)
        form = TorchForm.open(folder)
        if self.device == "cuda":
            from accel.compilation._torch_cuda import open_eager

            return open_eager(form, artefact, self.precision, channels_last=self.channels_last)
        if self.channels_last:
            form.module.to(memory_format=torch.channels_last)
        precision = precision_of(artefact, self.precision)
        return EagerEngine(form, artefact, precision, channels_last=self.channels_last)

    def script(self, folder: Path) -> str:
        """Also exports the module into `folder` the first time."""
        artefact = Artefact.load(folder)
        if self.device == "cuda":
            from accel.compilation._torch_cuda import script_on_gpu

            return script_on_gpu(folder, artefact, self.precision, _LAID_OUT if self.channels_last else "")
        prepare = f"torch.set_num_threads({threads_or(usable_cores(), self.threads)})\n"
        prepare += _LAID_OUT if self.channels_last else ""
        if precision_of(artefact, self.precision) == "bf16":
            prepare += 'bf16 = torch.autocast("cpu", torch.bfloat16)\nplain = model\n'
            prepare += "\n\ndef model(*tensors):\n    with bf16:\n        return plain(*tensors)\n"
        laid_out = "t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors"
        return script(folder, prepare, f"model(*[{laid_out}])" if self.channels_last else "model(*tensors)")


def layout(module: Any) -> str:
    """Which weights of images really lie with their channels innermost; those of one channel or pixel lie both ways."""
    import torch

    weights = [p for p in (*module.parameters(), *module.buffers()) if p.ndim == 4]
    last = sum(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    if not weights:
        return "asked for, but no weight has four axes"
    return "true" if last == len(weights) else f"{last} of {len(weights)} weights"


class EagerEngine:
    """The module behind named arrays."""

    parallel_runs = True

    def __init__(self, form: Any, artefact: Artefact, precision: str, *, channels_last: bool) -> None:
        import torch

        self.sizes = artefact.sizes
        self._call: Any = Direct(form)
        self._precision = precision
        self._channels_last = channels_last
        self._names = artefact.output_names
        self._dtypes = {t.name: np.dtype(t.dtype) for t in artefact.inputs}
        self.effective = Effective(
            precision=self._precision,
            threads=torch.get_num_threads(),
            provider="torch eager",
            detail={
                "channels_last": layout(form.module) if channels_last else "false",
                "mkldnn": str(torch.backends.mkldnn.is_available()).lower(),
            },
        )

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        import torch

        from accel.model.torch_form import as_numpy

        check_inputs(inputs, self._dtypes)
        try:
            with torch.inference_mode(), autocast(self._precision):
                outputs = self._call(self._tensors(inputs))
            return {name: as_numpy(value) for name, value in zip(self._names, outputs, strict=True)}
        except Exception as error:
            n = len(next(iter(inputs.values())))
            raise explain_torch(error, f"running a batch of {n}") from error

    def _tensors(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        import torch

        from accel.model.torch_form import as_tensor

        tensors = {name: as_tensor(inputs[name]) for name in self._dtypes}
        if not self._channels_last:
            return tensors
        last = torch.channels_last
        return {n: t.contiguous(memory_format=last) if t.ndim == 4 else t for n, t in tensors.items()}

    def close(self) -> None:
        self._call = None
