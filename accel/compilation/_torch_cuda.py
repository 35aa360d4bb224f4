"""A torch module on an NVIDIA GPU behind host arrays: there, computed, back, and done when `run` returns.

Inputs go through page-locked buffers that are kept, outputs come back in float32 where the model promises it. What
each of the three takes is measured by `apart` with CUDA events, never during a measured run.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, DeviceTimes, Effective
from accel.compilation._artefact import Artefact, check_inputs
from accel.compilation._torch import Direct, explain_torch, script
from accel.errors import VariantError

EVENTS = "CUDA events; the way there holds the copy into page-locked memory, computing holds the launching of kernels"
_DTYPES = {"bf16": "bfloat16", "f16": "float16"}
_TORCHAO = {"int8": "Int8DynamicActivationInt8WeightConfig", "fp8": "Float8DynamicActivationFloat8WeightConfig"}


def load_torch() -> Any:
    """torch, ready for its GPU; raises VariantError if it sees none."""
    import torch

    if not torch.cuda.is_available():
        raise VariantError(
            f"torch {torch.__version__} sees no GPU it can use.",
            "Run `accel doctor`, which says what is missing, or leave `device` out.",
        )
    return torch


def set_tf32(torch: Any, allowed: bool) -> str:
    """Let float32 products and convolutions round to TensorFloat-32, or forbid it; what then holds, read back.

    torch's own default forbids it for products and allows it for convolutions, so that "float32" would be neither.
    """
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    products = torch.get_float32_matmul_precision() != "highest"
    convolutions = bool(torch.backends.cudnn.allow_tf32)
    return "on" if products and convolutions else "off" if not products and not convolutions else "mixed"


def prepare(torch: Any, form: Any, precision: str, *, channels_last: bool) -> Any:
    """Move a TorchForm's module to the GPU, in the precision asked for; gives the device.

    bf16 and f16 convert weights; int8 and fp8 (torchao) quantize Linear layers over bf16. Raises VariantError.
    """
    device = torch.device("cuda")
    try:
        form.module.to(device)
        dtype = low_dtype(torch, precision)
        if dtype is not None:
            form.module.to(dtype)
        if channels_last:
            form.module.to(memory_format=torch.channels_last)
        if precision in _TORCHAO:
            _quantize(form.module, precision)
    except Exception as error:
        raise explain_torch(error, "moving the model to the GPU") from error
    return device


def low_dtype(torch: Any, precision: str) -> Any:
    """The 16-bit type that weights and inputs are converted to; None for float32 and TensorFloat-32."""
    name = _DTYPES.get("bf16" if precision in _TORCHAO else precision)
    return None if name is None else getattr(torch, name)


def _quantize(module: Any, precision: str) -> None:
    try:
        from torchao import quantization
    except ImportError:
        raise VariantError(
            f'precision = "{precision}" needs the package torchao.', "Install it with: pip install torchao"
        ) from None
    quantization.quantize_(module, getattr(quantization, _TORCHAO[precision])())


class Card:
    """Copies between host arrays and one GPU, and its clock. `torch` is the module, or what stands for it in tests."""

    def __init__(self, torch: Any, device: Any, dtype: Any = None, *, channels_last: bool = False) -> None:
        self._torch, self._device, self._dtype = torch, device, dtype
        self._channels_last = channels_last
        self._locked: dict[str, Any] = {}

    def upload(self, inputs: Mapping[str, npt.NDArray[Any]], names: Sequence[str]) -> dict[str, Any]:
        """Named tensors on the device; a buffer isn't written again before the last `download` has ended."""
        return {name: self._converted(self._sent(name, inputs[name])) for name in names}

    def _sent(self, name: str, array: npt.NDArray[Any]) -> Any:
        torch = self._torch
        flat = np.ascontiguousarray(array)
        host = torch.from_numpy(flat if flat.flags.writeable else np.array(flat))
        buffer = self._locked.get(name)
        if buffer is None or buffer.numel() < host.nbytes:
            buffer = self._locked[name] = torch.empty(host.nbytes, dtype=torch.uint8, pin_memory=True)
        there = buffer[: host.nbytes].view(host.dtype).view(host.shape)
        there.copy_(host)
        return there.to(self._device, non_blocking=True)

    def _converted(self, tensor: Any) -> Any:
        if self._dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(self._dtype)
        if self._channels_last and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=self._torch.channels_last)
        return tensor

    def download(self, outputs: Sequence[Any], dtypes: Sequence[np.dtype[Any]]) -> list[npt.NDArray[Any]]:
        """Host arrays of their own, once everything asked of the device is done."""
        float32 = np.dtype(np.float32)
        wide = [
            o.float() if o.is_floating_point() and d == float32 else o for o, d in zip(outputs, dtypes, strict=True)
        ]
        # Without waiting torch takes page-locked memory, a new piece for each, which its arrays then own.
        host = [o.detach().to("cpu", non_blocking=True) for o in wide]
        self.synchronize()
        return [t.float().numpy() if t.dtype == self._torch.bfloat16 else t.numpy() for t in host]

    def synchronize(self) -> None:
        """Wait until the device has nothing left to do."""
        self._torch.cuda.synchronize()

    def event(self) -> Any:
        """A mark put on the stream now; two of them tell the time between them once the device is done."""
        event = self._torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def peak_bytes(self, *, reset: bool) -> int:
        """The most that torch's allocator held on the device since the last reset."""
        peak = int(self._torch.cuda.max_memory_allocated())
        if reset:
            self._torch.cuda.reset_peak_memory_stats()
        return peak


class CudaEngine:
    """A module on the GPU; one run at a time, on one stream.

    call: named tensors on the device -> the output tensors in order. context: entered around every call. closing: what
    gives torch's settings back when the engine is closed.
    """

    parallel_runs = False

    def __init__(
        self,
        card: Card,
        call: Callable[[dict[str, Any]], Sequence[Any]],
        artefact: Artefact,
        effective: Effective,
        *,
        sizes: tuple[int, ...] | None = None,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        closing: Callable[[], None] | None = None,
    ) -> None:
        self.sizes = artefact.sizes or sizes
        self.effective = effective
        self.card = card
        self._call: Any = call
        self._context = context
        self._closing = closing
        self._names = artefact.output_names
        self._dtypes = {t.name: np.dtype(t.dtype) for t in artefact.inputs}
        self._out = [np.dtype(t.dtype) for t in artefact.outputs]
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        check_inputs(inputs, self._dtypes)
        try:
            with self._lock, self._context():
                outputs = self._call(self.card.upload(inputs, tuple(self._dtypes)))
                return dict(zip(self._names, self.card.download(outputs, self._out), strict=True))
        except Exception as error:
            n = len(next(iter(inputs.values())))
            raise explain_torch(error, f"running a batch of {n} on the GPU") from error

    def apart(self, inputs: Mapping[str, npt.NDArray[Any]], repeats: int = 20) -> DeviceTimes:
        """What copying there, computing and copying back take, each the median of `repeats` runs of one batch."""
        parts: list[tuple[float, ...]] = []
        self.run(inputs)
        for _ in range(repeats):
            with self._lock, self._context():
                marks = [self.card.event()]
                tensors = self.card.upload(inputs, tuple(self._dtypes))
                marks.append(self.card.event())
                outputs = self._call(tensors)
                marks.append(self.card.event())
                self.card.download(outputs, self._out)
                marks.append(self.card.event())
                self.card.synchronize()
                parts.append(tuple(a.elapsed_time(b) * 1e-3 for a, b in pairwise(marks)))
        there, computed, back = (statistics.median(p[i] for p in parts) for i in range(3))
        return DeviceTimes(
            rows=len(next(iter(inputs.values()))),
            repeats=repeats,
            to_device_s=there,
            compute_s=computed,
            to_host_s=back,
            source=EVENTS,
        )

    def device_peak_bytes(self, *, reset: bool = False) -> int | None:
        return self.card.peak_bytes(reset=reset)

    def note(self, **detail: str) -> None:
        """Add to what `effective` says."""
        self.effective = msgspec.structs.replace(self.effective, detail={**self.effective.detail, **detail})

    def close(self) -> None:
        self._call = None
        if self._closing is not None:
            self._closing()
            self._closing = None


def effective(torch: Any, precision: str, provider: str, detail: dict[str, str], tf32: str) -> Effective:
    """What really runs, with the GPU's name and versions."""
    card = torch.cuda.get_device_properties(0)
    known = {
        "device": str(card.name),
        "compute capability": f"{card.major}.{card.minor}",
        "CUDA": str(torch.version.cuda),
        "TF32": tf32,
    }
    return Effective(
        precision=f"{precision}, rest bf16" if precision in _TORCHAO else precision,
        threads=torch.get_num_threads(),
        provider=provider,
        detail={**detail, **known},
    )


def open_eager(form: Any, artefact: Artefact, precision: str, *, channels_last: bool) -> CudaEngine:
    """torch as it comes, on the GPU."""
    torch = load_torch()
    check_stored(artefact)
    precision = asked(artefact, precision)
    tf32 = set_tf32(torch, precision == "tf32")
    device = prepare(torch, form, precision, channels_last=channels_last)
    card = Card(torch, device, low_dtype(torch, precision), channels_last=channels_last)
    detail = {"channels_last": str(channels_last).lower()}
    told = effective(torch, precision, "torch eager, cuda", detail, tf32)
    return CudaEngine(card, Direct(form), artefact, told, context=torch.inference_mode)


def asked(artefact: Artefact, precision: str) -> str:
    """The precision to compute in: the backend's own, or what the model's compressions asked for if that is lower."""
    return artefact.precision if precision == "float32" else precision


def check_stored(artefact: Artefact) -> None:
    """Raise VariantError for a program that was quantized for the processor."""
    if artefact.stored != "float32":
        raise VariantError(
            "This model was quantized for the processor's 8-bit kernels, which the GPU doesn't have.",
            'Leave the compression out and use precision = "int8" or "fp8" of the backend `inductor`.',
        )


def script_on_gpu(folder: Path, artefact: Artefact, precision: str, prepare: str) -> str:
    """run.py for the GPU: the exported program moved there; 16 bits by autocast, since its types are part of it."""
    precision = asked(artefact, precision)
    if precision in _TORCHAO:
        raise VariantError(
            f'A program quantized on the GPU (precision = "{precision}") can\'t be exported.',
            "Open the artefact with accel itself.",
        )
    tf32 = precision == "tf32"
    lines = f'torch.set_float32_matmul_precision("{"high" if tf32 else "highest"}")\n'
    lines += f"torch.backends.cudnn.allow_tf32 = {tf32}\n{prepare}"
    if precision in _DTYPES:
        lines += "compiled = model\n\n\ndef model(*tensors):\n"
        lines += f'    with torch.autocast("cuda", torch.{_DTYPES[precision]}):\n        return compiled(*tensors)\n'
    run = '[t.float().cpu() if t.is_floating_point() else t.cpu() for t in model(*[t.to("cuda") for t in tensors])]'
    return script(folder, lines, run, device="cuda")
